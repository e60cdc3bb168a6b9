"""Sweeps: documents, phases, resumption after Ctrl-C, reports; runs train in this process."""

from __future__ import annotations

import math
from typing import Any

import pytest

from thalweg.errors import InputError, Interrupted
from thalweg.launch import sweeping
from thalweg.launch.sweep import Contender, Regime, Sweep, load_sweep, recipe_of
from thalweg.launch.sweep_report import sweep_report
from thalweg.launch.sweeping import SweepRunner
from thalweg.laws.final_losses import fit_final_losses
from thalweg.laws.hyper_scaling import fit_hyper_scaling, nearest_on_grid
from thalweg.runs.ledger import read_ledger

ADAMW = Contender(start={"lr": 0.01, "warmup": 0.1, "beta2": 0.95}, grid={"lr": (0.01, 0.03)})
MUON = Contender(start={"lr": 0.02, "decay_fraction": 0.5}, grid={"lr": (0.02, 1e30)})


class Here:
    """A pool that trains in this process; ``stop_after`` jobs it is interrupted."""

    trained = 0
    stop_after = math.inf

    def __init__(self, **options: Any) -> None:
        self.tolerate = options["tolerate"]

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, jobs: Any) -> None:
        from thalweg.runs import Run
        from thalweg.train.loop import train

        for job in jobs:
            if Here.trained >= Here.stop_after:
                raise Interrupted("every run has a checkpoint")
            Here.trained += 1
            try:
                train(Run.resume_or_create(job.folder, job.recipe.to_dict(), steps=job.recipe.steps))
            except self.tolerate:
                continue


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(sweeping, "LocalPool", Here)
    monkeypatch.setattr(Here, "trained", 0)
    monkeypatch.setattr(Here, "stop_after", math.inf)
    return Here


@pytest.fixture
def make(tiny):
    def made(**changes: Any) -> Sweep:
        options: dict[str, Any] = {
            "regimes": (Regime(512), Regime(768), Regime(1024, tune="sensitive"), Regime(1280, tune="predicted")),
            "optimizers": {"adamw": ADAMW, "muon": MUON},
            "confirm": (1,),
            **changes,
        }
        return Sweep(tiny(), **options)

    return made


