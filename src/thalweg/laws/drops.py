"""The loss-drop sum of the multi-power law at many steps, in time and memory near-linear in the schedule's length.

    drop(t) = sum_{k<=t} (eta_{k-1} - eta_k) G(C eta_k^-gamma S_k(t)),   G(z) = 1 - (1 + z)^-beta

The sum over k is compressed as in a tree code: a dyadic panel of steps on which log eta is a polynomial, and which lies
at least its own length (in learning-rate sum) before t, is replaced by a few of its steps whose weights carry the
panel's rate changes; steps close to t enter one by one. In the same way the sum is evaluated at a few steps of each
smooth stretch and interpolated to the others. Steps and weights depend on the rates alone: a `DropTable` is built once
a schedule and serves every parameter set.

Source: arXiv 2503.12811, section 3 (the law); official code at commit 8da9f190 (S(t) includes the rate of step t).
Differs: 1. a rate below `TINY` times the peak counts as that inside eta^-gamma (the formula is undefined at 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.laws.panels import LEAF, Level, dyadic_sizes, judge, lagrange

__all__ = ["FIT_ORDER", "ORDER", "POLISH_ORDER", "TINY", "DropTable", "build_table", "exact_drops", "log_rates"]

TINY = 1e-12  # share of the peak below which a rate is read as this share
ORDER = 8  # steps a panel for predictions
FIT_ORDER = 6  # while a fit searches: 1e-6 of the rate's fall is far finer than the data
POLISH_ORDER = 12  # for a fit's last descent
FEW = 16  # where fewer than one step in so many is asked for, each is summed by itself


def log_rates(rates: np.ndarray) -> np.ndarray:
    """Natural logarithm of the rates, floored at `TINY` times their peak; shape (T,)."""
    return np.log(np.maximum(rates, TINY * rates.max()))


def exact_drops(
    rates: np.ndarray, params: tuple[float, float, float], *, first: int = 1, at: np.ndarray | None = None
) -> np.ndarray:
    """The definition, one sum a step in float64: the slow twin of `DropTable`.

    Args:
        rates: learning rate of every optimizer step, shape (T,).
        params: (C, beta, gamma) of the law; C and beta > 0.
        first: the first step whose rate change counts (1, or the warmup's length in the paper's form).
        at: steps to evaluate, each in [0, T); all T when absent.

    Returns:
        drop at each asked step, in units of the rate, shape (n,).
    """
    rates = np.asarray(rates, dtype=np.float64)
    c, beta, gamma = params
    steps = np.arange(len(rates)) if at is None else np.asarray(at)
    total = np.cumsum(rates)
    scale = c * np.exp(-gamma * log_rates(rates))
    first = max(first, 1)
    out = np.zeros(len(steps))
    for i, t in enumerate(steps):
        z = scale[first : t + 1] * (total[t] - total[first - 1 : t])
        out[i] = np.sum((rates[first - 1 : t] - rates[first : t + 1]) * (1 - (1 + z) ** -beta))
    return out


@dataclass(frozen=True, slots=True)
class Spread:
    """Interpolation from the rows of one panel size to all steps of those panels: values[rows] @ matrix."""

    rows: np.ndarray  # (panels, p)
    panels: np.ndarray  # (panels,)
    matrix: np.ndarray  # (p, panel size)


@dataclass(frozen=True, slots=True)
class DropTable:
    """Entries of the compressed sum for one schedule; build with `build_table`.

    Attributes:
        starts: first entry of each row (evaluated step) that has entries, shape (filled,).
        filled: those rows, shape (filled,).
        weight: rate change an entry carries, shape (entries,).
        log_x: logarithm of the rate sum from the entry's step to the row's, shape (entries,).
        log_rate: logarithm of the entry's rate, shape (entries,).
        rows: number of rows.
        spread: how rows become all steps; empty when the rows are the asked steps themselves.
        padded: steps of the schedule rounded up to whole panels.
        at: the asked steps (an index into all steps); ignored when the rows are the asked steps.
    """

    starts: np.ndarray
    filled: np.ndarray
    weight: np.ndarray
    log_x: np.ndarray
    log_rate: np.ndarray
    rows: int
    spread: tuple[Spread, ...]
    padded: int
    at: np.ndarray | slice

    def drops(self, c: float, beta: float, gamma: float) -> np.ndarray:
        """Drop at the asked steps, in units of the rate; shape (n,)."""
        work = self.log_rate * -gamma  # one buffer throughout: fresh megabytes cost more than the arithmetic
        work += self.log_x
        work += np.log(c)
        np.exp(work, out=work)
        work += 1
        np.log(work, out=work)
        work *= -beta
        np.exp(work, out=work)
        np.subtract(1, work, out=work)
        work *= self.weight
        return self._fill(work)

    def drops_and_slopes(self, c: float, beta: float, gamma: float) -> tuple[np.ndarray, np.ndarray]:
        """Drop at the asked steps, shape (n,), and its derivatives by (log C, beta, gamma), shape (n, 3)."""
        z = np.exp(self.log_x - gamma * self.log_rate + np.log(c))
        log1z = np.log(1 + z)
        kept = self.weight * np.exp(-beta * log1z)
        by_log_c = kept * (beta * z / (1 + z))
        slopes = (by_log_c, kept * log1z, -by_log_c * self.log_rate)
        return self._fill(self.weight - kept), np.stack([self._fill(slope) for slope in slopes], axis=1)

    def take(self, chosen: np.ndarray) -> DropTable:
        """The table of the asked steps of these indices only; for tables whose rows are the asked steps."""
        if self.spread:
            raise ValueError("the rows of a table that interpolates are not the asked steps")
        counts = np.zeros(self.rows, dtype=np.int64)
        counts[self.filled] = np.diff(self.starts, append=len(self.weight))
        first = np.zeros(self.rows, dtype=np.int64)
        first[self.filled] = self.starts
        kept = np.concatenate([np.arange(first[k], first[k] + counts[k]) for k in chosen])
        filled = np.flatnonzero(counts[chosen])
        starts = np.concatenate([[0], np.cumsum(counts[chosen])])[filled]
        parts = (self.weight[kept], self.log_x[kept], self.log_rate[kept])
        asked = self.at[chosen] if isinstance(self.at, np.ndarray) else chosen
        return DropTable(starts, filled, *parts, len(chosen), (), self.padded, asked)

    def _fill(self, entries: np.ndarray) -> np.ndarray:
        values = np.zeros(self.rows)
        if len(entries):
            values[self.filled] = np.add.reduceat(entries, self.starts)
        if not self.spread:
            return values
        out = np.empty(self.padded)
        for part in self.spread:
            out.reshape(-1, part.matrix.shape[1])[part.panels] = values[part.rows] @ part.matrix
        return out[self.at]


def build_table(rates: np.ndarray, *, first: int = 1, at: np.ndarray | None = None, order: int = ORDER) -> DropTable:
    """Compresses the drop sum of one schedule in O(T log T) time and O(T) memory beside the entries.

    Args:
        rates: learning rate of every optimizer step, >= 0, shape (T,).
        first: the first step whose rate change counts.
        at: steps to evaluate; all T when absent.
        order: steps that stand for a panel.
    """
    rates = np.asarray(rates, dtype=np.float64)
    few = at is not None and FEW * len(at) <= len(rates)
    tree = _grow(rates, max(first, 1), order, pairs=not few)
    rows, spread = (np.zeros(0, dtype=np.int64), ()) if few else _cover(tree)
    if at is not None and (few or len(at) <= len(rows)):
        rows, spread = np.asarray(at, dtype=np.int64), ()
    row, weight, x, log_rate = _entries(tree, rows)
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    asked = slice(0, len(rates)) if at is None else np.asarray(at, dtype=np.int64)
    return DropTable(starts, row[starts], weight, np.log(x), log_rate, len(rows), spread, len(tree.log_rate), asked)


@dataclass(frozen=True, slots=True)
class _Tree:
    levels: list[Level]  # largest panels first
    order: int
    gap: np.ndarray  # (N,) eta_{k-1} - eta_k where it counts, else 0
    changes: np.ndarray  # (N + 1,) number of non-zero gaps before step k
    before: np.ndarray  # (N + 1,) rate sum before step k
    log_rate: np.ndarray  # (N,)


def _grow(rates: np.ndarray, first: int, order: int, *, pairs: bool) -> _Tree:
    widths = dyadic_sizes(len(rates))
    pad = 2 * widths[0] - len(rates)
    counted = np.concatenate([rates, np.full(pad, rates[-1])])  # the padding goes on as the schedule ended: no new kink
    total = np.concatenate([[0.0], np.cumsum(counted)])
    counted[: min(first, len(rates))] = rates[min(first, len(rates)) - 1]
    gap = -np.diff(counted, prepend=counted[0])
    log_rate = np.log(np.maximum(counted, TINY * rates.max()))
    changes = np.concatenate([[0], np.cumsum(gap != 0)])
    return _Tree(judge(log_rate, widths, order, pairs=pairs), order, gap, changes, total, log_rate)


def _cover(tree: _Tree) -> tuple[np.ndarray, tuple[Spread, ...]]:
    """Rows for all steps: the largest panels that are smooth together with the one before them."""
    rows, spread, count = [], [], 0
    open_panels = np.arange(2)
    for part in tree.levels:
        last = part.size == LEAF
        done = open_panels if last else open_panels[part.smooth_pair[open_panels]]
        if len(done):
            steps = done[:, None] * part.size + part.steps
            rows.append(steps.ravel())
            numbers = count + np.arange(steps.size).reshape(steps.shape)
            spread.append(Spread(numbers, done, lagrange(part.size, tree.order).T))
            count += steps.size
        left = np.setdiff1d(open_panels, done, assume_unique=True)
        open_panels = np.concatenate([2 * left, 2 * left + 1])
    return np.concatenate(rows), tuple(spread)


def _entries(tree: _Tree, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(row, weight, x, log rate) of every entry, by one walk down the levels with all rows at once."""
    found = []
    row = np.repeat(np.arange(len(rows)), 2)
    panel = np.tile(np.arange(2), len(rows))
    for part in tree.levels:
        start, stop = panel * part.size, (panel + 1) * part.size
        alive = (start <= rows[row]) & (tree.changes[stop] > tree.changes[start])
        row, panel, start, stop = row[alive], panel[alive], start[alive], stop[alive]
        now = tree.before[rows[row] + 1]
        far = (stop <= rows[row] + 1) & part.smooth[panel]
        far &= tree.before[stop] - tree.before[start] <= now - tree.before[stop]
        if part.size > LEAF:
            found.append(_panel_entries(tree, part, (row[far], panel[far], now[far])))
            row, panel = row[~far], panel[~far]
            row, panel = np.repeat(row, 2), np.stack([2 * panel, 2 * panel + 1], axis=1).ravel()
    step = (panel[:, None] * LEAF + np.arange(LEAF)).ravel()
    row = np.repeat(row, LEAF)
    near = (step <= rows[row]) & (tree.gap[step] != 0)
    row, step = row[near], step[near]
    x = tree.before[rows[row] + 1] - tree.before[step]
    found.append((row, tree.gap[step], x, tree.log_rate[step]))
    row, weight, x, log_rate = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(row, kind="stable")
    order = order[x[order] > 0]
    return row[order], weight[order], x[order], log_rate[order]


def _panel_entries(tree: _Tree, part: Level, pairs: tuple[np.ndarray, np.ndarray, np.ndarray]):
    row, panel, now = pairs
    used, where = np.unique(panel, return_inverse=True)
    weight = tree.gap.reshape(-1, part.size)[used] @ lagrange(part.size, tree.order)
    step = used[:, None] * part.size + part.steps
    x = now[:, None] - tree.before[step][where]
    return np.repeat(row, len(part.steps)), weight[where].ravel(), x.ravel(), tree.log_rate[step][where].ravel()
