"""Below which frequency a model of a given size learns a fact, and what to do about a source that is too rare.

Measured on small models the threshold frequency falls as a power of the size, f = scale N^-slope; theory says slope =
α + 1, α the exponent of the text loss in model size. From the law follow the least mixing ratio, the share of the
documents to keep, and the amount of compact restatement that lift the facts over the threshold.

Source: Gu, Lyu, Li and Zhang, arXiv 2505.18091 (threshold frequency, Algorithm 1, subsampling, compact knowledge
mixing).
Differs: 1. a margin (1.1) stands between the threshold and the advice, since the paper's own table falls off a cliff
there. 2. Algorithm 1's listing could not be read in full; failures are counted and not reset, and where not one
popularity is good the threshold is infinite.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from thalweg.errors import InputError
from thalweg.files import write_atomic

__all__ = ["KnowledgeAdvice", "ThresholdLaw", "compact_gain", "matched_share", "threshold_popularity"]

MARGIN = 1.1
FORMAT = "thalweg-threshold-law"


@dataclass(frozen=True, slots=True)
class KnowledgeAdvice:
    """What a dense source needs to be learned.

    Attributes:
        frequency: of one fact in the mixture, ratio / facts.
        threshold: of a model of that size, margin included.
        least_ratio: mixing ratio that would do, at most 1 (inf if none does).
        keep: share of the facts to keep at the given ratio, at most 1.
        compact: tokens of compact tuples to add, in shares of the source's tokens; 0 where none are needed, inf where
            tuples of that length cannot lift them.
        clipped: the size lies outside the fitted range.
    """

    frequency: float
    threshold: float
    least_ratio: float
    keep: float
    compact: float
    clipped: bool

    @property
    def learned(self) -> bool:
        """Whether the facts are above the threshold as they are."""
        return self.frequency >= self.threshold


@dataclass(frozen=True, slots=True)
class ThresholdLaw:
    """f_threshold(N) = scale · N^-slope.

    Args:
        scale: > 0.
        slope: > 0; theory: 1 + exponent of the text loss in model size.
        smallest: least size it was fitted to.
        largest: greatest size it was fitted to.
        slope_error: standard error; NaN with two points, 0 where the slope was given.
    """

    scale: float
    slope: float
    smallest: float = 0.0
    largest: float = np.inf
    slope_error: float = np.nan

    @classmethod
    def fit(
        cls,
        sizes: Sequence[float] | np.ndarray,
        thresholds: Sequence[float] | np.ndarray,
        *,
        exponent: float | None = None,
    ) -> ThresholdLaw:
        """A line through log threshold against log size.

        Args:
            sizes: parameters N of the models, > 0.
            thresholds: frequency from which each learned facts, > 0.
            exponent: α of the text loss L = E + A N^-α; fixes the slope at 1 + α, so that one point is enough.

        Raises:
            InputError: too few sizes, or a number that is not finite and > 0.
        """
        n, f = np.asarray(sizes, dtype=float), np.asarray(thresholds, dtype=float)
        if n.ndim != 1 or n.shape != f.shape or not np.all(np.isfinite(n * f) & (n > 0) & (f > 0)):
            raise InputError("sizes and thresholds must be finite numbers > 0, one of each a model")
        needed = 1 if exponent is not None else 2
        if len(np.unique(n)) < needed:
            raise InputError(f"{len(np.unique(n))} model sizes do not determine the law: give at least {needed}")
        x, y = np.log(n), np.log(f)
        if exponent is not None:
            slope, error = 1 + exponent, 0.0
        else:
            centred = x - x.mean()
            slope = -float(centred @ y / (centred @ centred))
            rest = y - y.mean() + slope * centred
            spare = len(x) - 2
            error = float(np.sqrt(rest @ rest / spare / (centred @ centred))) if spare else np.nan
        if slope <= 0:
            raise InputError(f"the thresholds rise with size (slope {-slope:.3g}): check the table")
        return cls(float(np.exp(y.mean() + slope * x.mean())), slope, float(n.min()), float(n.max()), error)

    def threshold(self, size: float) -> float:
        """The threshold frequency at N parameters."""
        if not (np.isfinite(size) and size > 0):
            raise InputError(f"size = {size!r} must be a finite number of parameters > 0")
        return self.scale * size**-self.slope

    def advise(
        self, size: float, *, facts: float, ratio: float, shortening: float = 12.0, margin: float = MARGIN
    ) -> KnowledgeAdvice:
        """What lifts equally likely facts over the threshold.

        Args:
            size: parameters N.
            facts: number of facts S in the source, > 0.
            ratio: share r of the training tokens from the source, in (0, 1).
            shortening: tokens of one mention in prose over tokens of its compact tuple, > 0.
            margin: how far above the threshold to stay, >= 1.
        """
        if not 0 < ratio < 1 or not facts > 0 or not shortening > 0 or not margin >= 1:
            raise InputError(
                f"facts = {facts!r}, ratio = {ratio!r}, shortening = {shortening!r}, margin = {margin!r}: give "
                "facts > 0, a ratio between 0 and 1, shortening > 0 and margin >= 1"
            )
        needed = margin * self.threshold(size)
        frequency = ratio / facts
        gain = needed / frequency
        least = needed * facts
        compact = 0.0 if gain <= 1 else (gain - 1) / (shortening - gain) if gain < shortening else np.inf
        return KnowledgeAdvice(
            frequency,
            needed,
            least if least < 1 else np.inf,
            min(1.0, 1 / gain),
            compact,
            not self.smallest <= size <= self.largest,
        )

    def save(self, path: str | Path) -> None:
        """Writes JSON that ``load`` reads."""
        write_atomic(Path(path), json.dumps({"format": FORMAT, "version": 1, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> ThresholdLaw:
        """Reads what ``save`` wrote.

        Raises:
            InputError: no such file, or another format.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            if (values.pop("format"), values.pop("version")) != (FORMAT, 1):
                raise ValueError
            return cls(**{key: float(value) for key, value in values.items()})
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f"{path} is no threshold law: fit one with thalweg data threshold") from None


