"""Draws the study: gradients that fall at every rate, the window of rates, effective rates that become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]


def draw(records: Sequence[Record]) -> Figure:
    """Six panels; bands and error bars are standard errors over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 8), layout="constrained")
    (descent, window, digits), (sphere, rates, fixed) = figure.subplots(2, 3)
    _curves(descent, _rows(records, "descent"), lambda r: r["least"], -0.5)
    descent.set(title="Descent on digits, batch norm", ylabel="smallest G so far")
    _window(window, records)
    _curves(digits, _rows(records, "digits"), lambda r: np.minimum.accumulate(r["gradient"]).tolist(), -0.25)
    digits.set(title="SGD on digits, batch norm", ylabel="smallest G so far")
    unit = _rows(records, "sphere")
    plain = _rows(records, "sphere", False)
    _curves(sphere, unit, lambda r: r["gradient"], -0.25)
    _curves(sphere, plain, lambda r: r["gradient"], None, style="--", note=", plain", like=unit)
    sphere.set(title="Noisy SGD on the sphere (dashed: not normalised)", ylabel="G, root mean square")
    _curves(rates, unit, lambda r: r["rate"], -0.5)
    rates.set(title="Effective rates on the sphere", ylabel="lr / |w|^2")
    _curves(fixed, _rows(records, "fixed"), lambda r: r["gradient"], None, note=", G")
    _curves(fixed, _rows(records, "fixed"), lambda r: r["rate"], -0.5, style=":", note=", rate")
    fixed.set(title="SGD on digits, last layer fixed", ylabel="G; lr / |w|^2 of layer 1 (dotted)")
    for axes in (descent, digits, sphere, rates, fixed):
        axes.set(xlabel="steps", xscale="log", yscale="log")
        axes.legend(fontsize=6, ncols=2)
    return figure


def _rows(records: Sequence[Record], part: str, normalized: bool = True) -> list[Record]:
    return [r for r in records if r["part"] == part and r["normalized"] is normalized]


def _by_rate(records: Sequence[Record]) -> dict[float, list[Record]]:
    found: dict[float, list[Record]] = {}
    for record in sorted(records, key=lambda r: r["lr"]):
        found.setdefault(record["lr"], []).append(record)
    return found


def _curves(
    axes: Axes,
    records: Sequence[Record],
    column: Callable[[Record], Sequence[float]],
    guide: float | None,
    *,
    style: str = "-",
    note: str = "",
    like: Sequence[Record] = (),
) -> None:
    """One line a rate, its mean over seeds; ``guide`` is the slope of a grey line, ``like`` has the colours' rates."""
    places = list(_by_rate(like or records))
    heights: list[np.ndarray] = []
    for lr, rows in _by_rate(records).items():
        colour = f"C{places.index(lr)}"
        steps, values = rows[0]["steps"], np.array([column(row) for row in rows])
        mean = values.mean(0)
        axes.plot(steps, mean, style, color=colour, linewidth=1, label=f"lr {lr:g}{note}")
        if len(values) > 1:
            error = values.std(0, ddof=1) / np.sqrt(len(values))
            axes.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.3, linewidth=0)
        heights.append(mean)
    if guide is not None:
        steps = np.array(records[0]["steps"], dtype=float)
        late = steps >= steps[-1] / 10
        level = 1.6 * max(height[late][0] for height in heights)
        line = level * (steps[late] / steps[late][0]) ** guide
        axes.plot(steps[late], line, color="0.4", linewidth=2, label=f"slope {guide:g}")


def _window(axes: Axes, records: Sequence[Record]) -> None:
    for normalized, label in ((True, "batch norm"), (False, "none, where finite")):
        found = _by_rate([r for r in _rows(records, "descent", normalized) if r["end"] is not None])
        values = [np.array([row["end"] for row in rows]) for rows in found.values()]
        errors = [v.std(ddof=1) / np.sqrt(len(v)) if len(v) > 1 else 0.0 for v in values]
        axes.errorbar(list(found), [v.mean() for v in values], errors, marker="o", capsize=2, label=label)
    axes.axhline(0.03, color="0.4", linewidth=1, label="the rule's .03")
    axes.set(title="Last loss of descent", xlabel="learning rate of the hidden weights", ylabel="nats")
    axes.set(xscale="log", yscale="log")
    axes.legend(fontsize=7)
