"""The picture of a quantile benchmark: the result of each corpus over where its slice starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thalweg.data.quantiles import QuantileTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["quantile_figure"]


def quantile_figure(table: QuantileTable, *, width: float, unit: str = "nats a token") -> Figure:
    """One panel a task, one line a corpus, bars of one standard error over seeds.

    Args:
        table: what was measured.
        width: share of the documents in a slice.
        unit: of the scores.

    Returns:
        A matplotlib Figure (no pyplot state).
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    panels = len(table.tasks)
    figure = Figure(figsize=(5.6 * panels + 0.4, 4.0), layout="constrained")
    x = 100 * np.asarray(table.starts)
    errors = np.nan_to_num(table.errors)
    for task, axes in enumerate(figure.subplots(1, panels, squeeze=False)[0]):
        for corpus, name in enumerate(table.corpora):
            axes.errorbar(
                x,
                table.means[corpus, :, task],
                errors[corpus, :, task],
                fmt="o-",
                color=colormaps["tab10"](corpus % 10),
                capsize=3,
                label=name,
            )
        axes.set(xlabel="start of the slice (% of documents, from the best)", ylabel=f"{table.tasks[task]} ({unit})")
        axes.legend(fontsize=8, frameon=False)
    seeds = table.scores.shape[3]
    figure.supxlabel(
        f"Reference runs on slices of {width:.3g} of the documents, {table.tokens:,} tokens at least; mean"
        + (f" and standard error over {seeds} seeds." if seeds > 1 else " of one seed, no error."),
        fontsize=8,
    )
    return figure