def compact_gain(share: float, shortening: float) -> float:
    """How much more often a fact is met, at an unchanged mixing ratio, once tuples are added: (1 + τ s) / (1 + τ).

    Args:
        share: τ >= 0, tokens of tuples over tokens of the source.
        shortening: s > 0, tokens of a mention in prose over tokens of a tuple.
    """
    if not (share >= 0 and shortening > 0):
        raise InputError(f"share = {share!r}, shortening = {shortening!r}: give share >= 0 and shortening > 0")
    return (1 + share * shortening) / (1 + share)


def matched_share(proxy_tokens: float, target_tokens: float) -> float:
    """Share of a dense source to keep in a proxy run, so that its facts are repeated as often as in the target run."""
    if not 0 < proxy_tokens <= target_tokens:
        raise InputError(f"proxy_tokens = {proxy_tokens:g} must be > 0 and at most target_tokens = {target_tokens:g}")
    return proxy_tokens / target_tokens


def threshold_popularity(
    popularity: Sequence[float], correct: Sequence[float], *, target: float = 0.6, failures: int = 5
) -> float:
    """The least popularity from which a model answers (Algorithm 1 of the paper).

    Going down through the distinct popularities, the accuracy of all items at least that popular is taken; at the
    ``failures``-th time it is below ``target`` the last good popularity is returned. With fewer failures than that the
    least popularity is returned.

    Args:
        popularity: of each item, finite.
        correct: 0 … 1 of each item.
        target: accuracy, in (0, 1).
        failures: >= 1.

    Returns:
        The threshold; infinity where no popularity was good.
    """
    x, y = np.asarray(popularity, dtype=float), np.asarray(correct, dtype=float)
    if x.ndim != 1 or x.shape != y.shape or len(x) == 0 or not np.all(np.isfinite(x) & (y >= 0) & (y <= 1)):
        raise InputError("popularity must be finite and correct lie in 0 … 1, one of each an item")
    if not 0 < target < 1 or failures < 1:
        raise InputError(f"target = {target!r} must lie between 0 and 1 and failures = {failures!r} be at least 1")
    values = np.unique(-x)
    order = np.argsort(-x, kind="stable")
    running = np.cumsum(y[order])
    counts = np.searchsorted(-x[order], values, side="right")
    failed, good = 0, np.inf
    for value, count in zip(-values, counts, strict=True):
        if running[count - 1] / count < target:
            failed += 1
            if failed == failures:
                return float(good)
        else:
            good = value
    return float(-values[-1]) if np.isfinite(good) else np.inf
