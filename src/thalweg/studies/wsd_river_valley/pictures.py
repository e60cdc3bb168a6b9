"""The figure of the study: six panels, drawn from the records alone."""

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
COLOURS = {"wsd-s": "#0072B2", "wsd": "#D55E00", "cyclic": "#009E73", "stable": "#CC79A7"}
WORDS = {"wsd-s": "WSD-S", "wsd": "WSD", "cyclic": "cyclic cosine", "stable": "stable branch"}
HILL, RIVER = "#E69F00", "#0072B2"


def draw(records: Sequence[Record]) -> Figure:
    """The curves and checkpoints, the gaps, hill and river, the segments, the tokens, the toy valley."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(12.5, 7.4), layout="constrained")
    axes = page.subplots(2, 3)
    text = [record for record in records if record["part"] == "language"]
    _curves(axes[0, 0], text)
    _gaps(axes[0, 1], text)
    _river(axes[0, 2], text)
    _segments(axes[1, 0], text)
    _tokens(axes[1, 1], text)
    _valley(axes[1, 2], [record for record in records if record["part"] == "valley"])
    for each in axes.flat:
        each.grid(alpha=0.25)
        each.spines[["right", "top"]].set_visible(False)
    return page


def _mean(rows: Sequence[Record], key: str) -> tuple[float, float]:
    """Mean over seeds and its standard error, 0 with one seed."""
    values = np.asarray([row[key] for row in rows])
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _only(records: Sequence[Record], **wanted: object) -> list[Record]:
    return [record for record in records if all(record.get(key) == value for key, value in wanted.items())]


def _values(records: Sequence[Record], key: str) -> list:
    return sorted({record[key] for record in records})


def _curves(axes: Axes, records: Sequence[Record]) -> None:
    """Validation curves of the first seed, and the checkpoints of all three methods at what they were charged."""
    seed = min(record["seed"] for record in records)
    first = _only(records, seed=seed)
    for method in ("stable", "cyclic", "wsd-s"):
        (curve,) = _only(first, kind="curve", method=method)
        axes.plot(curve["steps"], curve["losses"], color=COLOURS[method], lw=1.4, label=WORDS[method])
    for method, marker in (("wsd-s", "o"), ("wsd", "s"), ("cyclic", "^")):
        rows = _only(first, kind="final", method=method)
        look = {"color": COLOURS[method], "ms": 9 if method == "wsd" else 5, "mfc": "none" if method == "wsd" else None}
        axes.plot([r["spent"] for r in rows], [r["loss"] for r in rows], marker, **look)
    axes.plot([], [], "s", color=COLOURS["wsd"], ms=9, mfc="none", label="WSD (at all it computed)")
    losses = [loss for curve in _only(first, kind="curve", method="cyclic") for loss in curve["losses"]]
    low = min(losses + [row["loss"] for row in _only(first, kind="final")])
    axes.set_ylim(low - 0.03, np.quantile(losses, 0.93) + 0.1)
    axes.set(xlabel="updates", ylabel="validation loss (nats/token)", title=f"Three methods, seed {seed}")
    axes.legend(fontsize=8, frameon=False)


def _gaps(axes: Axes, records: Sequence[Record]) -> None:
    """Loss of each rival above WSD-S at every budget: seeds as dots, mean with two standard errors."""
    finals = _only(records, kind="final")
    budgets, seeds = _values(finals, "budget"), _values(finals, "seed")
    for side, rival in ((-0.12, "wsd"), (0.12, "cyclic")):
        for place, budget in enumerate(budgets):
            gaps = []
            for seed in seeds:
                (theirs,) = _only(finals, seed=seed, budget=budget, method=rival)
                (ours,) = _only(finals, seed=seed, budget=budget, method="wsd-s")
                gaps.append({"gap": theirs["loss"] - ours["loss"]})
            mean, error = _mean(gaps, "gap")
            axes.plot([place + side] * len(gaps), [g["gap"] for g in gaps], ".", color=COLOURS[rival], alpha=0.5)
            label = f"{WORDS[rival]} minus WSD-S" if place == 0 else None
            axes.errorbar(place + side, mean, 2 * error, fmt="_", ms=14, capsize=3, color=COLOURS[rival], label=label)
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xticks(range(len(budgets)), [str(budget) for budget in budgets])
    axes.set(xlabel="budget (updates computed)", ylabel="gap (nats/token)", title="Above 0: WSD-S is better")
    axes.legend(fontsize=8, frameon=False)


def _river(axes: Axes, records: Sequence[Record]) -> None:
    """Stable loss, river and averaging probe along the stable branch, mean over seeds."""
    probes = _only(records, kind="probe")
    steps = _values(probes, "step")
    for key, word, colour, style in (
        ("loss", "stable loss L(w)", HILL, "o-"),
        ("averaged", "mean of last iterates", "#56B4E9", "x--"),
        ("river", "river: L after a decay", RIVER, "o-"),
    ):
        points = [_mean(_only(probes, step=step), key) for step in steps]
        axes.errorbar(steps, [p[0] for p in points], [p[1] for p in points], fmt=style, color=colour, label=word, ms=4)
    low = [_mean(_only(probes, step=step), "river")[0] for step in steps]
    high = [_mean(_only(probes, step=step), "loss")[0] for step in steps]
    axes.fill_between(steps, low, high, color=HILL, alpha=0.15, lw=0, label="hill")
    axes.set(xlabel="updates on the stable branch", ylabel="loss (nats/token)", title="Hill and river")
    axes.legend(fontsize=8, frameon=False)


def _segments(axes: Axes, records: Sequence[Record]) -> None:
    """Loss along the three segments, mean over seeds, relative to the last point of each."""
    segments = _only(records, kind="segment")
    for ends, colour in zip(
        ("stable-stable", "stable-decayed", "decayed-decayed"), (HILL, "#009E73", RIVER), strict=True
    ):
        rows = _only(segments, ends=ends)
        path = np.mean([row["losses"] for row in rows], axis=0)
        axes.plot(rows[0]["fractions"], path, "o-", ms=3, color=colour, label=ends.replace("-", " to "))
    axes.set(xlabel="fraction of the way", ylabel="loss (nats/token)", title="Between two sets of weights")
    axes.legend(fontsize=8, frameon=False)


def _tokens(axes: Axes, records: Sequence[Record]) -> None:
    """Change of loss in the last decay by conditional entropy."""
    rows = _only(records, kind="tokens")
    for place in _values(rows, "bin"):
        here = _only(rows, bin=place)
        mean, error = _mean(here, "change")
        axes.bar(place, mean, yerr=2 * error, color=RIVER, alpha=0.35 + 0.13 * place, capsize=3)
    labels = [f"{_mean(_only(rows, bin=place), 'entropy')[0]:.2f}" for place in _values(rows, "bin")]
    axes.set_xticks(range(len(labels)), labels)
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel="conditional entropy of the bin (nats)", ylabel="change of loss (nats/token)")
    axes.set_title("What the last decay changes")


def _valley(axes: Axes, records: Sequence[Record]) -> None:
    """Exact hill and river parts of the toy valley after one budget."""
    rows = _only(records, kind="parts")
    names = list(dict.fromkeys(row["method"] for row in rows))
    river = [_mean(_only(rows, method=name), "river")[0] for name in names]
    hill = [_mean(_only(rows, method=name), "hill")[0] for name in names]
    axes.bar(range(len(names)), river, color=RIVER, label="river")
    axes.bar(range(len(names)), hill, bottom=river, color=HILL, label="hill")
    axes.set_xticks(range(len(names)), [name.replace(" at ", "\nat ") for name in names])
    axes.set(ylabel="loss", title="Toy valley, exact parts")
    axes.legend(fontsize=8, frameon=False)
