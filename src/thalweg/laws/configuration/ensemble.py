"""Ensembles that predict a loss: a Chinchilla baseline plus a residual, several times, each member different.

A member of the embedded default is a surface over log or power coordinates (`features`), of the residual over the
square of the trend's reducible loss (what a bad hyperparameter costs shrinks as less is left to learn), or of the
logarithm of that above the best runs. It starts from a trend in size and data, the coupled law (``coupled``), whose
exponents' priors are centred elsewhere in each: what the table does not determine differs between members, so that they
part where nothing was fitted. Beyond ten times the fitted sizes and amounts of data a surface stays as it is there, and
the trend alone goes on.

Source: arXiv 2602.10300, section on residual targets; Lakshminarayanan et al., arXiv 1612.01474 (ensembles).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, Self

import numpy as np

from thalweg.errors import MissingExtra
from thalweg.laws.chinchilla_size import ChinchillaSize, SizeTable
from thalweg.laws.configuration.baseline import EXPONENTS, PRIOR, fit_baseline
from thalweg.laws.configuration.calibration import runs_of
from thalweg.laws.configuration.coupled import GAMMA, Coupled, fit_coupled
from thalweg.laws.configuration.features import Coordinates, Encoder
from thalweg.laws.configuration.surface import Surface, fit_surface
from thalweg.laws.configuration.table import ConfigTable

__all__ = ["Backbone", "BoostedEnsemble", "SurfaceEnsemble", "size_table"]

MEMBERS = 8
MOST_ROWS = 2000  # a surface stands on at most so many rows, drawn at random
BEST = 0.01  # quantile of the residuals that counts as the best runs
REACH = 10.0  # times the fitted range of size and data, within which a surface is asked
POWER = 2  # of the reducible loss, nats, that a residual is measured in
ABOVE, LEAST = 0.03, 0.005  # the logarithm is of residual - best + ABOVE, at least LEAST, in that unit


class Backbone(Protocol):
    """What a law asks of whatever predicts its losses."""

    def predict(self, table: ConfigTable) -> tuple[np.ndarray, np.ndarray]:
        """Losses and standard deviations of a new run, one row a member: (k, n), (k, n)."""

    def to_dict(self) -> dict[str, Any]:
        """All but the fitted rows, as JSON."""


def size_table(table: ConfigTable) -> SizeTable:
    """Sizes, tokens and losses of the rows that end a run (no ``frac``, or 1); all rows where none does."""
    ends = np.nan_to_num(table.numbers.get("frac", np.ones(len(table))), nan=1.0) == 1
    ends = ends if ends.sum() >= 6 else np.ones(len(table), dtype=bool)
    return SizeTable(table.numbers["params"][ends], table.numbers["tokens"][ends], table.losses[ends])


def _centres(count: int, rng: np.random.Generator) -> np.ndarray:
    """Centres of the exponents' priors (count, 3): normal quantiles in random order, whose mean is the prior's."""
    from scipy.stats import norm

    quantiles = norm.ppf((np.arange(count) + 0.5) / count)
    priors = [(EXPONENTS[0], PRIOR), (EXPONENTS[1], PRIOR), GAMMA]
    drawn = np.stack([middle + width * rng.permutation(quantiles) for middle, width in priors], axis=1)
    return np.clip(drawn, 0.1, 1.0)


def _reducible(trend: Coupled, table: ConfigTable) -> np.ndarray:
    """The trend's loss above its E, nats (n,)."""
    return trend.predict(table.numbers["params"], table.numbers["tokens"]) - trend.E


def _residual(trend: Coupled, table: ConfigTable) -> np.ndarray:
    above = table.losses - trend.predict(table.numbers["params"], table.numbers["tokens"])
    return above / _reducible(trend, table) ** POWER


