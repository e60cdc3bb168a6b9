"""The figure of the study: predictions of larger models, and errors by backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

COLOURS = {"official": "#999999", "surface": "#0072B2", "boosted": "#D55E00", "tiny": "#009E73", "hf": "#CC79A7"}
NAMES = {"official": "Chinchilla, paper's constants", "surface": "surface (default)", "boosted": "boosted trees"}
NAMES |= {"tiny": "small transformer", "hf": "language model"}
TITLES = {"steplaw": "StepLaw, 537M", "marin": "Marin, 520M and 1.2B"}


def draw(records: Sequence[Record], *, sources: Sequence[str]) -> Figure:
    """Left and middle: one seed's predictions of larger models. Right: errors there, means and errors over seeds."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(11, 4.2), layout="constrained")
    panels = drawing.subplots(1, len(sources) + 1)
    runs = [record for record in records if record["kind"] == "runs"]
    scores = [r for r in records if r["kind"] == "score" and r["split"] == "ood_val"]
    if not scores:
        drawing.suptitle("the tables of published sweeps are absent", fontsize=10)
        return drawing
    for panel, source in zip(panels[:-1], sources, strict=True):
        _scatter(panel, next(r for r in runs if r["source"] == source), TITLES[source])
    panels[0].legend(frameon=False, fontsize=8, loc="upper left")
    _bars(panels[-1], scores, sources)
    seeds = len({r["seed"] for r in scores})
    drawing.supxlabel(
        f"Bars: 90 % intervals of single runs (left, middle; seed {runs[0]['seed']}), standard errors over {seeds} "
        "seeds (right). Models larger than any fitted one.",
        fontsize=8,
    )
    return drawing


def _scatter(panel: Axes, record: Record, title: str) -> None:
    true, loss = np.array(record["true"]), np.array(record["loss"])
    panel.plot(true, record["official"], ".", ms=3, color=COLOURS["official"], label=NAMES["official"])
    spans = [np.maximum(loss - record["low"], 0), np.maximum(record["high"] - loss, 0)]
    panel.errorbar(true, loss, yerr=spans, fmt=".", ms=3, lw=0.3, color=COLOURS["surface"], label=NAMES["surface"])
    ends = [true.min(), true.max()]
    panel.plot(ends, ends, color="black", lw=0.8)
    panel.set_xlabel("measured final loss (nats/token)")
    panel.set_ylabel("predicted (nats/token)")
    panel.set_title(title, fontsize=9)


def _bars(panel: Axes, scores: Sequence[Record], sources: Sequence[str]) -> None:
    names = ["official", *(name for name in COLOURS if any(r["backbone"] == name for r in scores))]
    for k, name in enumerate(names):
        key, backbone = ("official_mae", "surface") if name == "official" else ("mae", name)
        means, errors = [], []
        for source in sources:
            values = [r[key] for r in scores if r["source"] == source and r["backbone"] == backbone]
            means.append(float(np.mean(values)))
            errors.append(float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0)
        places = np.arange(len(sources)) + 0.8 * (k + 0.5) / len(names) - 0.4
        panel.bar(places, means, 0.75 / len(names), yerr=errors, color=COLOURS[name], label=NAMES[name])
    panel.set_xticks(range(len(sources)), [TITLES[source].split(",")[0] for source in sources])
    panel.set_ylabel("mean absolute error, larger models (nats/token)")
    panel.legend(frameon=False, fontsize=8)
