"""The picture of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record
from thalweg.studies.data_reuse_law.study import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

PANELS = {
    "gaussian": ("Gaussian regression", "N = {:.0f} samples"),
    "zipf": ("Zipf regression (exact)", "N = {:.0e} samples"),
    "text": ("Byte-level transformer", "N = {:.0f} windows"),
}


def draw(records: Sequence[Record]) -> Figure:
    """Means and standard errors over seeds; open triangles are lower bounds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.9), layout="constrained")
    for axes, (part, (title, label)) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        _panel(axes, records, part, label)
        axes.set_title(title)
        axes.set_xlabel("epochs K")
        axes.set_ylabel("effective reuse E(K, N), fresh passes")
        axes.legend(fontsize=7)
    figure.supxlabel(
        "What K epochs over N samples are worth in passes over fresh ones, each side at its best constant rate; mean "
        "and standard error over seeds. Dotted: E = K.",
        fontsize=8,
    )
    return figure


def _panel(axes: Axes, records: Sequence[Record], part: str, label: str) -> None:
    from matplotlib import colormaps

    seeds = sorted({record["seed"] for record in records})
    found = [table([record for record in records if record["seed"] == seed], part) for seed in seeds]
    sizes = np.unique(found[0].unique)
    for size, shade in zip(sizes, colormaps["viridis"](np.linspace(0, 0.85, len(sizes))), strict=True):
        rows = found[0].unique == size
        epochs = found[0].epochs[rows]
        known = np.array([np.where(np.isfinite(each.reuse), each.reuse, each.bound)[rows] for each in found])
        error = known.std(axis=0, ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else np.zeros(len(epochs))
        axes.errorbar(
            epochs, known.mean(axis=0), yerr=error, fmt="o-", color=shade, capsize=3, label=label.format(size)
        )
        bounded = np.array([np.isnan(each.reuse[rows]) for each in found]).any(axis=0)
        axes.plot(epochs[bounded], known.mean(axis=0)[bounded], "^", color=shade, markerfacecolor="white", markersize=9)
    top = axes.get_ylim()[1]
    grid = np.geomspace(1, found[0].epochs.max(), 50)
    axes.plot(grid, grid, ":", color="0.6")
    axes.set_xscale("log", base=2)
    axes.set_ylim(0.8, top)
