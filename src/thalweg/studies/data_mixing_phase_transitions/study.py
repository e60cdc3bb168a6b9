"""Does a model learn a dense source's facts all at once, beyond some mixing ratio, and what lifts them over it?

Paper: Data Mixing Can Induce Phase Transitions in Knowledge Acquisition, arXiv 2505.18091. Claims tested: recall rises
from next to nothing to most facts within a narrow range of the mixing ratio r (spec claim 2); the threshold falls as a
power of capacity (4) as the theory of bounded capacity says; subsampling the source lifts it over the threshold (6).

The rule, fixed before the runs that ``expected.json`` reports. Thresholds are interpolated linearly in the logarithm of
r, or of r / (1 - r) for the memory. Each seed gives five numbers, each with a threshold:

- memory, capacity: -abs(slope - 1), the slope of log c on log d^2 over widths d; above -0.25. c is the capacity, in
  facts, of the optimal learner that recalls half of the dense facts where the memory does: half of them and the facts
  of text that are more frequent;
- memory, size: the threshold odds fall as (d^2)^-s; s above 1, more than in proportion;
- memory, facts: they grow as K^s in the number K of dense facts told, at one width; s above 0.75;
- text, sharpness: log sqrt 5 - log(r at half recall / r at a tenth), which is -log sqrt 5 for recall in proportion to r
  and is set to that where no run recalls half; above 0;
- text, fewer: recall of all people where half of them are told of, less that without, at r = 0.2; above 0.05.

Each is tested over seeds at 2 standard errors (``studies.base.decide``). The claim is reproduced if all exceed their
thresholds so, not reproduced if one falls below so, else inconclusive. The effect reported is text, sharpness. Sizes,
r = 0.2 and the form of c were chosen on seeds 100 and 101, where the asymptotic law of the specification, s = 1.5, did
not hold (2.6): at these sizes the dense facts are no small part of the capacity. Without a part in the verdict: tuples
and twice the steps at r = 0.2 (on seed 100 twice the steps did help, against spec claim 3), loss on held-out text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
    "Memory",
    "Text",
    "figure",
    "gains",
    "halves",
    "measures",
    "rise",
    "run",
    "slope",
    "thresholds",
    "verdict",
]

SLUG = "data-mixing-phase-transitions"
TITLE = "Phase transitions in what a mixture teaches"
ARXIV = "2505.18091"
CLAIM = (
    "Recall of a dense source's facts rises sharply at a mixing ratio, which falls with capacity as the theory of "
    "bounded capacity says; telling of fewer facts lifts them over it."
)
UNIT = "log of a ratio of mixing ratios"


@dataclass(frozen=True, slots=True)
class Memory:
    """Linear memories.

    Args:
        widths: d, increasing.
        odds: r / (1 - r), increasing.
        keep_width: width at which fewer dense facts are told.
        keeps: shares of the dense facts, decreasing from below 1.
        dense: dense facts.
        text: facts of text.
        answers: answers to choose from.
        zipf: exponent of the facts of text.
        steps: of Adam with full gradients.
        lr: its rate, which falls linearly in the second half.
    """

    widths: tuple[int, ...] = (20, 24, 30, 36)
    odds: tuple[float, ...] = tuple(2.0**k for k in range(-7, 3))
    keep_width: int = 24
    keeps: tuple[float, ...] = (0.5, 0.25)
    dense: int = 60
    text: int = 2000
    answers: int = 64
    zipf: float = 1.5
    steps: int = 250
    lr: float = 0.05


@dataclass(frozen=True, slots=True)
class Text:
    """Language models on biographies mixed with real text.

    Args:
        people: N, of five facts each.
        ratios: shares of the tokens that are biographies, increasing.
        below: the share, below the rise, at which remedies are tried; one of ``ratios``.
        keeps: shares of the people that are told of.
        compacts: tokens of tuples over tokens of biographies.
        longer: factors on the steps.
        corpus: the rest of the tokens.
        characters: of the corpus that are used for training.
        vocabulary: of the byte-pair encoding trained on that and on ``tellings`` biographies of each.
        tellings: see ``vocabulary``.
        dim: width.
        layers: blocks.
        heads: of attention.
        context: tokens of a row.
        batch: rows of a step.
        steps: updates.
        schedule: of the learning rate, AdamW.
        weight_decay: of AdamW.
        questions: asked of each model, drawn from all.
        windows: of held-out text.
    """

    people: int = 16
    ratios: tuple[float, ...] = (0.1, 0.14, 0.2, 0.28, 0.4)
    below: float = 0.2
    keeps: tuple[float, ...] = (0.5,)
    compacts: tuple[float, ...] = (1.0,)
    longer: tuple[int, ...] = (2,)
    corpus: str = "stdlib"
    characters: int = 1_000_000
    vocabulary: int = 1024
    tellings: int = 200
    dim: int = 64
    layers: int = 2
    heads: int = 2
    context: int = 96
    batch: int = 8
    steps: int = 300
    schedule: str = "wsd:peak=1e-2,warmup=20,decay=0.3,shape=linear"
    weight_decay: float = 0.1
    questions: int = 400
    windows: int = 64


@dataclass(frozen=True, slots=True)
class Config:
    """The experiment.

    Args:
        memory: where capacity decides.
        text: a small transformer.
    """

    memory: Memory = field(default_factory=Memory)
    text: Text = field(default_factory=Text)


SMOKE = Config(
    memory=Memory(widths=(8, 12), odds=(0.1, 1.0, 10.0), keep_width=8, keeps=(0.5,), dense=8, text=60, steps=20),
    text=Text(
        people=4,
        ratios=(0.1, 0.5),
        below=0.1,
        characters=40_000,
        vocabulary=300,
        tellings=2,
        dim=16,
        layers=1,
        heads=1,
        context=96,
        batch=4,
        steps=6,
        schedule="wsd:peak=1e-2,warmup=2,decay=0.3,shape=linear",
        questions=20,
        windows=4,
    ),
)
LAPTOP = Config()
GPU = Config(
    memory=Memory(widths=(20, 24, 30, 36, 48), text=8000, steps=500),
    text=Text(
        people=5000,
        ratios=(0.02, 0.05, 0.1, 0.2, 0.4),
        below=0.1,
        keeps=(0.5, 0.25),
        compacts=(0.3, 1.0),
        characters=100_000_000,
        vocabulary=2048,
        tellings=1,
        dim=256,
        layers=4,
        heads=4,
        context=512,
        batch=128,
        steps=1200,
        schedule="wsd:peak=1e-3,warmup=160,decay=0.1",
        questions=5000,
        windows=512,
    ),
)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Everything of one seed.

    Args:
        config: sizes and rates.
        seed: of keys, people, text order and weights.
        device: where models train.
        folder: not used; a seed is done within minutes.

    Yields:
        Records with ``part`` "memory" or "text"; see the card for each metric.
    """
    from thalweg.studies.data_mixing_phase_transitions.memory import memory_records
    from thalweg.studies.data_mixing_phase_transitions.text import text_records

    yield from memory_records(config.memory, seed=seed, device=device)
    yield from text_records(config.text, seed=seed, device=device)