def _limits(table: ConfigTable) -> dict[str, tuple[float, float]]:
    """Smallest and largest size and data at which a surface fitted to a table is asked."""
    fitted = ((name, table.numbers[name]) for name in ("params", "tokens"))
    return {name: (float(values.min()) / REACH, float(values.max()) * REACH) for name, values in fitted}


@dataclass(frozen=True, slots=True)
class _Member:
    coordinates: Coordinates
    logarithmic: bool
    offset: float
    trend: Coupled
    rows: list[int]
    surface: Surface
    limits: dict[str, tuple[float, float]]

    def predict(self, encoder: Encoder, table: ConfigTable) -> tuple[np.ndarray, np.ndarray]:
        held = {name: np.clip(table.numbers[name], *limits) for name, limits in self.limits.items()}
        near = replace(table, numbers={**table.numbers, **held})
        return self._losses(table, near, *self.surface.predict(encoder.encode(near, self.coordinates)))

    def left_out(self, encoder: Encoder, table: ConfigTable, run: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The fitted table's rows, each without its run."""
        if len(self.rows) == len(table):
            return self._losses(table, table, *self.surface.left_out(run))
        mean, deviation = self.predict(encoder, table)
        own = np.array(self.rows)
        mean[own], deviation[own] = self._losses(table.rows(own), table.rows(own), *self.surface.left_out(run[own]))
        return mean, deviation

    def _losses(
        self, table: ConfigTable, near: ConfigTable, mean: np.ndarray, deviation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The trend at the rows of ``table`` plus the residual that the surface gave for those of ``near``."""
        base = self.trend.predict(table.numbers["params"], table.numbers["tokens"])
        if self.logarithmic:
            above = np.exp(mean)
            mean, deviation = above + self.offset, above * deviation
        unit = _reducible(self.trend, near) ** POWER
        return base + unit * mean, unit * deviation


class SurfaceEnsemble:
    """The embedded default: Gaussian-process surfaces.

    Args:
        encoder: of the configurations.
        members: the surfaces.
    """

    name = "surface"

    def __init__(self, encoder: Encoder, members: Sequence[_Member]) -> None:
        self.encoder, self.members = encoder, list(members)

    @classmethod
    def fit(cls, table: ConfigTable, *, seed: int = 0, members: int = MEMBERS) -> Self:
        """Fits the members to a table."""
        rng = np.random.default_rng(seed)
        encoder, found = Encoder.fit(table), []
        for k, (alpha, beta, gamma) in enumerate(_centres(members, rng).tolist()):
            base = fit_coupled(size_table(table), centre=(alpha, beta), gamma=gamma)
            rows = np.sort(rng.permutation(len(table))[:MOST_ROWS]).tolist()
            part = table.rows(np.array(rows))
            coordinates, logarithmic = ("log", "power")[k % 2], bool(k // 2 % 2)
            residual = _residual(base, part)
            offset = float(np.quantile(residual, BEST)) - ABOVE
            values = np.log(np.maximum(residual - offset, LEAST)) if logarithmic else residual
            surface = fit_surface(encoder.encode(part, coordinates), values, seed=int(rng.integers(2**31)))
            found.append(_Member(coordinates, logarithmic, offset, base, rows, surface, _limits(part)))
        return cls(encoder, found)

    def predict(self, table: ConfigTable) -> tuple[np.ndarray, np.ndarray]:
        """Losses and standard deviations by member, (k, n) each."""
        parts = [member.predict(self.encoder, table) for member in self.members]
        return np.stack([mean for mean, _ in parts]), np.stack([deviation for _, deviation in parts])

    def left_out(self, table: ConfigTable) -> tuple[np.ndarray, np.ndarray]:
        """What the members say of each row of the fitted table without its run: as `predict`."""
        parts = [member.left_out(self.encoder, table, runs_of(table)) for member in self.members]
        return np.stack([mean for mean, _ in parts]), np.stack([deviation for _, deviation in parts])

    def to_dict(self) -> dict[str, Any]:
        """Parameters of every member; the fitted rows are the law's."""
        members = [
            {
                "coordinates": member.coordinates,
                "logarithmic": member.logarithmic,
                "offset": member.offset,
                "trend": asdict(member.trend),
                "rows": None if len(member.rows) < MOST_ROWS else member.rows,
                "theta": member.surface.theta,
            }
            for member in self.members
        ]
        return {"encoder": self.encoder.to_dict(), "members": members}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], table: ConfigTable) -> Self:
        """What `to_dict` gave, on the rows it was fitted to."""
        encoder, found = Encoder.from_dict(content["encoder"]), []
        for saved in content["members"]:
            rows = saved["rows"] or list(range(len(table)))
            part, base = table.rows(np.array(rows)), Coupled(**saved["trend"])
            logarithmic, offset = saved["logarithmic"], saved["offset"]
            residual = _residual(base, part)
            values = np.log(np.maximum(residual - offset, LEAST)) if logarithmic else residual
            surface = Surface(saved["theta"], encoder.encode(part, saved["coordinates"]), values)
            found.append(_Member(saved["coordinates"], logarithmic, offset, base, rows, surface, _limits(part)))
        return cls(encoder, found)