def test_a_sweep_end_to_end(make, here, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    lines: list[str] = []
    found = SweepRunner(make(), ledger, say=lines.append).run()
    assert len(found) == 8
    assert len(lines) >= 8
    trained = here.trained
    report = sweep_report(ledger)
    assert report["runs"] == trained == len(read_ledger(ledger)) - 1  # one record is the sweep itself
    assert not list((tmp_path / "runs").glob("*/checkpoints/*"))
    cells = {(cell["optimizer"], cell["tokens"]): cell for cell in report["cells"]}
    for (label, number), cell in found.items():
        shown = cells[label, make().regimes[number].tokens]
        assert (shown["loss"], shown["values"]) == (cell.loss, cell.values)
        assert len(shown["confirmed"]) == 1
        assert shown["confirmed"][0] != shown["loss"]
    assert cells["muon", 512]["diverged"] == 1
    assert cells["muon", 512]["values"]["lr"] < 1
    ladder = {tokens: cell["confirmed"][0] for (label, tokens), cell in cells.items() if label == "adamw"}
    curve = fit_final_losses(list(ladder), list(ladder.values()))
    for tokens in ladder:
        expected = curve.speedup(tokens, cells["muon", tokens]["confirmed"][0])
        assert cells["muon", tokens]["speedup"]["value"] == pytest.approx(expected)
    assert set(report["sensitivity"]) == {"adamw", "muon"}
    assert all(rule["size_power"] is None for rules in report["scaling"].values() for rule in rules.values())
    SweepRunner(make(), ledger).run()
    assert here.trained == trained  # all from the ledger
    assert sweep_report(ledger) == report


def test_ctrl_c_and_the_same_call_end_where_an_uninterrupted_sweep_ends(make, here, tmp_path):
    sweep = make(regimes=(Regime(512), Regime(1024)), confirm=())
    whole = SweepRunner(sweep, tmp_path / "whole" / "ledger.jsonl").run()
    trained = here.trained
    parts = tmp_path / "parts" / "ledger.jsonl"
    for stop in (1, 3, 4):
        here.trained, here.stop_after = 0, stop
        try:
            SweepRunner(sweep, parts).run()
        except Interrupted:
            assert len(read_ledger(parts)) > 1  # what was done before the stop is kept
    here.trained, here.stop_after = 0, math.inf
    again = SweepRunner(sweep, parts).run()
    assert here.trained < trained
    assert {key: (cell.values, cell.loss) for key, cell in again.items()} == {
        key: (cell.values, cell.loss) for key, cell in whole.items()
    }
    keys = [record["key"] for record in read_ledger(parts)]
    assert len(keys) == len(set(keys))


def test_phases_on_a_surface_with_a_known_optimum(make, monkeypatch, tmp_path):
    """The best rate falls with the budget, the best beta2 is .98 always."""
    trained: dict[int, list[dict[str, Any]]] = {}
    best = {512: 0.08, 1024: 0.04, 2048: 0.04, 8192: 0.02}

    def losses(self: Any, books: Any, label: str, regime: Any, wanted: Any, *, seed: Any = None) -> list[float]:
        trained.setdefault(regime.tokens, []).extend(wanted)
        return [
            abs(math.log2(w["lr"] / best[regime.tokens])) + abs(w["beta2"] - 0.98) + w["batch"] / 1e6 for w in wanted
        ]

    monkeypatch.setattr(SweepRunner, "_losses", losses)
    grid = {"lr": (0.01, 0.02, 0.04, 0.08), "beta2": (0.9, 0.95, 0.98)}
    contender = Contender(start={"lr": 0.02, "beta2": 0.9}, grid=grid)
    tunes = ("all", "all", "sensitive", "predicted")
    regimes = tuple(Regime(tokens, tune=tune) for tokens, tune in zip(best, tunes, strict=True))
    sweep = make(optimizers={"adamw": contender}, regimes=regimes, confirm=())
    found = SweepRunner(sweep, tmp_path / "ledger.jsonl").run()
    assert [found["adamw", k].values["lr"] for k in range(3)] == [0.08, 0.04, 0.04]
    assert {values["lr"] for values in trained[2048]} == {0.04, 0.08}  # only what phase I keeps
    assert {values["beta2"] for values in trained[2048]} == {0.98}
    assert trained[8192] == [found["adamw", 3].values]  # one run, as predicted
    assert found["adamw", 3].values["beta2"] == 0.98
    rule = fit_hyper_scaling([1.0] * 3, [512, 1024, 2048], [0.08, 0.04, 0.04])
    assert found["adamw", 3].values["lr"] == nearest_on_grid(rule.predict(1.0, 8192), grid["lr"])


def test_a_report_of_what_is_there_so_far(make, here, tmp_path):
    sweep = make(regimes=(Regime(512), Regime(1024)), confirm=())
    here.stop_after = 3
    ledger = tmp_path / "ledger.jsonl"
    with pytest.raises(Interrupted):
        SweepRunner(sweep, ledger).run()
    notes = " ".join(sweep_report(ledger)["notes"])
    assert "no finished run yet" in notes
    assert "three budgets" in notes
    with pytest.raises(InputError, match="holds no sweep"):
        sweep_report(tmp_path / "absent.jsonl")


def test_the_recipe_of_a_configuration(make):
    sweep = make()
    regime = Regime(4096, model={"dim": 24})
    values = {"lr": 0.02, "warmup": 0.25, "batch": 8, "clip": 0.0, "beta1": 0.8, "min_lr_ratio": 0.1}
    recipe = recipe_of(sweep, "adamw", regime, values, seed=7)
    assert recipe.steps == 4096 // (8 * sweep.recipe.data.context) == 32
    assert (recipe.batch, recipe.clip, recipe.seed, recipe.model.dim) == (8, 0.0, 7, 24)
    assert recipe.optimizer == {"name": "adamw", "betas": (0.8, 0.95)}
    assert recipe.rates().max() == pytest.approx(0.02)
    assert recipe.rates()[0] == pytest.approx(0.02 / 8)
    assert recipe.rates()[-1] < 0.0025
    muon = {"lr": 0.02, "decay_fraction": 0.5, "batch": 4, "clip": 1.0, "adam_beta1": 0.7, "adam_lr_ratio": 0.2}
    recipe = recipe_of(sweep, "muon", regime, muon)
    assert recipe.optimizer == {"name": "muon", "adam_betas": (0.7, 0.98), "adam_lr_ratio": 0.2}
    assert (recipe.rates()[:32] == 0.02).all()
    assert recipe.rates()[48] == pytest.approx(0.01)
    assert (recipe_of(sweep, "muon", regime, {**muon, "decay_fraction": 0}).rates() == 0.02).all()


def test_published_spaces_with_changes(make):
    soap = Contender(
        space="published", start={"batch": 4, "warmup": 0.1}, grid={"batch": (), "warmup": (), "lr": (0.01, 0.02)}
    )
    space = make(optimizers={"adamw": ADAMW, "soap": soap}).space("soap")
    assert space.grids["lr"] == (0.01, 0.02)
    assert "batch" not in space.grids
    assert space.grids["shampoo_beta"] == (0.9, 0.95, 0.98, 0.99)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"baseline": "lion"}, "baseline 'lion' is none"),
        ({"regimes": ()}, r"needs one \[\[regimes\]\]"),
        ({"regimes": (Regime(512, tune="sensitive"),)}, "sensitive"),
        ({"regimes": (Regime(512), Regime(1024), Regime(2048, tune="predicted"))}, "three regimes"),
        ({"regimes": (Regime(512), Regime(512))}, "are the same"),
        ({"regimes": (Regime(10),)}, "give more tokens"),
        ({"confirm": (0,)}, "other than the recipe's"),
        ({"confirm": (1, 1)}, "other than the recipe's"),
        ({"delta": -1.0}, "at least 0"),
        ({"optimizers": {"adamw": Contender(start={"beta2": 0.9})}}, r"give start\.lr"),
        ({"optimizers": {"adamw": Contender(start={"lr": 0.1, "betta": 0.9})}}, "unknown hyperparameter 'betta'"),
        ({"optimizers": {"adamw": Contender(start={"lr": -0.1})}}, r"optimizers\.adamw"),
        ({"optimizers": {"adamw": Contender(start={"lr": 0.1, "warmup": 500})}}, "lower start.warmup"),
    ],
)
def test_sweeps_that_cannot_be(make, changes, word):
    with pytest.raises(InputError, match=word) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


