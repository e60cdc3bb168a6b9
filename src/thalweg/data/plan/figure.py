"""The picture of a plan: a heat map a source, how often each quality decile is seen in each phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_ledger"]

PANEL = 2.6  # inches
NARROW = 1.1  # inches a phase at least, so that names and numbers fit


def plot_ledger(account: dict[str, Any]) -> Figure:
    """Draws how often each decile of each scored source is seen, phase by phase and in all.

    Args:
        account: result of ``ledger``.

    Returns:
        A matplotlib Figure (no pyplot state).

    Raises:
        InputError: no source has a score.
    """
    from matplotlib.figure import Figure

    scored = {name: source for name, source in account["sources"].items() if source["deciles"]}
    if not scored:
        raise InputError("no source of the plan names a score: there are no deciles to draw")
    phases = [phase["name"] for phase in account["phases"]]
    columns = [*phases, "all"]
    wide = max(PANEL, NARROW * len(columns) / 2 + 1)
    figure = Figure(figsize=(wide * len(scored) + 1.2, 4.0), layout="constrained")
    panels = figure.subplots(1, len(scored), squeeze=False, sharey=True)[0]
    tables = {
        name: np.column_stack([np.array(s["deciles"]), np.sum(s["deciles"], axis=1)]) for name, s in scored.items()
    }
    highest = max(1.0, *(float(table.max()) for table in tables.values()))
    images = []
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        images.append(axes.imshow(table, aspect="auto", cmap="cividis", vmin=0, vmax=highest))
        for (row, column), times in np.ndenumerate(table):
            pale = times > highest / 2
            axes.text(
                column, row, f"{times:.2g}", ha="center", va="center", fontsize=7, color="black" if pale else "white"
            )
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
        axes.axvline(len(phases) - 0.5, color="white", linewidth=2)
        axes.set_title(f"{name} ({scored[name]['tokens']:,} tokens)", fontsize=9)
    panels[0].set_yticks(range(10), [f"{k + 1}" for k in range(10)])
    panels[0].set_ylabel("quality decile (1 is the best)")
    figure.colorbar(images[-1], ax=panels, label="times seen")
    return figure
