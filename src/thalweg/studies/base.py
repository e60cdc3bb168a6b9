"""What a study is: a claim of a paper, a rule fixed before it runs, and a verdict with its error.

Source: the pattern of modded-nanogpt's third track (a significance rule fixed beforehand) and CleanRL (a page each).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from thalweg.errors import InputError, suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "SCALES",
    "Record",
    "Study",
    "Verdict",
    "decide",
    "decide_all",
    "decide_margins",
    "expected",
    "folder_of",
    "load_study",
]

SCALES = ("smoke", "laptop", "gpu")
Record = dict[str, Any]
State = Literal["reproduced", "not reproduced", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the records say of the claim.

    Attributes:
        state: by the rule that the study fixed beforehand.
        effect: in the unit the claim uses.
        error: standard error over (paired) seeds; nan for one seed.
        runs: seeds that count.
        threshold: what the claim demands of the effect; None where the effect is reported and no demand, or unknown.
    """

    state: State
    effect: float
    error: float
    runs: int
    threshold: float | None = field(default=None, compare=False)


class Study(Protocol):
    """The names a ``study.py`` defines at module level."""

    SLUG: str
    TITLE: str
    ARXIV: str
    CLAIM: str
    UNIT: str
    SMOKE: Any
    LAPTOP: Any
    GPU: Any

    def run(self, config: Any, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
        """Does the experiment of one seed and yields its records (plain JSON)."""

    def verdict(self, records: Sequence[Record]) -> Verdict:
        """Applies the study's rule."""

    def figure(self, records: Sequence[Record]) -> Figure:
        """Draws the evidence."""


def folder_of(slug: str) -> Path:
    """Where the study's card and expected.json lie."""
    return Path(__file__).parent / slug.replace("-", "_")


def load_study(slug: str, slugs: Mapping[str, str]) -> Any:
    """Imports a study's module.

    Args:
        slug: its name.
        slugs: the visible table of studies, slug -> module.

    Raises:
        InputError: no such study; the nearest is named.
    """
    if slug not in slugs:
        raise InputError(f"study {slug!r} is not known: {suggest(slug, slugs)}")
    return importlib.import_module(slugs[slug])


def expected(slug: str) -> dict[str, Any]:
    """The paper's numbers beside ours, from the study's ``expected.json``."""
    return json.loads((folder_of(slug) / "expected.json").read_text(encoding="utf-8"))


def decide(effects: Sequence[float], *, threshold: float, errors: float = 2.0) -> Verdict:
    """The common rule: an effect is reproduced where it exceeds ``threshold`` by ``errors`` standard errors over seeds.

    It is not reproduced where it falls short of the threshold by as much, and inconclusive between, or with one seed.

    Args:
        effects: one number a seed, larger for the claim.
        threshold: what the claim demands.
        errors: how many standard errors the mean must be away from it.
    """
    import numpy as np

    values = np.asarray(effects, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Verdict("inconclusive", mean, float("nan"), len(values), threshold)
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    state: State = "inconclusive"
    if mean - errors * error > threshold:
        state = "reproduced"
    elif mean + errors * error < threshold:
        state = "not reproduced"
    return Verdict(state, mean, error, len(values), threshold)


def decide_all(tests: Collection[Verdict], *, effect: Verdict) -> Verdict:
    """The common rule of several demands: reproduced where all are, not reproduced where one is not, else inconclusive.

    Args:
        tests: one verdict a demand.
        effect: whose effect, error, runs and threshold are reported.
    """
    states = {test.state for test in tests}
    state: State = "inconclusive"
    if states == {"reproduced"}:
        state = "reproduced"
    elif "not reproduced" in states:
        state = "not reproduced"
    return replace(effect, state=state)


def decide_margins(
    records: Sequence[Record],
    margins: Callable[[Sequence[Record]], Mapping[str, float]],
    *,
    effect: str = "effect",
    thresholds: Mapping[str, float] | None = None,
) -> Verdict:
    """``decide_all`` over margins that are read off each seed's records.

    Args:
        records: of all seeds; each names its ``seed``.
        margins: one seed's records -> name -> number, larger for the claim, the same names for every seed.
        effect: the margin that is reported. One named "effect" is reported only and no demand.
        thresholds: what the claim demands of each margin; None demands more than 0 of all.
    """
    seeds = sorted({record["seed"] for record in records})
    found = [margins([record for record in records if record["seed"] == seed]) for seed in seeds]
    demands = dict.fromkeys((name for name in found[0] if name != "effect"), 0.0) if thresholds is None else thresholds
    tests = {name: decide([each[name] for each in found], threshold=demands[name]) for name in demands}
    if effect in tests:
        return decide_all(tests.values(), effect=tests[effect])
    reported = decide([each[effect] for each in found], threshold=0.0)
    return decide_all(tests.values(), effect=replace(reported, threshold=None))