DOCUMENT = """
recipe = "recipe.toml"
[[regimes]]
tokens = 512
[optimizers.adamw]
start = {lr = 0.01}
grid = {lr = [0.01, 0.02]}
"""


def test_documents(tiny, tmp_path):
    (tmp_path / "recipe.toml").write_text(tiny().to_toml())
    path = tmp_path / "sweep.toml"
    path.write_text(DOCUMENT)
    sweep = load_sweep(path)
    assert sweep.recipe == tiny()
    assert sweep.space("adamw").grids == {"lr": (0.01, 0.02)}
    bad = {
        "tokens = 512": "tokins = 512",
        'recipe = "recipe.toml"': "",
        "grid = {lr = [0.01, 0.02]}": "grid = {lr = 0.01}",
        "tokens = 512 ": 'tokens = "many"',
    }
    for before, after in bad.items():
        path.write_text(DOCUMENT.replace(before.strip(), after))
        with pytest.raises(InputError, match=r"sweep\.toml"):
            load_sweep(path)


def test_the_example_is_a_sweep():
    from pathlib import Path

    sweep = load_sweep(Path(__file__).parents[2] / "examples" / "sweep.toml")
    assert [regime.tune for regime in sweep.regimes] == ["all", "all", "sensitive", "predicted"]
    assert {label for label, *_ in SweepRunner(sweep, Path("ledger.jsonl")).rounds()} == {"adamw", "muon"}
