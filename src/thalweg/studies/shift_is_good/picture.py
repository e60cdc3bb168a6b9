"""The picture of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record
from thalweg.studies.shift_is_good.study import theory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

COLOURS = {"same": "tab:orange", "best": "tab:blue"}
NAMES = {"same": "test mixture", "best": "best mixture"}


def draw(records: Sequence[Record]) -> Figure:
    """Means and standard errors over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.1), layout="constrained")
    axes = figure.subplots(1, 3)
    parts = {part: [r for r in records if r["part"] == part] for part in ("memory", "regression", "chains")}
    _memory(axes[0], parts["memory"])
    _regression(axes[1], parts["regression"])
    _chains(axes[2], parts["chains"])
    figure.supxlabel("Mean and standard error over seeds. Left: dashed lines have the slope of the theory.", fontsize=8)
    return figure


def _over_seeds(rows: Sequence[Record], key: str, value: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted keys, mean and standard error of a value over the rows of each."""
    keys = sorted({row[key] for row in rows})
    groups = [[row[value] for row in rows if row[key] == each] for each in keys]
    errors = [np.std(group, ddof=1) / len(group) ** 0.5 if len(group) > 1 else 0.0 for group in groups]
    return np.array(keys), np.array([np.mean(group) for group in groups]), np.array(errors)


def _memory(axes: Axes, rows: Sequence[Record]) -> None:
    for mark, alpha in zip("os^", sorted({row["alpha"] for row in rows}), strict=False):
        for mixture, colour in COLOURS.items():
            mine = [row for row in rows if (row["alpha"], row["mixture"]) == (alpha, mixture)]
            x, mean, error = _over_seeds(mine, "samples", "measured")
            axes.errorbar(
                x,
                mean,
                yerr=error,
                fmt=mark,
                color=colour,
                capsize=3,
                label=f"{NAMES[mixture]}, frequencies k^-{alpha:g}",
            )
            axes.plot(x, mean[-1] * (x / x[-1]) ** theory(mixture, alpha), "--", color=colour, linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(sizes := sorted({row["samples"] for row in rows}), [f"{size}" for size in sizes])
    axes.minorticks_off()
    axes.set_yscale("log")
    axes.set_title("Memorisation")
    axes.set_xlabel("training examples N")
    axes.set_ylabel("test mass of components never seen")
    axes.legend(fontsize=7)


def _regression(axes: Axes, rows: Sequence[Record]) -> None:
    for value, style, label in (("measured", "o", "measured"), ("predicted", "x", "predicted from learning curves")):
        x, mean, error = _over_seeds(rows, "samples", value)
        axes.errorbar(x, mean, yerr=error, fmt=style, capsize=3, color="tab:blue", label=label)
    axes.axhline(1, color="tab:orange", linewidth=1, label=NAMES["same"])
    axes.set_xscale("log")
    axes.set_xlim(x[0] / 2, x[-1] * 2)
    axes.set_xticks(x, [f"{size}" for size in x])
    axes.minorticks_off()
    axes.set_title("Regressions, test shares Zipf(1)")
    axes.set_xlabel("training examples N")
    axes.set_ylabel("excess error, best over test mixture")
    axes.legend(fontsize=7)


def _chains(axes: Axes, rows: Sequence[Record]) -> None:
    for drills, colour in zip(sorted({row["drills"] for row in rows}), COLOURS.values(), strict=False):
        mine = [row for row in rows if row["drills"] == drills]
        name = f"{drills:.0%} drills" if drills else "test-like only"
        for value, style, label in (("accuracy", "o-", "test-like"), ("uniform", "s:", "uniform-skill")):
            x, mean, error = _over_seeds(mine, "step", value)
            axes.errorbar(x, mean, yerr=error, fmt=style, color=colour, capsize=3, label=f"{name}: {label} chains")
    axes.set_ylim(-0.03, 1.5)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_title("Composing skills, transformer")
    axes.set_xlabel("updates")
    axes.set_ylabel("exact match")
    axes.legend(fontsize=7, loc="upper left")
