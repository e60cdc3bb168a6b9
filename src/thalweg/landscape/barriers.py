"""Barriers: how far the loss rises between checkpoints, straight from one to another or over others between them.

On the segment L(f), f from 0 to 1, between two checkpoints

    over the line   max over f of L(f) - ((1 - f) L(0) + f L(1)): 0 where the loss is convex along the segment
    over the ends   max over f of L(f) - max(L(0), L(1)): 0 where the loss never exceeds the higher end

Both are >= 0. Checkpoints are linearly connected if the barrier is about 0. Among several checkpoints each pair is an
edge that costs the highest loss on its segment; the lowest way from one to another is the minimax path of that graph.

Source: arXiv 1912.05671 (linear mode connectivity: the mean of the ends is taken off there), arXiv 2110.06296 (over the
line, as here), arXiv 1803.00885 (the minimal saddle as a minimax path over a graph of minima).
Differs: 1. barriers are losses with a standard error, paired over evaluation windows, at the highest point found; the
maximum of noisy numbers lies above the true one by about that error. 2. the grid of points is fixed: a rise between two
points is missed. 3. 1803.00885 bends each edge by a nudged elastic band; here edges are straight and the way bends at
the checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from torch import Tensor

from thalweg.errors import InputError
from thalweg.landscape.bottleneck import minimax_paths
from thalweg.landscape.interpolation import Segment, Weights, blend, checked_losses
from thalweg.stats import PairedDifference, paired_difference

__all__ = ["Barrier", "BarrierMatrix", "Route", "barrier", "barrier_matrix"]

Over = Literal["line", "ends"]


@dataclass(frozen=True, slots=True)
class Barrier:
    """The highest rise on a segment.

    Attributes:
        height: nats per token (or the unit of the loss), >= 0.
        error: standard error of ``height`` over windows, paired; nan with one window, 0 where an end is the top.
        fraction: where it is, from 0 (first end) to 1.
    """

    height: float
    error: float
    fraction: float


@dataclass(frozen=True, slots=True)
class Route:
    """The lowest way between two checkpoints over straight segments.

    Attributes:
        checkpoints: their numbers, both ends included.
        top: highest loss on the way, the unit of the loss.
        height: ``top`` above the higher end, >= 0.
        error: standard error of ``height`` over windows, paired; nan with one window.
        saving: how much lower ``top`` is than on the straight segment from end to end, >= 0; None if that segment was
            not evaluated.
    """

    checkpoints: tuple[int, ...]
    top: float
    height: float
    error: float
    saving: PairedDifference | None


def barrier(segment: Segment, over: Over = "line") -> Barrier:
    """The barrier on a segment, above the line between its ends or above the higher end.

    Raises:
        InputError: ``over`` is neither "line" nor "ends".
    """
    rises = _rises(segment, over)
    top = int(rises.mean(axis=1).argmax())
    return Barrier(float(rises[top].mean()), _error(rises[top]), float(segment.fractions[top]))


def _rises(segment: Segment, over: Over) -> np.ndarray:
    """Rise of each window at each point, (points, windows)."""
    windows, fractions = segment.windows, segment.fractions[:, None]
    if over == "line":
        rises = windows - ((1 - fractions) * windows[0] + fractions * windows[-1])
        rises[[0, -1]] = 0.0
        return rises
    if over == "ends":
        return windows - windows[0 if segment.losses[0] >= segment.losses[-1] else -1]
    raise InputError(f"over={over!r} must be 'line' or 'ends'")


def _error(gaps: np.ndarray) -> float:
    return float(gaps.std(ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class BarrierMatrix:
    """All segments between n checkpoints that were evaluated.

    Attributes:
        windows: loss of each window at the checkpoints, float64 (n, windows).
        segments: by pair (i, j), i < j; from i to j.
    """

    windows: np.ndarray
    segments: dict[tuple[int, int], Segment]

    @property
    def losses(self) -> np.ndarray:
        """Mean loss of each checkpoint, (n,)."""
        return self.windows.mean(axis=1)

    def heights(self, over: Over = "line") -> np.ndarray:
        """Barrier of each pair, symmetric (n, n), 0 on the diagonal, nan where a pair was left out."""
        return self._fill(0.0, lambda segment: barrier(segment, over).height)

    def errors(self, over: Over = "line") -> np.ndarray:
        """Standard error of each barrier over windows, (n, n)."""
        return self._fill(0.0, lambda segment: barrier(segment, over).error)

    def tops(self) -> np.ndarray:
        """Highest mean loss on each segment, ends included, (n, n); the diagonal holds the checkpoints' losses."""
        return self._fill(self.losses, lambda segment: float(segment.losses.max()))

    def _fill(self, diagonal: float | np.ndarray, number: Callable[[Segment], float]) -> np.ndarray:
        matrix = np.full((len(self.windows),) * 2, np.nan)
        np.fill_diagonal(matrix, diagonal)
        for (i, j), segment in self.segments.items():
            matrix[i, j] = matrix[j, i] = number(segment)
        return matrix

    def connected(self, tolerance: float, over: Over = "line") -> np.ndarray:
        """Which pairs are linearly connected: barrier <= ``tolerance`` (unit of the loss); False where left out."""
        return self.heights(over) <= tolerance

    def mean_height(self, over: Over = "line") -> tuple[float, float]:
        """Mean barrier over all pairs, and its standard error over checkpoints.

        Pairs share checkpoints, so the error is the jackknife's, sqrt((n - 1) / n sum_i (m_i - m)^2) with m_i the mean
        over the pairs without checkpoint i; nan with fewer than three checkpoints.

        Raises:
            InputError: fewer than two checkpoints, or some pairs were left out.
        """
        heights, n = self.heights(over), len(self.windows)
        if n < 2 or np.isnan(heights).any():
            raise InputError(f"{len(self.segments)} pairs of {n} checkpoints: the mean needs all pairs of at least two")
        total = heights.sum() / 2
        mean = float(total / (n * (n - 1) / 2))
        if n < 3:
            return mean, float("nan")
        without = (total - heights.sum(axis=1)) / ((n - 1) * (n - 2) / 2)
        return mean, float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))

    def lowest_path(self, start: int, end: int) -> Route:
        """The way from one checkpoint to another whose highest loss is lowest.

        Raises:
            InputError: a number out of range, equal ends, or no way over the segments evaluated.
        """
        pairs = list(self.segments)
        tops = [float(self.segments[pair].losses.max()) for pair in pairs]
        ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        graph = (ends[:, 0], ends[:, 1], np.array(tops))
        found = minimax_paths(graph, start, directed=False, vertices=len(self.windows))
        way = [int(str(each)) for each in found.path(end)]
        if len(way) < 2:
            raise InputError(f"no way leads from checkpoint {start} to {end}: give two different ones, or more pairs")
        summit = max((self._top(a, b) for a, b in pairwise(way)), key=np.mean)
        gap = summit - self.windows[start if self.losses[start] >= self.losses[end] else end]
        saving = None
        if (min(start, end), max(start, end)) in self.segments and len(summit) > 1:
            saving = paired_difference(self._top(start, end).tolist(), summit.tolist())
        return Route(tuple(way), float(summit.mean()), float(gap.mean()), _error(gap), saving)

    def _top(self, i: int, j: int) -> np.ndarray:
        """Windows at the highest point of a segment, (windows,)."""
        segment = self.segments[min(i, j), max(i, j)]
        return segment.windows[segment.losses.argmax()]


