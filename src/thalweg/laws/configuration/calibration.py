"""How wide an interval must be: runs left out inside the fitted range, and pseudo-extrapolation beyond it.

Two numbers set it. ``inside``: the conformal quantile of |error| / deviation of the fitted runs, each predicted without
itself; a new run of the same sweep is exchangeable with those, so that the interval holds its share of them.
``beyond``: the law is fitted again once or twice without its largest scales; the conformal quantile of
(|error| - inside x deviation) / distance of what was left out, in nats a unit of distance from the convex hull of the
fitted points (log N, log D). The half-width of an interval is

    inside x deviation(nearest fitted scale) + max(beyond x distance, Z90 x what the spread of the members grew by),

so that it grows with the distance at the rate at which the law failed when it extrapolated inside its own rows. Beyond
the hull nothing is exchangeable: there the share is that of the pseudo-extrapolations, no guarantee.

Source: Lei et al., arXiv 1604.04173 (split conformal with scaled residuals); Barber et al., arXiv 1905.02928 (runs
predicted without themselves).
Differs: the distance and the pseudo-extrapolation are ours; a run's own error enters lengths and trends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from thalweg.laws.configuration.table import ConfigTable

__all__ = ["Calibration", "Region", "calibrate", "conformal_quantile", "refits", "runs_of"]

SHARE = 0.9
Z90 = 1.645  # normal quantile: standard deviations in half a 90 % interval
LEAST_RUNS = 30  # fewer are not calibrated
FAR_SHARES = (0.2, 0.05)  # of the runs: as much as the most compute that is left out holds at least
SIZE_SHARE = 0.05
MOST_FAR = 0.6
REFITS = 2
LEFT_OUT = 0.2  # share of the runs that a backbone is fitted without where it cannot leave out one by one
SAME = 0.95  # scales within 5 % of each other are one
NEAR = 0.1  # e-folds; closer than that counts as inside
LEAST_FAR = 5

Found = tuple[np.ndarray, np.ndarray]  # losses and standard deviations by member, (k, n) each
Members = Callable[[ConfigTable], Found]


def conformal_quantile(scores: np.ndarray, share: float = SHARE) -> float:
    """The ceil((n + 1) share)-th smallest of n scores, the largest where that is beyond n; arXiv 1604.04173."""
    ordered = np.sort(scores)
    return float(ordered[min(int(np.ceil((len(ordered) + 1) * share - 1e-9)), len(ordered)) - 1])


@dataclass(frozen=True, eq=False, slots=True)
class Region:
    """The convex hull of fitted points (log N, log D), N in parameters and D in tokens.

    Attributes:
        corners: its corners counterclockwise (k, 2); one or two where all points coincide or lie on a line.
    """

    corners: np.ndarray

    @classmethod
    def of(cls, table: ConfigTable) -> Self:
        """The hull of a table's rows, by monotone chains."""
        points = sorted({(float(x), float(y)) for x, y in _points(table)})
        if len(points) < 3:
            return cls(np.array(points))
        return cls(np.array(_chain(points)[:-1] + _chain(points[::-1])[:-1]))

    def nearest(self, table: ConfigTable) -> tuple[np.ndarray, np.ndarray]:
        """Distances in e-folds (n,), 0 inside, and the nearest points of the hull (n, 2)."""
        points, start = _points(table), self.corners
        along = np.roll(start, -1, axis=0) - start  # (k, 2)
        to = points[:, None] - start  # (n, k, 2)
        share = np.clip((to * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-300), 0, 1)
        feet = start + share[..., None] * along
        gaps = np.linalg.norm(points[:, None] - feet, axis=-1)
        best = gaps.argmin(axis=1)
        distance, near = gaps[np.arange(len(points)), best], feet[np.arange(len(points)), best]
        inside = distance < 1e-9
        if len(start) > 2:
            inside |= (along[:, 0] * to[..., 1] - along[:, 1] * to[..., 0] >= 0).all(axis=1)
        return np.where(inside, 0.0, distance), np.where(inside[:, None], points, near)


def _points(table: ConfigTable) -> np.ndarray:
    return np.log(np.stack([table.numbers["params"], table.numbers["tokens"]], axis=1))