class BoostedEnsemble:
    """Gradient-boosted trees on the residual, each on a bootstrap sample of the rows (extra ``surrogate``).

    Trees are constant outside the fitted range: larger models get the largest fitted size's residual. Loading fits
    them again from the law's rows and seed.
    """

    name = "boosted"

    def __init__(self, encoder: Encoder, models: Sequence[Any], noise: float, base: ChinchillaSize, seed: int) -> None:
        self.encoder, self.models, self.noise, self.base, self.seed = encoder, list(models), noise, base, seed

    @classmethod
    def fit(cls, table: ConfigTable, *, seed: int = 0, members: int = MEMBERS) -> Self:
        """Fits the members to a table.

        Raises:
            MissingExtra: scikit-learn is not installed.
        """
        try:
            from sklearn.ensemble import HistGradientBoostingRegressor
        except ImportError:
            raise MissingExtra("scikit-learn", "surrogate") from None
        rng = np.random.default_rng(seed)
        encoder, base = Encoder.fit(table), fit_baseline(size_table(table))
        inputs = _flat(encoder, table)
        residual = table.losses - base.predict(table.numbers["params"], table.numbers["tokens"])
        models: list[Any] = []
        errors = []
        for _ in range(members):
            drawn = rng.integers(0, len(table), len(table))
            model: Any = HistGradientBoostingRegressor(
                max_iter=200, learning_rate=0.08, max_leaf_nodes=16, min_samples_leaf=5, random_state=0
            )
            model.fit(inputs[drawn], residual[drawn])
            out = np.setdiff1d(np.arange(len(table)), drawn)
            errors.append(model.predict(inputs[out]) - residual[out])
            models.append(model)
        return cls(encoder, models, float(np.std(np.concatenate(errors))), base, seed)

    def predict(self, table: ConfigTable) -> tuple[np.ndarray, np.ndarray]:
        """Losses and standard deviations by member, (k, n) each."""
        base = self.base.predict(table.numbers["params"], table.numbers["tokens"])
        inputs = _flat(self.encoder, table)
        means = np.stack([base + model.predict(inputs) for model in self.models])
        return means, np.full_like(means, self.noise)

    def to_dict(self) -> dict[str, Any]:
        """Seed and number of members: the trees are fitted again."""
        return {"seed": self.seed, "members": len(self.models)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], table: ConfigTable) -> Self:
        """What `to_dict` gave, fitted again to the rows."""
        return cls.fit(table, seed=content["seed"], members=content["members"])


def _flat(encoder: Encoder, table: ConfigTable) -> np.ndarray:
    features = encoder.encode(table)
    kinds = np.eye(len(encoder.categories))[features.category]
    return np.concatenate([features.inputs, features.scale, kinds], axis=1)