def barrier_matrix(
    checkpoints: Sequence[Weights],
    evaluate: Callable[[dict[str, Tensor]], np.ndarray | float],
    *,
    points: int = 11,
    pairs: Iterable[tuple[int, int]] | None = None,
) -> BarrierMatrix:
    """Evaluates the segments between checkpoints: n + pairs (points - 2) evaluations in all.

    Args:
        checkpoints: weights of one model, at least two; several seeds, or several moments of a run.
        evaluate: gets the weights of a point and returns its loss, one number or one for each of the same windows, in
            evaluation mode.
        points: on each segment, both ends included, >= 3.
        pairs: which segments; default all.

    Raises:
        InputError: fewer than two checkpoints, too few points, a pair that is none, weights of two models, or losses
            of changing number or not finite.
    """
    n = len(checkpoints)
    if n < 2:
        raise InputError(f"{n} checkpoints have no segment between them: give at least two")
    if points < 3:
        raise InputError(f"points={points!r} must be at least 3: both ends and one between")
    wanted = [(i, j) for i in range(n) for j in range(i + 1, n)] if pairs is None else list(pairs)
    for i, j in wanted:
        if i == j or not (0 <= i < n and 0 <= j < n):
            raise InputError(f"pair {(i, j)} must be two different numbers from 0 to {n - 1}")
    fractions = np.linspace(0, 1, points)
    nodes = checked_losses([evaluate(blend(each, each, 1.0)) for each in checkpoints])
    segments = {}
    for i, j in sorted({(min(pair), max(pair)) for pair in wanted}):
        between = [evaluate(blend(checkpoints[i], checkpoints[j], float(f))) for f in fractions[1:-1]]
        segments[i, j] = Segment(fractions, checked_losses([nodes[i], *between, nodes[j]]))
    return BarrierMatrix(nodes, segments)
