"""Runs on slices: what they read, that finished ones are kept, what is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planned_data import in_memory
from thalweg.data import ByteTokenizer, Prepared
from thalweg.errors import InputError, Interrupted
from thalweg.runs import Run
from thalweg.train import quantile_runs
from thalweg.train.quantile_runs import Ranking, benchmark_slices, slice_tokens

STARTS, WIDTH = (0.0, 0.5), 0.25


def corpus(name: str = "mem", shift: int = 0) -> Prepared:
    """40 documents of 60 bytes; the better ones are more regular."""
    rng, made = np.random.default_rng(shift), ByteTokenizer()
    quality = rng.permutation(40) / 40.0
    rows = [
        np.where(rng.random(60) < q, np.arange(60) % 5 + 97, rng.integers(97, 123, 60)).astype(np.uint16)
        for q in quality
    ]
    begin = np.arange(41, dtype=np.int64) * 60
    columns = {"id": np.arange(40), "quality": quality, "chance": rng.random(40), "domain": np.array(["d"] * 40)}
    return Prepared(
        name, (np.concatenate(rows),), begin, columns, made.vocab_size, made.end, made.fingerprint, f"{name}{shift}"
    )


@pytest.fixture
def small(tiny):
    return tiny(steps=4, schedule="constant:peak=0.01")


def test_every_slice_is_trained_and_finished_runs_are_kept(small, tmp_path: Path, monkeypatch):
    rankings = {"text": Ranking(corpus(), "quality"), "other": Ranking(corpus("b", 1), "chance")}
    assert slice_tokens(rankings, small, starts=STARTS, width=WIDTH) == 600
    said: list[str] = []

    def asked(**changes):
        return benchmark_slices(
            rankings, small, tmp_path / "runs", starts=STARTS, width=WIDTH, seeds=(0, 1), say=said.append, **changes
        )

    steps = iter(range(7))  # one run of four updates, and three of the second
    with pytest.raises(Interrupted, match="1 finished"):
        asked(stop=lambda: next(steps, None) is None)
    first = Run.open(tmp_path / "runs" / "text-0-seed0").records("val_loss")
    table = asked()
    assert said == [
        "run 1 of 8: text-0-seed0",
        "run 2 of 8: text-0-seed1",
        *(f"run {k} of 8: {n}" for k, n in zip(range(2, 9), NAMES[1:], strict=True)),
    ]
    assert table.scores.shape == (2, 2, 1, 2)
    assert table.tokens == 600
    assert Run.open(tmp_path / "runs" / "text-0-seed0").records("val_loss") == first
    for place, name in enumerate(NAMES):
        kept = Run.open(tmp_path / "runs" / name).records("val_loss")[-1]["val_loss"]
        assert table.scores.reshape(-1)[place] == kept
    monkeypatch.setattr(quantile_runs, "train", None)
    assert np.array_equal(asked().scores, table.scores)


NAMES = [f"{name}-{start:g}-seed{seed}" for name in ("text", "other") for start in STARTS for seed in (0, 1)]


def test_a_run_reads_its_slice_alone(small, tmp_path: Path, monkeypatch):
    seen = {}

    def instead(run, *, data, **_):
        source = data.order.sources["slice"]
        seen[run.folder.name] = source.columns["quality"]
        assert all(np.array_equal(source.tokens(k), text.tokens(int(source.ids[k]))) for k in range(len(source)))
        raise Interrupted

    text = corpus()
    monkeypatch.setattr(quantile_runs, "train", instead)
    for start in STARTS:
        with pytest.raises(Interrupted):
            benchmark_slices(
                {"text": Ranking(text, "quality")}, small, tmp_path / f"{start}", starts=(start,), width=WIDTH
            )
    best = np.sort(text.columns["quality"])[::-1]
    assert np.array_equal(seen["text-0-seed0"], best[:10])
    assert np.array_equal(seen["text-0.5-seed0"], best[20:30])


def test_refuses_before_anything_is_trained(small, tiny, tmp_path: Path):
    text = corpus()
    good = {"text": Ranking(text, "quality")}

    def asked(rankings, recipe=small, **changes):
        return benchmark_slices(rankings, recipe, tmp_path / "r", **{"starts": STARTS, "width": WIDTH} | changes)

    for rankings, changes, sentence in (
        ({"text": Ranking(text, "qualty")}, {}, "did you mean 'quality'"),
        ({"text": Ranking(text, "domain")}, {}, "holds no numbers"),
        (good, {"width": 0.01}, "is empty"),
        (good, {"starts": (0.9,)}, "leaves 0"),
        (good, {"recipe": tiny(data=tiny().data.__class__(plan="x.toml", context=16))}, "reads a data plan"),
        (good | {"n": Ranking(in_memory([50] * 40, quality=np.arange(40.0)), "quality")}, {}, "different tokenizers"),
        ({"s": Ranking(in_memory([4] * 40, quality=np.arange(40.0)), "quality")}, {"width": 0.1}, "than a context of"),
    ):
        with pytest.raises(InputError, match=sentence):
            asked(rankings, **changes)
    assert not (tmp_path / "r").exists()


def test_refuses_the_folder_of_another_benchmark(small, tmp_path: Path):
    def stopped(rankings, recipe=small, width=WIDTH):
        with pytest.raises(Interrupted):
            benchmark_slices(rankings, recipe, tmp_path / "r", starts=STARTS, width=width, stop=lambda: True)

    stopped({"text": Ranking(corpus(), "quality")})
    stopped({"text": Ranking(corpus(), "quality")})
    for rankings, changes, word in (
        ({"text": Ranking(corpus(), "chance")}, {}, "other corpora"),
        ({"text": Ranking(corpus(), "quality")}, {"width": 0.2}, "other width"),
        ({"text": Ranking(corpus(), "quality")}, {"recipe": small.replace(steps=5)}, "other recipe"),
    ):
        with pytest.raises(InputError, match=word):
            stopped(rankings, **changes)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("x")
    with pytest.raises(InputError, match="no benchmark"):
        benchmark_slices({"text": Ranking(corpus(), "quality")}, small, tmp_path / "mine", starts=STARTS, width=WIDTH)
