"""Hill and river parts of a training trajectory, read off short decays branched from it.

At a stable-phase checkpoint w a short decay leads to w' on the floor of the valley: hill(w) = L(w) - L(w') is the loss
of oscillating across the valley at a high rate, river(w) = L(w') how far down the valley the run has come. Along
training the river part falls while L(w) stays high. The mean of the last stable iterates is a cheap stand-in for w'.

Source: arXiv 2410.05192 (river-valley landscape; decay and averaging probes).
Differs: 1. the paper's river part is L(Phi(w)) with Phi the limit of the flow across the valley, which a network does
not give; the decay takes d steps, in which the run also moves along the river, so this river part lies below that of w
by the progress of the decay, and the hill part above by as much. 2. errors are standard errors over evaluation windows,
paired, since all losses are of the same windows; they leave out what another seed would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError
from thalweg.stats import PairedDifference, paired_difference

__all__ = ["HillRiver", "averaging_gap", "hill_river"]


@dataclass(frozen=True, slots=True, eq=False)
class HillRiver:
    """The parts at each probed checkpoint; losses in nats per token.

    Attributes:
        steps: finished updates behind each checkpoint w, increasing, int64 (n,).
        stable: L(w) of each window, float64 (n, windows).
        decayed: L(w') of each window, float64 (n, windows).
    """

    steps: np.ndarray
    stable: np.ndarray
    decayed: np.ndarray

    @property
    def loss(self) -> np.ndarray:
        """L(w), the mean over windows, (n,)."""
        return self.stable.mean(axis=1)

    @property
    def river(self) -> np.ndarray:
        """L(w'), (n,)."""
        return self.decayed.mean(axis=1)

    @property
    def hill(self) -> np.ndarray:
        """L(w) - L(w'), (n,)."""
        return (self.stable - self.decayed).mean(axis=1)

    @property
    def loss_error(self) -> np.ndarray:
        """Standard error of ``loss`` over windows, (n,)."""
        return _error(self.stable)

    @property
    def river_error(self) -> np.ndarray:
        """Standard error of ``river`` over windows, (n,)."""
        return _error(self.decayed)

    @property
    def hill_error(self) -> np.ndarray:
        """Standard error of ``hill`` over windows, paired, (n,)."""
        return _error(self.stable - self.decayed)

    def slide(self) -> PairedDifference:
        """How much more the river falls than the stable loss, first to last checkpoint: hill(last) - hill(first).

        Positive where the stable loss hides progress; its standard error is over windows, paired.
        """
        hills = self.stable - self.decayed
        return paired_difference(hills[-1].tolist(), hills[0].tolist())


def _error(rows: np.ndarray) -> np.ndarray:
    return rows.std(axis=1, ddof=1) / np.sqrt(rows.shape[1])


def hill_river(steps: Sequence[int], stable: np.ndarray, decayed: np.ndarray) -> HillRiver:
    """Splits the losses of a trajectory into hill and river parts.

    Args:
        steps: finished updates behind each checkpoint, increasing.
        stable: loss of each window at the checkpoints, nats per token, (n, windows), at least two windows.
        decayed: the same windows after a short decay from each checkpoint, (n, windows).

    Raises:
        InputError: shapes that do not fit, fewer than two windows, steps that do not increase, values not finite.
    """
    counts = np.asarray(steps, dtype=np.int64)
    first, second = np.asarray(stable, dtype=np.float64), np.asarray(decayed, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape or len(first) != len(counts) or first.shape[1] < 2:
        raise InputError(
            f"{len(counts)} steps, stable losses {first.shape} and decayed losses {second.shape} do not fit: give both "
            "as (checkpoints, windows) with at least two windows"
        )
    if not len(counts) or (np.diff(counts) <= 0).any():
        raise InputError(f"steps {counts.tolist()} must increase and be at least one")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("some losses are not finite: a run diverged; leave its checkpoints out")
    return HillRiver(counts, first, second)


def averaging_gap(averaged: np.ndarray, decayed: np.ndarray) -> PairedDifference:
    """How far the averaging probe is from the decay probe: L(mean of the last stable iterates) - L(w').

    Args:
        averaged: loss of each window at the mean of the iterates, nats per token, (windows,).
        decayed: the same windows after the decay, (windows,).

    Returns:
        Mean gap (near 0 where averaging stands in for the decay) and its standard error over windows.

    Raises:
        InputError: the numbers of windows differ or are below two, or a value is not finite.
    """
    return paired_difference(np.asarray(averaged).tolist(), np.asarray(decayed).tolist())
