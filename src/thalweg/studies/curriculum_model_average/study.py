"""Does learning-rate decay waste the best data of a curriculum, and does averaging the last checkpoints save them?

Paper: How Learning Rate Decay Wastes Your Best Data in Curriculum-Based LLM Pretraining, arXiv 2511.18903.

1. Claims tested: the gain of ascending over uniform order shrinks as the learning rate falls further (claim 2); data in
   ascending order with a constant or moderately decayed rate and an average of the last checkpoints beat the same data
   under a full decay and under any end rate without an average, and beat uniform order at its best end rate (claims
   3, 5).
2. A seed: windows of plays whose quality (share of clean bytes) is known, each seen once; a byte-level transformer;
   losses on clean text of a held-out play. Decays to a share of the peak are branches of one trunk.
3. The rule, fixed before the runs that ``expected.json`` reports. With gap(s) the loss of uniform minus that of
   ascending order at schedule s, without an average, margins of a seed in nats a byte:

   - fade 1, 2, 3: gap(constant) - gap(1/3), gap(1/3) - gap(.003), gap(.003) - gap(cosine);
   - decay: ascending order under the decay to .003, minus ascending order with an average (equal weights);
   - average: ascending order at its best end rate without an average, minus the same;
   - order: uniform order at its best schedule, with or without an average, minus the same.

   Ascending order with an average has the constant rate or the decay to 1/3. Which of them, every "best" and the span
   of the average are chosen on every other held-out window; losses are reported on the rest. Each margin is tested
   over seeds with threshold 0 and 2 standard errors (``studies.base.decide``). Reproduced if all exceed 0 so, not
   reproduced if one falls below 0 so, else inconclusive. The effect reported is "decay". Sizes were set by trials with
   seed 100.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from thalweg.nn import ModelConfig
from thalweg.schedules import WSD, Cosine
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

SLUG = "curriculum-model-average"
TITLE = "Learning-rate decay wastes the best data of a curriculum"
ARXIV = "2511.18903"
CLAIM = (
    "Data in ascending quality gain less the further the rate decays; with little decay and an average of the last "
    "checkpoints they beat every decay and uniform order at its best."
)
UNIT = "nats a byte, ascending order: decay to .003 of the peak minus little decay and an average"

End = float | Literal["cosine"]
DECAYS: tuple[End, ...] = (1.0, 1 / 3, 0.1, 0.003, "cosine")


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        model: its context covers ``length``.
        steps: of every run.
        batch: windows a step.
        length: bytes of a window.
        worst: least share of clean bytes.
        peak: learning rate.
        warmup: steps to the peak.
        decay: share of the steps in which the rate falls.
        arms: order -> where its rate ends, in shares of the peak; 1 is a constant rate.
        k: checkpoints in an average.
        spans: shares of the run that the checkpoints cover.
        held_out: clean windows; every other one chooses, the rest is reported.
        corpus: text.
    """

    model: ModelConfig
    steps: int
    batch: int = 24
    length: int = 32
    worst: float = 0.3
    peak: float = 4e-3
    warmup: int = 30
    decay: float = 0.2
    arms: dict[str, tuple[End, ...]] = field(
        default_factory=lambda: {
            "uniform": DECAYS,
            "ascend": DECAYS,
            "descend": (1.0, 0.003),
            "fold:3": (1.0, 0.003),
        }
    )
    k: int = 6
    spans: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1)
    held_out: int = 1024
    corpus: str = "plays"

    def rates(self, end: End) -> np.ndarray:
        """The learning rate of each step (steps,)."""
        if end == "cosine":
            return Cosine(peak=self.peak, warmup=self.warmup, floor=self.peak * 0.003).rates(self.steps)
        return WSD(peak=self.peak, warmup=self.warmup, decay=self.decay, floor=self.peak * end).rates(self.steps)

    def at(self, span: float) -> list[int]:
        """The steps of the checkpoints in an average, rising."""
        every = max(1, round(span * self.steps / (self.k - 1)))
        return [self.steps - every * back for back in range(self.k - 1, -1, -1)]

    @property
    def checkpoints(self) -> set[int]:
        """All steps at which weights are kept."""
        return {step for span in self.spans for step in self.at(span)}


SMOKE = Config(
    ModelConfig(dim=16, layers=1, heads=1, context=16),
    steps=40,
    batch=8,
    length=16,
    warmup=4,
    arms={"uniform": DECAYS, "ascend": DECAYS},
    k=2,
    spans=(0.05, 0.1),
    held_out=32,
)
LAPTOP = Config(ModelConfig(dim=32, layers=2, heads=2, context=32), steps=700)
GPU = Config(
    ModelConfig(dim=384, layers=6, heads=6, context=128),
    steps=1000,
    batch=64,
    length=128,
    peak=1e-3,
    warmup=50,
    held_out=2048,
    corpus="mini",
)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """The exact toy, then the transformer.

    Args:
        config: sizes.
        seed: of windows, qualities, noise, orders and initial weights.
        device: of the transformer.
        folder: not used.

    Yields:
        Records with ``part`` "toy" (risks by kind of average) or "text" (``selection`` and ``test`` losses).
    """
    from thalweg.studies.curriculum_model_average.lab import text_records, toy_records

    yield from toy_records()
    yield from text_records(config, seed=seed, device=device)


def margins(records: Sequence[Record]) -> dict[str, float]:
    """The margins of the rule for one seed's records."""
    cells = {(r["order"], r["schedule"], r["average"]): r for r in records if r["part"] == "text"}

    def gap(schedule: str) -> float:
        return cells["uniform", schedule, "none"]["test"] - cells["ascend", schedule, "none"]["test"]

    def best(order: str, averages: Sequence[str], schedules: Sequence[str] | None = None) -> float:
        there = [
            cell
            for (name, schedule, average), cell in cells.items()
            if name == order and average in averages and (schedules is None or schedule in schedules)
        ]
        return min(there, key=lambda cell: cell["selection"])["test"]

    averaged = best("ascend", ("sma",), ("wsd 1", "wsd 0.333"))
    return {
        "fade 1": gap("wsd 1") - gap("wsd 0.333"),
        "fade 2": gap("wsd 0.333") - gap("wsd 0.003"),
        "fade 3": gap("wsd 0.003") - gap("cosine"),
        "decay": cells["ascend", "wsd 0.003", "none"]["test"] - averaged,
        "average": best("ascend", ("none",)) - averaged,
        "order": best("uniform", ("none", "sma", "ema", "ema geometric", "wma")) - averaged,
    }


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    return decide_margins(records, margins, effect="decay")


def figure(records: Sequence[Record]) -> Figure:
    """Losses by schedule and order, the gap between orders, and the average over spans."""
    from thalweg.studies.curriculum_model_average.picture import draw

    return draw(records)
