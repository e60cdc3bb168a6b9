"""The picture of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record
from thalweg.studies.sharpness_generalization.study import last

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

PANELS = {
    "plain": ("No biases", {"plain-gd": "GD, weight decay", "plain-sam": "1-SAM"}),
    "bias": ("Biases", {"bias-gd": "GD, weight decay", "bias-batch": "full-batch SAM", "bias-sam": "1-SAM"}),
    "layernorm": ("Layer norm", {"layernorm-sgd": "SGD", "layernorm-sam": "1-SAM"}),
}
COLOURS = {"gd": "tab:orange", "sgd": "tab:orange", "batch": "tab:green", "sam": "tab:blue"}
TICKS = [2, 3, 5, 10, 20, 30, 50, 100]
KNOWN = {
    "memorizing": ("X", "tab:red", "remembers (constructed)"),
    "generalizing": ("*", "black", "knows (constructed)"),
}


def draw(records: Sequence[Record]) -> Figure:
    """Above accuracy over the share of steps done, below accuracy against the trace, a point a seed."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    figure = Figure(figsize=(11, 7), layout="constrained")
    grid = figure.subplots(2, 3)
    trained = [record for record in records if record["part"] == "arm"]
    for column, (kind, (title, arms)) in enumerate(PANELS.items()):
        for arm, label in arms.items():
            rows = [record for record in trained if record["arm"] == arm]
            colour = COLOURS[arm.rsplit("-", 1)[1]]
            _path(grid[0, column], rows, label, colour)
            x, y = ([last(row, key) for row in rows] for key in ("trace", "accuracy"))
            grid[1, column].plot(x, y, "o", color=colour, alpha=0.7, label=label)
        _known(grid[1, column], [r for r in records if r["part"] == "known" and r["kind"] == kind])
        grid[0, column].set_title(title)
        grid[0, column].set_xlabel("share of the arm's steps")
        grid[1, column].set_title(f"{title}: flatness at the end")
        grid[1, column].set_xscale("log")
        grid[1, column].xaxis.set_major_locator(FixedLocator(TICKS))
        grid[1, column].xaxis.set_major_formatter(ScalarFormatter())
        grid[1, column].xaxis.set_minor_locator(NullLocator())
        grid[1, column].set_xlabel("(2/n) Σ |∇f|², Tr of the Hessian at interpolation")
    for axes in grid.flat:
        axes.set_ylabel("accuracy on unseen points")
        axes.set_ylim(0.45, 1.02)
        axes.legend(fontsize=7, loc="lower right" if axes in grid[0] else "best")
    figure.supxlabel(
        "Above: mean and standard error over seeds. Below: one point a seed; dotted: the least trace of interpolators.",
        fontsize=8,
    )
    return figure


def _path(axes: Axes, rows: Sequence[Record], label: str, colour: str) -> None:
    """Mean and band of the accuracy over steps."""
    values = np.array([row["accuracy"] for row in rows])
    x = np.array(rows[0]["steps"]) / rows[0]["steps"][-1]
    mean = values.mean(0)
    error = values.std(0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.zeros_like(mean)
    axes.plot(x, mean, color=colour, label=f"{label}, {rows[0]['steps'][-1]:,} steps")
    axes.fill_between(x, mean - error, mean + error, color=colour, alpha=0.25, linewidth=0)


def _known(axes: Axes, rows: Sequence[Record]) -> None:
    """The constructed networks and the bound they attain."""
    for name, (marker, colour, label) in KNOWN.items():
        found = [row for row in rows if row["network"] == name][:1]
        for row in found:
            axes.axvline(row["least"], color="grey", linestyle=":", linewidth=1)
            axes.plot(row["trace"], row["accuracy"], marker, color=colour, markersize=10, label=label, linestyle="none")
