"""The study runs (SMOKE), its records are plain, and its rule gives each of the three verdicts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.runs import Run
from thalweg.studies.base import expected
from thalweg.studies.wsd_river_valley import lab, study
from thalweg.train.loop import train

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Records]:
    folder = tmp_path_factory.mktemp("study")
    return folder, [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def only(records: Records, **wanted: object) -> Records:
    return [record for record in records if all(record.get(key) == value for key, value in wanted.items())]


def numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, (int, float)) else []


def test_records_are_plain_json_and_finite(smoke: tuple[Path, Records]) -> None:
    _, records = smoke
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert all(math.isfinite(number) for number in numbers(records))
    kinds = {(record["part"], record["kind"]) for record in records}
    language = {("language", kind) for kind in ("curve", "final", "probe", "segment", "tokens")}
    assert kinds == language | {("valley", "parts"), ("valley", "final"), ("bigram", "parts"), ("bigram", "segment")}


def test_all_methods_are_charged_the_budget(smoke: tuple[Path, Records]) -> None:
    finals = only(smoke[1], part="language", kind="final")
    budgets = study.SMOKE.budgets
    assert {(r["method"], r["budget"]) for r in finals} == {(m, b) for m in ("wsd", "wsd-s", "cyclic") for b in budgets}
    assert all(record["spent"] == record["budget"] for record in finals)
    behind = {r["budget"]: r["updates"] for r in finals if r["method"] == "wsd"}
    # decays of 2 and 4 updates lie outside WSD's main branch when the second and third checkpoint are ready
    assert behind == {20: 20, 40: 40 - 2, 80: 80 - 2 - 4}


def test_first_checkpoints_of_wsd_and_wsd_s_are_the_same_run(smoke: tuple[Path, Records]) -> None:
    first = study.SMOKE.budgets[0]
    for part in ("language", "valley"):
        finals = only(smoke[1], part=part, kind="final", budget=first)
        losses = {record["method"]: record["loss"] for record in finals}
        assert losses["wsd"] == losses["wsd-s"] != losses["cyclic"]


def test_probes_are_the_branches_of_wsd(smoke: tuple[Path, Records]) -> None:
    """At WSD's branch points the river part is the loss of its checkpoint, and hill + river is the stable loss."""
    probes = only(smoke[1], kind="probe")
    finals = only(smoke[1], part="language", kind="final", method="wsd")
    assert [probe["river"] for probe in (probes[0], probes[2], probes[4])] == [final["loss"] for final in finals]
    for probe in probes:
        assert probe["hill"] + probe["river"] == pytest.approx(probe["loss"], rel=1e-12)
        assert probe["averaging_gap"] == pytest.approx(probe["averaged"] - probe["river"], abs=1e-12)
    ends = {r["ends"]: r["losses"] for r in only(smoke[1], part="language", kind="segment")}
    before, last = probes[-2:]
    wanted = {
        "stable-stable": (before["loss"], last["loss"]),
        "stable-decayed": (last["loss"], last["river"]),
        "decayed-decayed": (before["river"], last["river"]),
    }
    for name, (first, second) in wanted.items():
        assert (ends[name][0], ends[name][-1]) == (first, second)


def test_run_again_trains_nothing_and_says_the_same(
    smoke: tuple[Path, Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, records = smoke

    def refuse(*args: object, **options: object) -> None:
        pytest.fail("a run that is done was trained again")

    monkeypatch.setattr(lab, "train", refuse)
    again = [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]
    assert again == records


def test_interrupted_study_goes_on_and_says_the_same(
    smoke: tuple[Path, Records], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of its third run, the stable branch, it ends with the records of the undisturbed one."""
    started: list[str] = []

    def stopped(run: Run, **options: Any) -> str:
        started.append(run.folder.name)
        if run.folder.name != "stable":
            return train(run, **options)
        asked = iter([False] * 5 + [True])
        train(run, **options, stop=lambda: next(asked))
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        list(study.run(study.SMOKE, seed=0, device="cpu", folder=tmp_path))
    assert started == ["wsd-s", "cyclic", "stable"]
    assert Run.open(tmp_path / "stable").status == "interrupted"
    monkeypatch.setattr(lab, "train", train)
    again = [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=tmp_path)]
    assert again == smoke[1]


def test_torch_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def fail() -> None:
        seen.append(torch.get_num_threads())
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"), lab.torch_threads(before + 1):
        fail()
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_figure_has_its_panels(smoke: tuple[Path, Records]) -> None:
    figure = study.figure(smoke[1])
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 6
    assert all(titles)
    assert all(axes.lines or axes.patches for axes in figure.axes)


def made_up(*, wsd: list[float], cyclic: list[float], slide: list[float]) -> Records:
    """Records of as many seeds as there are numbers, with the three measures of the rule as given."""
    records: Records = []
    for seed, (over, above, more) in enumerate(zip(wsd, cyclic, slide, strict=True)):
        for budget in (10, 20, 40):
            gaps = {"wsd-s": 0.0, "wsd": 0.0 if budget == 10 else over, "cyclic": above}
            records += [
                {"part": "language", "kind": "final", "method": m, "budget": budget, "loss": 2 + g, "seed": seed}
                for m, g in gaps.items()
            ]
        # out of order on purpose: the rule goes by the step
        records += [
            {"part": "language", "kind": "probe", "step": step, "hill": hill, "seed": seed}
            for step, hill in ((40, 0.1 + more), (10, 0.1), (20, 5.0))
        ]
        records.append({"part": "valley", "kind": "final", "method": "wsd", "budget": 10, "loss": 9.0, "seed": seed})
    return records


UP, DOWN, MIXED = [0.02, 0.03, 0.025], [-0.02, -0.03, -0.025], [0.02, -0.02, 0.001]


def test_rule_reproduced() -> None:
    outcome = study.verdict(made_up(wsd=UP, cyclic=[0.1, 0.12, 0.11], slide=UP))
    assert outcome.state == "reproduced"
    assert outcome.effect == pytest.approx(0.025)  # the gap to the better rival, WSD
    assert outcome.error == pytest.approx(np.std(UP, ddof=1) / np.sqrt(3))
    assert outcome.runs == 3


@pytest.mark.parametrize("failing", ["wsd", "cyclic", "slide"])
def test_rule_not_reproduced_if_one_of_the_three_is_below_zero(failing: str) -> None:
    outcome = study.verdict(made_up(**{"wsd": UP, "cyclic": UP, "slide": UP} | {failing: DOWN}))
    assert outcome.state == "not reproduced"
    assert outcome.effect == pytest.approx(0.025 if failing == "slide" else -0.025)


@pytest.mark.parametrize("unsure", ["wsd", "cyclic", "slide"])
def test_rule_inconclusive_if_one_of_the_three_is_within_its_error(unsure: str) -> None:
    assert study.verdict(made_up(**{"wsd": UP, "cyclic": UP, "slide": UP} | {unsure: MIXED})).state == "inconclusive"


def test_rule_needs_more_than_one_seed() -> None:
    outcome = study.verdict(made_up(wsd=[0.5], cyclic=[0.5], slide=[0.5]))
    assert (outcome.state, outcome.runs) == ("inconclusive", 1)
    assert math.isnan(outcome.error)


def test_expected_numbers_are_those_of_this_study() -> None:
    known = expected(study.SLUG)
    assert (known["slug"], known["title"], known["arxiv"], known["claim"], known["unit"]) == (
        study.SLUG,
        study.TITLE,
        study.ARXIV,
        study.CLAIM,
        study.UNIT,
    )
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
