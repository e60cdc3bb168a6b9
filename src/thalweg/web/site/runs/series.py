"""From a log's columns to what is drawn: positions across, values up, names and units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.errors import InputError
from thalweg.runs.columns import LogColumns
from thalweg.web.words import significant

__all__ = ["SPEED", "Series", "across", "metrics_of", "read_series", "said", "title", "tokens_per_step"]

SPEED = "tokens_per_second"
UNITS = {
    "loss": ("training loss", "nats/token"),
    "val_loss": ("validation loss", "nats/token"),
    "val_loss_average": ("validation loss of the averaged weights", "nats/token"),
    "lr": ("learning rate", "per optimizer step"),
    "seconds": ("time of a step", "s"),
    SPEED: ("throughput", "tokens/s"),
    "grad_norm": ("gradient norm", "before clipping"),
    "depth": ("blocks that ran", "blocks"),
    "flops_share": ("FLOPs spent of those of full depth", "share"),
    "load_max": ("largest load of an expert", "share"),
    "load_mean": ("mean load of the experts", "share"),
}


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one run.

    Attributes:
        x: positions across, finite, float64 (n,), ascending.
        y: values, float64 (n,).
        steps: optimizer steps, int64 (n,).
    """

    x: np.ndarray
    y: np.ndarray
    steps: np.ndarray


def title(metric: str) -> str:
    """A metric's name with its unit, as an axis has it; unknown ones as they were logged."""
    name, unit = UNITS.get(metric, (metric, ""))
    return f"{name} ({unit})" if unit else name


def said(value: float) -> str:
    """A value for the eye; what is not finite by its word."""
    return significant(value, 5) if math.isfinite(value) else {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")


def tokens_per_step(recipe: Mapping[str, Any]) -> int | None:
    """Tokens that one update reads, if the recipe says so."""
    batch, data = recipe.get("batch"), recipe.get("data")
    context = data.get("context") if isinstance(data, Mapping) else None
    counts = (batch, context)
    return batch * context if all(type(n) is int and 0 < n < 2**40 for n in counts) else None  # type: ignore[operator]


def metrics_of(columns: LogColumns, tokens: int | None) -> tuple[str, ...]:
    """Names of what can be drawn: what was logged, and the throughput where it follows from that."""
    names = columns.metrics
    return (*names, SPEED) if tokens and "seconds" in names and SPEED not in names else names


def across(columns: LogColumns, tokens: int | None) -> tuple[str, ...]:
    """The horizontal axes that the log allows: seconds where every record has them."""
    timed = len(columns.curve("seconds")[0]) == len(columns.steps()) > 0
    return ("steps", *(("tokens",) if tokens else ()), *(("seconds",) if timed else ()))


def read_series(columns: LogColumns, metric: str, *, x: str, tokens: int | None) -> Series:
    """A metric as it is drawn.

    Args:
        columns: of the log.
        metric: one of ``metrics_of``; another one is empty.
        x: one of ``across``.
        tokens: read by one update.

    Raises:
        InputError: the log does not allow that axis.
    """
    if x not in across(columns, tokens):
        why = "its recipe names no batch and context" if x == "tokens" else "not every record has seconds"
        raise InputError(f"x = {x} does not go with this run ({why}): choose steps")
    derived = metric == SPEED and metric not in columns.metrics
    steps, values = columns.curve("seconds" if derived else metric)
    if derived and tokens:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = tokens / values
    if x == "steps":
        return Series(steps.astype(np.float64), values, steps)
    if x == "tokens":
        return Series((steps + 1.0) * tokens if tokens else steps * 1.0, values, steps)
    timed, seconds = columns.curve("seconds")
    spent = np.cumsum(np.where(np.isfinite(seconds) & (seconds > 0), seconds, 0.0))
    spent = np.minimum(spent, 1e300)
    return Series(spent[np.searchsorted(timed, steps)], values, steps)
