"""Draws the study: the toy beside its slow equation, and the network's trace and accuracy by H."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record
from thalweg.studies.local_sgd.study import late

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]


def draw(records: Sequence[Record]) -> Figure:
    """Four panels; error bars are standard errors over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    seeds = [[r for r in records if r["seed"] == seed] for seed in sorted({r["seed"] for r in records})]
    _toy(axes[0, 0], seeds)
    _paths(axes[0, 1], seeds)
    _ratios(axes[1, 0], seeds)
    _accuracies(axes[1, 1], seeds)
    figure.supxlabel(
        "Bars: standard errors over seeds. All arms of a seed start from one checkpoint and see the same samples.\n"
        "Late: mean over the last third of the times. H = 64 at the large rate does not train and is left out.",
        fontsize=9,
    )
    return figure


def _bars(axes: Axes, x: Sequence[float], rows: np.ndarray, label: str, colour: str, fmt: str = "-") -> None:
    """Mean and standard error over seeds, ``rows`` (seeds, points)."""
    error = rows.std(0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.zeros(rows.shape[1])
    axes.errorbar(x, rows.mean(0), error, fmt=fmt, label=label, color=colour, capsize=2)


def _toy(axes: Axes, seeds: list[list[Record]]) -> None:
    last = max(r["step"] for r in seeds[0] if r["part"] == "toy")
    rows = [[r for r in own if r["part"] == "toy" and r["step"] == last] for own in seeds]
    periods = [r["period"] for r in rows[0]]
    _bars(axes, periods, np.array([[r["trace"] for r in own] for own in rows]), "local SGD", "C0", "o")
    axes.plot(periods, [r["slow"] for r in rows[0]], color="C1", label="slow equation of local SGD")
    axes.axhline(rows[0][0]["sgd"], color="C7", ls="--", label="slow equation of SGD")
    axes.axhline(rows[0][0]["start"], color="black", ls=":", label="at the start")
    axes.set_xscale("log", base=2)
    axes.set(title=f"Toy: sharpness after {last} steps", xlabel="steps between averages, H", ylabel="tr H (least: 2)")
    axes.legend(fontsize=8)


def _paths(axes: Axes, seeds: list[list[Record]]) -> None:
    rows = [[r for r in own if r["part"] == "small rate"] for own in seeds]
    periods = sorted({r["period"] for r in rows[0]})
    base = np.array([[r["trace"] for r in own if r["part"] == "checkpoint"] for own in seeds])
    for place, period in enumerate(periods):
        steps = sorted(r["step"] for r in rows[0] if r["period"] == period)
        found = [[r["trace"] for r in sorted(own, key=lambda r: r["step"]) if r["period"] == period] for own in rows]
        shade = f"C{place}"
        _bars(axes, [0, *steps], np.concatenate([base, np.array(found)], axis=1), f"H = {period}", shade)
    axes.set(title="Digits, small rate: sharpness", xlabel="steps after the checkpoint", ylabel="trace of the Hessian")
    axes.legend(fontsize=8)


def _ratios(axes: Axes, seeds: list[list[Record]]) -> None:
    first = min(r["step"] for r in seeds[0] if r["part"] == "small rate")
    periods = sorted({r["period"] for r in seeds[0] if r["part"] == "small rate"})

    def early(own: list[Record], period: int) -> float:
        found = [r["trace"] for r in own if r["part"] == "small rate" and (r["step"], r["period"]) == (first, period)]
        return float(np.log(found[0]))

    gaps = [[early(own, 1) - early(own, h) for h in periods] for own in seeds]
    _bars(axes, periods, np.array(gaps), f"small rate, after {first} steps", "C7", "s-")
    for part, colour in (("small rate", "C0"), ("large rate", "C3")):
        shown = _trained(seeds, part)
        rows = [[late(own, part, 1, "trace") - late(own, part, h, "trace") for h in shown] for own in seeds]
        _bars(axes, shown, np.array(rows), f"{part}, late", colour, "o-")
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xscale("log", base=2)
    axes.set(
        title="Digits: how much flatter than H = 1", xlabel="steps between averages, H", ylabel="log tr(1) / tr(H)"
    )
    axes.legend(fontsize=8)


def _accuracies(axes: Axes, seeds: list[list[Record]]) -> None:
    for part, colour in (("small rate", "C0"), ("large rate", "C3")):
        shown = _trained(seeds, part)
        rows = [[100 * late(own, part, h, "accuracy") for h in shown] for own in seeds]
        _bars(axes, shown, np.array(rows), f"{part}, late", colour, "o-")
    axes.set_xscale("log", base=2)
    axes.set(title="Digits: held-out accuracy", xlabel="steps between averages, H", ylabel="accuracy, %")
    axes.legend(fontsize=8)


def _trained(seeds: list[list[Record]], part: str) -> list[int]:
    """Periods of a part; at the large rate those up to 16, since a network that guesses is flat."""
    limit = 16 if part == "large rate" else np.inf
    return sorted({r["period"] for r in seeds[0] if r["part"] == part and r["period"] <= limit})
