"""The picture of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

# Okabe and Ito (2008): apart for all common kinds of colour blindness
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"
ENDS = {"wsd 1": "constant", "wsd 0.333": "to 1/3", "wsd 0.1": "to .1", "wsd 0.003": "to .003"}


def draw(records: Sequence[Record]) -> Figure:
    """Means and standard errors over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 4.2), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
    _repetition(axes[0], [r for r in records if r["part"] == "repetition"])
    _quantiles(axes[1], [r for r in records if r["part"] == "quantile"])
    _phases(axes[2], [r for r in records if r["part"] == "phases"])
    seeds = len({record["seed"] for record in records})
    figure.supxlabel(
        f"Mean and standard error over {seeds} seeds; a byte-level transformer, losses on clean held-out text, "
        "every run of a panel with equal tokens.",
        fontsize=8,
    )
    return figure


def _rows(records: Sequence[Record], key: str) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Values of ``key``, mean and standard error of the test loss over seeds."""
    places = sorted({r[key] for r in records})
    found = [np.array([r["test"] for r in records if r[key] == place]) for place in places]
    return places, np.array([each.mean() for each in found]), np.array([_error(each) for each in found])


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _repetition(axes: Axes, records: Sequence[Record]) -> None:
    places, means, errors = _rows(records, "repeat")
    axes.errorbar(places, means, errors, fmt="o-", color=RED, capsize=3)
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
    top = means[0] + 1.0
    axes.set_ylim(min(means) - 0.1, min(max(means), top) + 0.1)
    for place, mean in zip(places, means, strict=True):
        if mean > top:
            axes.annotate(f"{mean:.2f} ↑", (place, top), ha="right", va="top", fontsize=8)
    axes.set(xlabel="k: the best 1/k of the windows, k times", ylabel="test loss (nats a byte)")
    axes.set_title("Selective repetition")


def _quantiles(axes: Axes, records: Sequence[Record]) -> None:
    for score, colour, word in (("quality", RED, "noisy quality"), ("random", "0.5", "random score")):
        places, means, errors = _rows([r for r in records if r["score"] == score], "start")
        axes.errorbar([100 * place for place in places], means, errors, fmt="o-", color=colour, capsize=3, label=word)
    axes.set(xlabel="start of the slice (% of windows, from the best)", ylabel="test loss (nats a byte)")
    axes.set_title("Reference runs on slices")
    axes.legend(fontsize=8, frameon=False)


def _phases(axes: Axes, records: Sequence[Record]) -> None:
    bars: list[tuple[str, list[float], str]] = []
    for schedule, word in ENDS.items():
        values = [r["test"] for r in records if r["arm"] == "uniform" and r["schedule"] == schedule]
        if values:
            bars.append((f"uniform, fresh,\n{word}", values, BLUE))
    for arm, colour in (("five phases, shuffled", GREEN), ("five phases", RED)):
        for average, word in (("none", "last weights"), ("sma", "average")):
            values = [r["test"] for r in records if r["arm"] == arm and r["average"] == average]
            bars.append((f"{arm},\n{word}", values, colour))
    means = [float(np.mean(values)) for _, values, _ in bars]
    axes.barh(
        range(len(bars)),
        means,
        xerr=[_error(np.array(values)) for _, values, _ in bars],
        color=[colour for *_, colour in bars],
        capsize=3,
    )
    axes.set_yticks(range(len(bars)), [label for label, *_ in bars], fontsize=8)
    axes.invert_yaxis()
    spread = max(means) - min(means)
    least = min(means) - 0.8 * spread
    axes.set_xlim(least, max(means) + 0.2 * spread)
    for place, mean in enumerate(means):
        axes.text(least, place, f"  {mean:.3f}", ha="left", va="center", fontsize=8, color="white")
    axes.set(xlabel="test loss (nats a byte), axis cut", title="Five phases against uniform order")
