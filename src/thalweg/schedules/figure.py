"""The picture of schedules: rates over steps, and under them one strip a schedule that names its phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError
from thalweg.schedules.base import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot"]

# The colours of Okabe and Ito (2008), apart for all common kinds of colour blindness; without the yellow, too pale.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
POINTS = 4000  # steps drawn at most, besides the ends of phases
LABEL = 64  # characters of a spec string in the legend
WIDTH = 8.0  # inches


def drawn_steps(schedule: Schedule, steps: int) -> np.ndarray:
    """The steps to draw: evenly spread, with both sides of every phase boundary so that jumps stay upright."""
    even = np.linspace(0, steps - 1, min(steps, POINTS)).round().astype(int)
    edges = [step for phase in schedule.phases(steps) for step in (phase.start, phase.stop - 1)]
    return np.unique(np.concatenate([even, edges]))


def draw_strip(axes: Axes, row: int, schedule: Schedule, steps: int, colour: str) -> None:
    """One row of boxes, a box a phase; a name too long for its box is written upright."""
    for k, phase in enumerate(schedule.phases(steps)):
        share = (phase.stop - phase.start) / steps
        axes.barh(
            row, phase.stop - phase.start, left=phase.start, height=0.86, color=colour, alpha=(0.18, 0.38)[k % 2], lw=0
        )
        upright = share * WIDTH * 0.8 < 0.075 * len(phase.name)  # 0.075 inch a letter at this size
        axes.text(
            (phase.start + phase.stop) / 2,
            row,
            phase.name,
            rotation=90 if upright else 0,
            ha="center",
            va="center",
            fontsize=6 if upright else 8,
        )


def plot(schedules: Schedule | Sequence[Schedule] | Mapping[str, Schedule], steps: int) -> Figure:
    """Draws one or several schedules over the same run.

    Args:
        schedules: one schedule, several, or several by label; the label is the spec string where none is given.
        steps: optimizer steps of the run (>= 1).

    Returns:
        A matplotlib Figure (no pyplot state): ``figure.savefig("schedule.png")``.

    Raises:
        InputError: no schedule, or one that does not fit in ``steps``.
    """
    from matplotlib.figure import Figure

    if isinstance(schedules, Schedule):
        schedules = [schedules]
    named = list(schedules.items()) if isinstance(schedules, Mapping) else [(str(each), each) for each in schedules]
    if not named:
        raise InputError("there is no schedule to plot; give at least one")
    strip = 0.5 * len(named)  # inches
    figure = Figure(figsize=(WIDTH, 4.2 + strip), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, strip])
    for row, (label, schedule) in enumerate(named):
        colour = COLOURS[row % len(COLOURS)]
        shown = drawn_steps(schedule, steps)
        text = label if len(label) <= LABEL else label[: LABEL - 1] + "…"
        style = STYLES[row % len(STYLES)]
        top.plot(shown, schedule.rates(steps)[shown], color=colour, ls=style, lw=1.8, label=text)
        draw_strip(bottom, row, schedule, steps, colour)
    top.set_ylabel("learning rate (per optimizer step)")
    top.set_ylim(bottom=0)
    top.grid(alpha=0.25)
    top.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", fontsize=8, frameon=False)
    bottom.set_xlabel("optimizer step")
    bottom.set_xlim(0, steps)
    bottom.set_ylim(len(named) - 0.5, -0.5)
    bottom.set_yticks([])
    bottom.set_ylabel("phases")
    bottom.spines[["left", "right", "top"]].set_visible(False)
    return figure
