"""Figures of laws for the command line: a law over its curves, a prediction, a forecast over what came true."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from thalweg.laws import Law, LossCurve

__all__ = ["forecast_figure", "law_figure", "prediction_figure"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito (2008)
POINTS = 800


def law_figure(law: Law, curves: Mapping[str, LossCurve], train: Collection[str]) -> Figure:
    """Losses (dots), the law (lines; dashed where the curve was not fitted) and the residuals in percent below.

    Args:
        law: fitted.
        curves: all curves by name.
        train: names of those that were fitted.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for k, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[k % len(COLOURS)]
        keep = curve.steps >= curve.warmup
        steps, losses = curve.steps[keep], curve.losses[keep]
        predicted = law.predict(curve.rates, at=steps, warmup_steps=curve.warmup)
        style, role = ("-", "fitted") if name in train else ("--", "not fitted")
        upper.plot(steps, losses, ".", ms=2.5, alpha=0.45, color=colour)
        upper.plot(steps, predicted, style, lw=1.4, color=colour, label=f"{name} ({role})")
        lower.plot(steps, 100 * (predicted / losses - 1), lw=0.9, color=colour)
    upper.set_ylabel("loss (nats/token)")
    upper.set_title(f"{law.name} law: losses (dots) and law (lines)", fontsize=10)
    upper.legend(fontsize=7, frameon=False)
    lower.axhline(0, color="0.5", lw=0.7)
    lower.set_ylabel("law minus loss (%)")
    lower.set_xlabel("optimizer step")
    return figure


def prediction_figure(law: Law, schedules: Mapping[str, np.ndarray], warmup_steps: int) -> Figure:
    """Predicted loss of schedules with the law's 90 % band where it has one, and their learning rates below.

    Args:
        law: fitted.
        schedules: rates of every step, (T,), by name.
        warmup_steps: length of the warmup; the law says nothing about it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for k, (name, rates) in enumerate(schedules.items()):
        colour = COLOURS[k % len(COLOURS)]
        at = np.unique(np.linspace(warmup_steps, len(rates) - 1, POINTS).astype(np.int64))
        if law.record is not None and len(law.record.draws):
            low, high = law.band(rates, at=at, warmup_steps=warmup_steps)
            upper.fill_between(at, low, high, color=colour, alpha=0.2, lw=0)
        upper.plot(at, law.predict(rates, at=at, warmup_steps=warmup_steps), color=colour, lw=1.5, label=name[:70])
        lower.plot(np.arange(len(rates)), rates, color=colour, lw=1.2)
    upper.set_ylabel("predicted loss (nats/token)")
    upper.legend(fontsize=7, frameon=False)
    lower.set_ylabel("learning rate")
    lower.set_xlabel("optimizer step")
    return figure


def forecast_figure(result: Mapping[str, Any]) -> Figure:
    """The long runs of a finished forecast: what was foretold (lines, 90 % bands of the law) and measured (dots).

    Args:
        result: the content of ``result.json`` (see ``launch.forecast``).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, len(result["table"]), sharey=True)
    foretold = [min(forecast["low"]) for forecast in result["schedules"].values()]
    lowest = min(*foretold, *(min(result["runs"][f"long-{name}"]["losses"]) for name in result["table"]))
    for k, (axes, (name, row)) in enumerate(zip(panels, result["table"].items(), strict=True)):
        forecast, run = result["schedules"][name], result["runs"][f"long-{name}"]
        first = result["plan"]["horizon"] // 8
        points = [(s, y) for s, y in zip(run["steps"], run["losses"], strict=True) if s >= first]
        line = np.asarray(forecast["steps"]) >= first
        at = np.asarray(forecast["steps"])[line]
        axes.plot(*zip(*points, strict=True), ".", ms=3, color="0.35", label="measured")
        axes.fill_between(
            at,
            np.asarray(forecast["low"])[line],
            np.asarray(forecast["high"])[line],
            color=COLOURS[k],
            alpha=0.25,
            lw=0,
        )
        axes.plot(at, np.asarray(forecast["losses"])[line], color=COLOURS[k], lw=1.6, label="predicted")
        axes.axvline(result["plan"]["pilot_steps"], color="0.6", lw=0.8, ls=":")
        said = f"predicted {row['final_loss']:.4f}, measured {row['measured']:.4f} ({100 * row['error']:+.2f} %)"
        axes.set_title(f"{name}\n{said}", fontsize=8.5)
        axes.set_xlabel("optimizer step")
        axes.set_ylim(bottom=lowest - 0.01)
    panels[0].set_ylabel("validation loss (nats/token)")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
