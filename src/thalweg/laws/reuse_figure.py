"""The picture of effective reuse: measured E(K, N) over epochs for each N, and the law through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thalweg.laws.reuse import ReuseLaw, ReuseTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["reuse_figure"]


def reuse_figure(table: ReuseTable, law: ReuseLaw) -> Figure:
    """Points are runs, triangles runs beyond the one-pass curve (lower bounds), lines the law, grey E = K."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    sizes = np.unique(table.unique)
    shades = colormaps["viridis"](np.linspace(0, 0.85, len(sizes)))
    grid = np.geomspace(1, table.epochs.max(), 200)
    axes.plot(grid, grid, color="0.6", linestyle=":", label="every epoch as good as fresh data")
    for size, shade in zip(sizes, shades, strict=True):
        rows = table.unique == size
        axes.plot(table.epochs[rows], table.reuse[rows], "o", color=shade, label=f"N = {size:g}")
        axes.plot(table.epochs[rows], table.bound[rows], "^", color=shade, markerfacecolor="none")
        axes.plot(grid, [law.reuse(size, k) for k in grid], color=shade)
    top = np.nanmax(np.concatenate([table.reuse, table.bound, [1.5]]))
    axes.set_xscale("log", base=2)
    axes.set_ylim(0.9, 1.15 * top)
    axes.set_xlabel("epochs K over N unique examples")
    axes.set_ylabel("effective reuse E(K, N): worth in fresh passes")
    axes.legend(fontsize=8)
    figure.supxlabel(f"Lines: E = 1 + R (1 - exp(-(K - 1) / R)), R(N) by form {law.form!r}.", fontsize=8)
    return figure
