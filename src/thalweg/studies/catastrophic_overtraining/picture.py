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


def draw(records: Sequence[Record]) -> Figure:
    """Means and standard errors over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.4), layout="constrained")
    axes = figure.subplots(2, 3)
    axes[0, 0].set_yscale("log")
    _noise(axes[0, 0], records, "annealed", "rise")
    axes[0, 0].set(title="Annealed runs: loss added by noise", ylabel="Δ, nats a byte")
    _noise(axes[0, 1], records, "annealed", "after")
    axes[0, 1].set(title="Annealed runs: loss after noise", ylabel="nats a byte")
    axes[0, 2].set_yscale("log")
    _noise(axes[0, 2], records, "constant", "rise")
    axes[0, 2].set(title="Caveat: one run at a constant rate", ylabel="Δ, nats a byte")
    _tuning(axes[1, 0], records, "rise")
    axes[1, 0].set(title="Fine-tuning: what is forgotten", ylabel="rise of the plays' loss, nats a byte")
    _tuning(axes[1, 1], records, "after")
    axes[1, 1].set(title="Fine-tuning: plays' loss after it", ylabel="nats a byte")
    _theory(axes[1, 2], records)
    figure.supxlabel(
        "Noise λ is in units of each tensor's initial deviation, draws paired; mean and standard error over seeds. "
        "Linear network: exact, noise floor taken off, dots at the least loss.",
        fontsize=9,
    )
    return figure


def _lines(axes: Axes, found: dict[str, dict[float, list[float]]]) -> None:
    """One line a label, over budgets."""
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.linspace(0, 0.85, max(1, len(found) - ("base" in found))))
    place = 0
    for label, points in found.items():
        x = sorted(points)
        rows = [np.array(points[each]) for each in x]
        error = [row.std(ddof=1) / np.sqrt(len(row)) if len(row) > 1 else 0.0 for row in rows]
        colour, line = ("black", "--") if label == "base" else (shades[place], "-")
        place += label != "base"
        axes.errorbar(
            x, [row.mean() for row in rows], error, color=colour, linestyle=line, marker="o", ms=4, label=label
        )
    axes.set_xscale("log")
    ticks = sorted({each for points in found.values() for each in points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("pretraining steps")
    low, high = axes.get_ylim()
    room = high * (high / low) ** 0.25 if axes.get_yscale() == "log" else high + 0.25 * (high - low)
    axes.set_ylim(low, room)  # for the legend
    axes.legend(fontsize=7, ncols=3, loc="upper center")


def _noise(axes: Axes, records: Sequence[Record], part: str, what: str) -> None:
    rows = [r for r in records if r["part"] == part and r["group"] == "*"]
    found: dict[str, dict[float, list[float]]] = {}
    for row in sorted(rows, key=lambda r: r["scale"]):
        value = max(row["rise"], 1e-6) if what == "rise" else row["base"] + row["rise"]
        found.setdefault(f"λ = {row['scale']:g}", {}).setdefault(row["budget"], []).append(value)
    if what == "after":
        for row in rows:
            if row["scale"] == rows[0]["scale"]:
                found.setdefault("base", {}).setdefault(row["budget"], []).append(row["base"])
    _lines(axes, found)


def _tuning(axes: Axes, records: Sequence[Record], what: str) -> None:
    found: dict[str, dict[float, list[float]]] = {}
    rows = [r for r in records if r["part"] == "finetuning"]
    for row in sorted(rows, key=lambda r: r["rate"]):
        value = row["after"] - (row["base"] if what == "rise" else 0)
        found.setdefault(f"rate {row['rate']:g}", {}).setdefault(row["budget"], []).append(value)
        if what == "after" and row["rate"] == rows[0]["rate"]:
            found.setdefault("base", {}).setdefault(row["budget"], []).append(row["base"])
    _lines(axes, found)


def _theory(axes: Axes, records: Sequence[Record]) -> None:
    from matplotlib import colormaps

    first = min(r["seed"] for r in records)
    rows = [r for r in records if r["part"] == "linear" and r["seed"] == first]
    for row, shade in zip(rows, colormaps["viridis"](np.linspace(0, 0.85, len(rows))), strict=True):
        axes.plot(row["times"], row["losses"], color=shade, label=f"noise {row['noise']:g}")
        best = int(np.argmin(row["losses"]))
        if row["noise"] > 0:
            axes.plot(row["times"][best], row["losses"][best], "o", color=shade)
    axes.set(title="Linear theory: loss under noise", xlabel="time of gradient flow", ylabel="loss", xscale="log")
    axes.legend(fontsize=7)
