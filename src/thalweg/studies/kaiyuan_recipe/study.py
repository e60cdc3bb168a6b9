"""Do quality scores, repetition of the best and a curriculum in phases pay at equal tokens?

Paper: PCMind-2.1-Kaiyuan-2B Technical Report, arXiv 2512.07612, with the data plan of thu-pacman/Kaiyuan-Spark.

1. Claims tested: reference runs on slices at fixed quantiles tell what a score is worth (claim 1); keeping the best and
   repeating it beats one pass at equal tokens, up to a point (claim 2); five phases in which the kept share shrinks,
   the last three in ascending order, with a moderate decay and an average of the last checkpoints, beat uniform order
   with WSD.
2. A seed: windows of text whose quality (share of clean bytes) is known; a byte-level transformer; losses on clean text
   of held-out documents. The five phases take the kept shares of two sources of the real plan (DCLM's for plays,
   FineWeb-Edu's for the Bible); the uniform runs see as many windows of both, all of them fresh.
3. The rule, fixed before the runs that ``expected.json`` reports. Margins of a seed, in nats a byte:

   - repeat: one pass, minus the best number of repetitions between the ends of the list;
   - collapse: the most repetitions, minus one pass;
   - monotone: the least rise of the loss from a slice to the next worse one;
   - flat: the range of losses over slices of the true score, minus three times that of a random score;
   - recipe: uniform order under WSD at its best end rate, minus five phases with an average.

   "Best" is chosen on every other held-out window; losses are reported on the rest. Each margin is tested over seeds
   with threshold 0 and 2 standard errors (``studies.base.decide``). Reproduced if all exceed 0 so, not reproduced if
   one falls below 0 so, else inconclusive. The effect reported is "recipe". Sizes were set by trials with seed 100.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.nn import ModelConfig
from thalweg.studies.base import Record, Verdict, decide_margins

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ARXIV",
    "CLAIM",
    "GPU",
    "LAPTOP",
    "SLUG",
    "SMOKE",
    "TITLE",
    "UNIT",
    "Config",
    "figure",
    "margins",
    "run",
    "verdict",
]

SLUG = "kaiyuan-recipe"
TITLE = "Five phases that repeat the best data, and what slices of quality tell"
ARXIV = "2512.07612"
CLAIM = (
    "Slices at quality quantiles tell what a score is worth; repeating the best data pays up to a point; five phases "
    "with a curriculum and an average beat uniform order with WSD at equal tokens."
)
UNIT = "nats a byte, uniform order with WSD at its best end rate minus five phases with an average"


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        model: its context covers ``length``.
        steps: of every run but the reference runs.
        reference: steps of a reference run, one pass over its slice.
        batch: windows a step.
        length: bytes of a window.
        worst: least share of clean bytes.
        peak: learning rate of WSD.
        warmup: steps to the peak.
        decay: share of the steps in which WSD falls.
        ends: where it ends, in shares of the peak.
        phase_rates: of the five phases: the first, the next three, where the decay of the last ends.
        repeats: k: the best 1/k of the windows, each seen k times; rising from 1.
        starts: ranks from the best at which slices begin.
        width: share of the windows in a slice.
        score_noise: standard deviation of the score about the quality.
        k: checkpoints in the average of the five phases.
        span: share of the run that they cover.
        held_out: clean windows; every other one chooses, the rest is reported.
        corpora: two texts, of the phases' two sources; the first is that of the other parts.
    """

    model: ModelConfig
    steps: int
    reference: int
    batch: int = 24
    length: int = 32
    worst: float = 0.3
    peak: float = 4e-3
    warmup: int = 30
    decay: float = 0.2
    ends: tuple[float, ...] = (1.0, 1 / 3, 0.1, 0.003)
    phase_rates: tuple[float, float, float] = (5e-3, 3e-3, 6e-4)
    repeats: tuple[int, ...] = (1, 3, 6, 14, 40, 120)
    starts: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)
    width: float = 0.1
    score_noise: float = 0.05
    k: int = 8
    span: float = 0.02
    held_out: int = 1024
    corpora: tuple[str, str] = ("plays", "kjv")


SMOKE = Config(
    ModelConfig(dim=16, layers=1, heads=1, context=16),
    steps=32,
    reference=8,
    batch=8,
    length=16,
    warmup=4,
    ends=(1.0, 0.003),
    repeats=(1, 4, 16),
    starts=(0.0, 0.5),
    k=2,
    span=0.1,
    held_out=32,
)
LAPTOP = Config(ModelConfig(dim=32, layers=2, heads=2, context=32), steps=500, reference=200)
GPU = Config(
    ModelConfig(dim=384, layers=6, heads=6, context=128),
    steps=400,
    reference=60,
    batch=64,
    length=128,
    peak=1e-3,
    phase_rates=(1.25e-3, 7.5e-4, 1.5e-4),
    warmup=50,
    held_out=2048,
)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Selective repetition, quantile benchmarking, the five phases.

    Args:
        config: sizes.
        seed: of windows, qualities, noise, orders and initial weights.
        device: of the transformer.
        folder: not used.

    Yields:
        Records with ``part`` "repetition" (``repeat``), "quantile" (``score``, ``start``) or "phases" (``arm``,
        ``schedule``, ``average``), and ``selection`` and ``test`` losses.
    """
    from thalweg.studies.kaiyuan_recipe.lab import Lab

    lab = Lab.make(config, seed=seed, device=device)
    yield from lab.repetition()
    yield from lab.quantiles()
    yield from lab.phases()


def margins(records: Sequence[Record]) -> dict[str, float]:
    """The margins of the rule for one seed's records."""
    repeats = sorted((r for r in records if r["part"] == "repetition"), key=lambda r: r["repeat"])
    inside = min(repeats[1:-1], key=lambda r: r["selection"])
    slices = {
        score: [r["test"] for r in sorted(_of(records, part="quantile", score=score), key=lambda r: r["start"])]
        for score in ("quality", "random")
    }
    uniform = min(_of(records, part="phases", arm="uniform"), key=lambda r: r["selection"])
    (recipe,) = _of(records, part="phases", arm="five phases", average="sma")
    true = slices["quality"]
    ranges = {score: max(found) - min(found) for score, found in slices.items()}
    return {
        "repeat": repeats[0]["test"] - inside["test"],
        "collapse": repeats[-1]["test"] - repeats[0]["test"],
        "monotone": min(after - before for before, after in pairwise(true)),
        "flat": ranges["quality"] - 3 * ranges["random"],
        "recipe": uniform["test"] - recipe["test"],
    }


def _of(records: Sequence[Record], **wanted: object) -> list[Record]:
    return [r for r in records if all(r.get(key) == value for key, value in wanted.items())]


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    return decide_margins(records, margins, effect="recipe")


def figure(records: Sequence[Record]) -> Figure:
    """Loss over repetitions, over quantiles, and of the arms of the five phases."""
    from thalweg.studies.kaiyuan_recipe.picture import draw

    return draw(records)