def _chain(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for x, y in points:
        while len(found) > 1:
            (a, b), (c, d) = found[-2:]
            if (c - a) * (y - b) - (d - b) * (x - a) > 1e-12:
                break
            found.pop()
        found.append((x, y))
    return found


@dataclass(frozen=True, slots=True)
class Calibration:
    """What held-out rows say about a law's deviations.

    Attributes:
        inside: multiple of the deviation that holds 90 % of the runs left out inside the fitted range.
        beyond: nats an e-fold of distance beyond it, >= 0.
        runs_inside: runs that the first stands on.
        runs_beyond: runs that the second stands on; 0: no refit could extrapolate, and beyond the fitted range the
            interval is as wide as the members' own deviations there make it, taken as normal if that is wider.
    """

    inside: float
    beyond: float
    runs_inside: int
    runs_beyond: int

    def half_width(self, members: Members, region: Region, table: ConfigTable, found: Found) -> np.ndarray:
        """Half of the 90 % interval, nats (n,).

        Args:
            members: losses and standard deviations by member, (k, n) each, of any table.
            region: the hull of the fitted rows.
            table: the configurations.
            found: what ``members`` says of them.
        """
        deviation, spread = _deviation(*found)
        far, distance, moved = _moved(region, table)
        if self.runs_beyond == 0:
            return np.where(far, max(self.inside, Z90), self.inside) * deviation
        if far.any():
            deviation[far], near = _deviation(*members(moved))
            grown = Z90 * np.sqrt(np.maximum(spread[far] - near, 0))
            distance[far] = np.maximum(self.beyond * distance[far], grown)
        return self.inside * deviation + distance

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


def _deviation(means: np.ndarray, deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation of a new run, and the members' variance."""
    spread = means.var(axis=0)
    return np.sqrt((deviations**2).mean(axis=0) + spread), spread


def _moved(region: Region, table: ConfigTable) -> tuple[np.ndarray, np.ndarray, ConfigTable]:
    """Which rows lie beyond (n,), distances (n,), and those rows at the nearest fitted size and data."""
    distance, near = region.nearest(table)
    far = distance > 0
    moved = table.rows(far)
    size, data = np.exp(near[far]).T
    return far, distance, replace(moved, numbers={**moved.numbers, "params": size, "tokens": data})


def refits(table: ConfigTable) -> list[np.ndarray]:
    """The largest scales that each refit leaves out: masks (n,).

    The largest model sizes, or the runs of the most compute; two sizes remain where there are two.
    """
    sizes, compute = table.numbers["params"], table.flops
    found: list[np.ndarray] = []
    for scale, share in ((sizes, SIZE_SHARE), *((compute, share) for share in FAR_SHARES)):
        far = _largest(scale, share)
        enough = len(np.unique(sizes[~far])) >= min(2, len(np.unique(sizes)))
        if enough and far.mean() <= MOST_FAR and not any((far == other).all() for other in found):
            found.append(far)
    return found[:REFITS]


def _largest(scale: np.ndarray, share: float) -> np.ndarray:
    ordered = np.sort(scale)
    return scale >= SAME * ordered[-max(1, int(np.ceil(share * len(ordered))))]


def runs_of(table: ConfigTable) -> np.ndarray:
    """Number of each row's run (n,): rows that differ in ``frac`` alone are one."""
    if "frac" not in table.numbers:
        return np.arange(len(table))
    columns = [*(map(str, column) for name, column in table.numbers.items() if name != "frac"), *table.texts.values()]
    number: dict[Any, int] = {}
    return np.array([number.setdefault(key, len(number)) for key in zip(*columns, strict=True)])


def calibrate(
    fit: Callable[[ConfigTable], Members], table: ConfigTable, left_out: Found | None = None, *, seed: int = 0
) -> Calibration | None:
    """Takes the conformal quantiles of the errors of runs left out, and of refits without the largest scales.

    Args:
        fit: fits rows and returns the members' predictions.
        table: the fitted rows.
        left_out: what the fitted members say of each row's run without it; None: one more refit leaves out a fifth of
            the runs.
        seed: of that fifth.

    Returns:
        The calibration; None where there are fewer than 30 rows.
    """
    if len(table) < LEAST_RUNS:
        return None
    held, found = table, left_out
    if found is None:
        run = runs_of(table)
        out = (np.random.default_rng(seed).permutation(run.max() + 1) < max(1, LEFT_OUT * (run.max() + 1)))[run]
        kept = table.rows(~out)
        held = table.rows(out & _known(kept, table))
        found = fit(kept)(held)
    scores = np.abs(found[0].mean(axis=0) - held.losses) / _deviation(*found)[0]
    inside = conformal_quantile(scores) if len(scores) else Z90
    rates: list[np.ndarray] = []
    for largest in refits(table):
        kept = table.rows(~largest)
        rates.append(_rates(fit(kept), Region.of(kept), table.rows(largest & _known(kept, table)), inside))
    far = np.concatenate(rates) if rates else np.zeros(0)
    if len(far) < LEAST_FAR:
        return Calibration(inside, 0.0, len(scores), 0)
    return Calibration(inside, max(0.0, conformal_quantile(far)), len(scores), len(far))


def _rates(members: Members, region: Region, held: ConfigTable, inside: float) -> np.ndarray:
    """(|error| - inside x deviation at the nearest fitted scale) / distance of the rows that lie apart."""
    if len(held) == 0:
        return np.zeros(0)
    error = np.abs(members(held)[0].mean(axis=0) - held.losses)
    far, distance, moved = _moved(region, held)
    if not far.any():
        return np.zeros(0)
    deviation, _ = _deviation(*members(moved))
    apart = distance[far] > NEAR
    return ((error[far] - inside * deviation) / distance[far])[apart]


def _known(kept: ConfigTable, table: ConfigTable) -> np.ndarray:
    """Rows whose words all occur together in the kept rows."""
    words = sorted(table.texts)
    seen = {tuple(kept.texts[word][i] for word in words) for i in range(len(kept))}
    return np.array([tuple(table.texts[word][i] for word in words) in seen for i in range(len(table))], dtype=bool)