def thresholds() -> dict[str, float]:
    """What each of the numbers must exceed."""
    return {
        "memory, capacity": -0.25,
        "memory, size": 1.0,
        "memory, facts": 0.75,
        "text, sharpness": 0.0,
        "text, fewer": 0.05,
    }


def halves(records: Sequence[Record]) -> dict[tuple[int, float], float]:
    """Log of the odds at which half the dense facts are recalled, by (width, share kept), of one seed."""
    from thalweg.studies.data_mixing_phase_transitions.memory import crossing

    rows = [r for r in records if r["part"] == "memory"]
    found = {}
    for arm in dict.fromkeys((r["width"], r["keep"]) for r in rows):
        own = sorted((r for r in rows if (r["width"], r["keep"]) == arm), key=lambda r: r["odds"])
        found[arm] = crossing([r["odds"] for r in own], [r["recall"] for r in own], 0.5)
    return found


def rise(records: Sequence[Record]) -> float:
    """Log of the ratio for half recall over that for a tenth, of one seed; log 5, proportion, without half recall."""
    from thalweg.studies.data_mixing_phase_transitions.memory import crossing

    rows = sorted((r for r in records if r.get("arm") == "sweep"), key=lambda r: r["ratio"])
    ratios, recall = [r["ratio"] for r in rows], [r["accuracy"] for r in rows]
    if max(recall) < 0.5:
        return math.log(5)
    return crossing(ratios, recall, 0.5) - crossing(ratios, recall, 0.1)


def gains(records: Sequence[Record], arm: str) -> float:
    """Recall of all people in the first run of a remedy less that at the same ratio without, of one seed."""
    remedy = next(r for r in records if r.get("arm") == arm)
    plain = next(r for r in records if r.get("arm") == "sweep" and r["ratio"] == remedy["ratio"])
    return float(remedy["accuracy"] - plain["accuracy"])


def slope(records: Sequence[Record]) -> float:
    """Of the log odds for half recall against the log of capacity d^2, of one seed."""
    found = {width: half for (width, keep), half in halves(records).items() if keep == 1}
    return float(np.polyfit(2 * np.log(list(found)), list(found.values()), 1)[0])


def measures(records: Sequence[Record]) -> dict[str, float]:
    """The numbers of the rule, of one seed's records."""
    from thalweg.studies.data_mixing_phase_transitions.memory import implied_capacity

    found = halves(records)
    about = next(r for r in records if r["part"] == "memory")
    whole = {width: half for (width, keep), half in found.items() if keep == 1}
    held = [
        implied_capacity(math.exp(half), dense=about["dense"], zipf=about["zipf"], text=about["text"])
        for half in whole.values()
    ]
    capacity = np.polyfit(2 * np.log(list(whole)), np.log(held), 1)[0]
    few = next(width for width, keep in found if keep < 1)
    kept = {keep: half for (width, keep), half in found.items() if width == few}
    facts = np.polyfit(np.log(list(kept)), list(kept.values()), 1)[0]
    return {
        "memory, capacity": -abs(float(capacity) - 1),
        "memory, size": -slope(records),
        "memory, facts": float(facts),
        "text, sharpness": math.log(5) / 2 - rise(records),
        "text, fewer": gains(records, "keep"),
    }


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    return decide_margins(records, measures, effect="text, sharpness", thresholds=thresholds())


def figure(records: Sequence[Record]) -> Figure:
    """Four panels: recall of the memory by ratio, its thresholds, recall of language models by ratio, remedies."""
    from thalweg.studies.data_mixing_phase_transitions.picture import draw

    return draw(records)
