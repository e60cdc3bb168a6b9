"""The figure of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw"]

NAMES = {"parallel": "every step", "constant": "constant H", "inverse": "H ~ 1/lr", "qsr": "QSR, H ~ 1/lr²"}


def draw(records: Sequence[Record]) -> Figure:
    """Three panels; error bars are standard errors over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = (
        ("toy", "trace", 1.0, "Toy: sharpness at the end", "tr H (least: 2)"),
        ("network", "trace", 1.0, "Digits: sharpness at the end", "trace of the Hessian"),
        ("network", "accuracy", 100.0, "Digits: held-out accuracy", "accuracy, %"),
    )
    for axes, (part, what, scale, title, label) in zip(figure.subplots(1, 3), panels, strict=True):
        for place, (rule, name) in enumerate(NAMES.items()):
            rows = [r for r in records if (r["part"], r["rule"]) == (part, rule)]
            values = scale * np.array([r[what] for r in rows])
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
            volume = 100 * rows[0]["averages"] / rows[0]["steps"]
            axes.errorbar(volume, values.mean(), error, fmt="os^D"[place], color=f"C{place}", capsize=3, label=name)
        axes.set_xscale("log")
        axes.set(title=title, xlabel="averages over steps, %", ylabel=label)
        axes.legend(fontsize=8)
    figure.supxlabel(
        "Bars: standard errors over seeds. All rules of a seed start alike and see the same samples.", fontsize=9
    )
    return figure
