"""What a fit saw and how sure it is: kept with the law, so that a saved law can say how far it extrapolates.

Source: our own; see docs/cards/laws.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

__all__ = ["Identifiability", "Record", "Rival", "Seen"]


@dataclass(frozen=True, slots=True)
class Seen:
    """The range of schedules that the fitted points cover, rates relative to `peak`.

    Attributes:
        curves: names of the fitted curves.
        points: number of fitted points.
        peak: largest rate.
        span: largest rate sum at a fitted point.
        steps: largest fitted step, counted from 1.
        least_rate: smallest rate at a fitted point, as a share of the peak.
        fallen: largest summed fall of the rate before a fitted point, as a share of the peak.
        speed: largest fall within a tenth of a run, as a share of the peak.
        shapes: number of different schedules among the fitted curves.
        falling: relative fall of the loss over the last half of the curve of the largest rate sum, 0 if unknown.
    """

    curves: tuple[str, ...]
    points: int
    peak: float
    span: float
    steps: int
    least_rate: float
    fallen: float
    speed: float
    shapes: int
    falling: float


@dataclass(frozen=True, slots=True)
class Identifiability:
    """How well the data, without the prior, determine the parameters.

    Attributes:
        condition: condition number of the weighted Jacobian of log predictions by log parameters.
        errors: standard error of each parameter's logarithm from the data alone (1 = known within a factor of e).
        loose: parameters whose error is above 0.3.
        direction: the combination the data determine worst: exponents of the product of parameters, largest 1.
    """

    condition: float
    errors: Mapping[str, float]
    loose: tuple[str, ...]
    direction: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Rival:
    """Another law fitted to the same points: its parameters and mean absolute log error on them."""

    params: Mapping[str, float]
    error: float


@dataclass(frozen=True, eq=False, slots=True)
class Record:
    """The evidence behind a fitted law.

    Attributes:
        method: ``default``, ``plain`` or ``reference``.
        seen: what the fit covered.
        noise: standard deviation of late log residuals, the least that a prediction can be off.
        correlation: how many logged points one independent point is worth (autocorrelation of the residuals).
        error: weighted mean absolute log residual on the fitted points.
        objective: value of the objective reached.
        draws: parameter sets of the bootstrap, shape (draws, p), in the order of the law's names.
        identifiability: None for the reference procedure.
        rivals: other laws fitted to the same points, by name.
        notes: what the fit or the readers assumed.
        backtest: largest relative error at the curves' ends, the law fitted to their first 60 %; None if not tried.
    """

    method: str
    seen: Seen
    noise: float
    correlation: float
    error: float
    objective: float
    draws: np.ndarray
    identifiability: Identifiability | None = None
    rivals: Mapping[str, Rival] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    backtest: float | None = None

    def with_checks(self, rivals: Mapping[str, Rival], backtest: float | None) -> Record:
        """The same record with other laws' parameters for comparison and the result of the backtest."""
        return replace(self, rivals=rivals, backtest=backtest)
