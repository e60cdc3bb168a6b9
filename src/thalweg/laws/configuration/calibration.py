"""How wide an interval must be: held-out rows inside the fitted range, and pseudo-extrapolation beyond it.

A law is fitted again once or twice without its largest scales and without some of the other runs, and the errors on
what was left out set two numbers. ``inside``: the conformal quantile of |error| / deviation of the runs left out at
random, which are exchangeable with a new run of the same sweep, so that the interval holds its share of those.
``beyond``: the conformal quantile of (|error| - inside x deviation) / distance over the largest scales, in nats a
unit of distance from the convex hull of the fitted points (log N, log D). The half-width of an interval is

    inside x deviation(nearest fitted scale) + max(beyond x distance, Z90 x what the spread of the members grew by),

so that it grows with the distance at the rate at which the law failed when it extrapolated inside its own rows. Beyond
the hull nothing is exchangeable: there the share is that of the pseudo-extrapolations, no guarantee.

Source: Lei et al., arXiv 1604.04173 (split conformal with scaled residuals); Vovk, arXiv 1208.0806 (cross-conformal).
Differs: scores are pooled over refits; the distance and the pseudo-extrapolation are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from thalweg.laws.configuration.table import ConfigTable

__all__ = ["Calibration", "Region", "calibrate", "conformal_quantile", "refits"]

SHARE = 0.9
Z90 = 1.645  # normal quantile: standard deviations in half a 90 % interval
LEAST_RUNS = 30  # fewer are not calibrated
FAR_SHARES = (0.2, 0.05)  # of the runs: as much as the most compute that is left out holds at least
SIZE_SHARE = 0.05
MOST_FAR = 0.6
REFITS = 2
LEFT_OUT, LEAST_LEFT_OUT = 0.2, 20  # share of the other runs a refit leaves out; runs that all refits leave out
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
        runs_beyond: runs that the second stands on; 0: no refit could extrapolate, the members' spread stands alone.
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


def refits(table: ConfigTable, *, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """What each refit leaves out: masks of the largest scales and of other runs at random, (n,) each.

    The largest scales are the largest model sizes, or the runs of the most compute; two sizes remain where there are
    two. Rows of one run (other shares of its training) stay together.
    """
    sizes, compute = table.numbers["params"], table.flops
    found: list[np.ndarray] = []
    for scale, share in ((sizes, SIZE_SHARE), *((compute, share) for share in FAR_SHARES)):
        far = _largest(scale, share)
        enough = len(np.unique(sizes[~far])) >= min(2, len(np.unique(sizes)))
        if enough and far.mean() <= MOST_FAR and not any((far == other).all() for other in found):
            found.append(far)
    found = found[:REFITS] or [np.zeros(len(table), dtype=bool)]
    rng = np.random.default_rng(seed)
    run = _runs(table)
    share = min(max(LEFT_OUT, LEAST_LEFT_OUT / len(found) / max(run.max() + 1, 1)), 1 / 3)
    return [(far, ~far & (rng.random(run.max() + 1) < share)[run]) for far in found]


def _largest(scale: np.ndarray, share: float) -> np.ndarray:
    ordered = np.sort(scale)
    return scale >= SAME * ordered[-max(1, int(np.ceil(share * len(ordered))))]


def _runs(table: ConfigTable) -> np.ndarray:
    """Number of each row's run (n,): rows that differ in ``frac`` alone are one."""
    names = [name for name in table.numbers if name != "frac"]
    if "frac" not in table.numbers:
        return np.arange(len(table))
    columns = [*(map(str, table.numbers[name]) for name in names), *table.texts.values()]
    number: dict[Any, int] = {}
    return np.array([number.setdefault(key, len(number)) for key in zip(*columns, strict=True)])


def calibrate(fit: Callable[[ConfigTable], Members], table: ConfigTable, *, seed: int = 0) -> Calibration | None:
    """Refits a law without its largest scales and some runs, and takes the conformal quantiles of its errors.

    Args:
        fit: fits rows and returns the members' predictions.
        table: the fitted rows.
        seed: of the runs left out at random.

    Returns:
        The calibration; None where there are fewer than 30 rows.
    """
    if len(table) < LEAST_RUNS:
        return None
    near: list[np.ndarray] = []
    far: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for largest, others in refits(table, seed=seed):
        kept = table.rows(~largest & ~others)
        known = _known(kept, table)
        members, region = fit(kept), Region.of(kept)
        held = table.rows((largest | others) & known)
        found = members(held)
        error, (deviation, _) = np.abs(found[0].mean(axis=0) - held.losses), _deviation(*found)
        beyond, distance, moved = _moved(region, held)
        if beyond.any():
            deviation[beyond], _ = _deviation(*members(moved))
        random = others[(largest | others) & known]
        near.append((error / deviation)[random])
        apart = ~random & (distance > NEAR)
        far.append((error[apart], deviation[apart], distance[apart]))
    scores = np.concatenate(near)
    inside = conformal_quantile(scores) if len(scores) else Z90
    error, deviation, distance = (np.concatenate(part) for part in zip(*far, strict=True))
    beyond = 0.0
    if len(error) >= LEAST_FAR:
        beyond = max(0.0, conformal_quantile((error - inside * deviation) / distance))
    return Calibration(inside, beyond, len(scores), len(error) if len(error) >= LEAST_FAR else 0)


def _known(kept: ConfigTable, table: ConfigTable) -> np.ndarray:
    """Rows whose words all occur together in the kept rows."""
    words = sorted(table.texts)
    seen = {tuple(kept.texts[word][i] for word in words) for i in range(len(kept))}
    return np.array([tuple(table.texts[word][i] for word in words) in seen for i in range(len(table))], dtype=bool)
