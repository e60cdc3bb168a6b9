"""The figure of the study: six panels, drawn from the records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.studies.base import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

# Okabe and Ito (2008): apart for all common kinds of colour blindness
COLOURS = {"adamw": "#0072B2", "sgd": "#D55E00"}
MARKERS = {"adamw": "o", "sgd": "s"}
WORDS = {"adamw": "AdamW", "sgd": "SGD, momentum 0.9"}
KINDS = {
    "noise": ("gradient noise", "#D55E00", "s-"),
    "gradient": ("gradient", "#CC79A7", "^-"),
    "step": ("single steps", "#E69F00", "o-"),
    "decay": ("decay", "#009E73", "D-"),
    "stretch": ("stable stretch, net", "#0072B2", "v-"),
    "chance": ("chance", "#000000", ":"),
}
MOVES = {
    "step": "single\nsteps",
    "decay": "decay",
    "continued": "stable, as\nlong as\nthe decay",
    "stretch": "stable\nstretch,\nnet",
    "random": "random\n(trace / n)",
}


def draw(records: Sequence[Record]) -> Figure:
    """Curvature by direction, shares of the top eigenvectors, what the decay gains, traces, and two loss planes."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(13, 7.8), layout="constrained")
    axes = page.subplots(2, 3)
    arms = list(dict.fromkeys(record["arm"] for record in records))
    _curvatures(axes[0, 0], records, arms)
    _shares(axes[0, 1], [record for record in records if record["arm"] == arms[0]])
    _gains(axes[0, 2], records, arms)
    _traces(axes[1, 0], records, arms)
    for each in axes.flat[:4]:
        each.grid(alpha=0.25)
        each.spines[["right", "top"]].set_visible(False)
    for place, arm in zip(axes.flat[4:], arms, strict=False):
        _plane(page, place, records, arm)
    for each in axes.flat:
        each.title.set_fontsize(10)
    count = len({record["seed"] for record in records})
    seeds = "one seed" if count == 1 else f"{count} seeds"
    page.supxlabel(
        f"Means over {seeds} with two standard errors; small dots are seeds. Hessian at the end of the decay, but for "
        "the traces. Planes: distances in the unit of the weights, axes to different scales.",
        fontsize=8,
        x=0.01,
        ha="left",
        color="#444444",
    )
    return page


def _only(records: Sequence[Record], **wanted: object) -> list[Record]:
    return [record for record in records if all(record.get(key) == value for key, value in wanted.items())]


def _mean(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds, the first axis, and two standard errors, 0 with one seed."""
    rows = np.asarray(values, dtype=float)
    error = 2 * rows.std(axis=0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.zeros(rows.shape[1:])
    return rows.mean(axis=0), error


def _curvatures(axes: Axes, records: Sequence[Record], arms: Sequence[str]) -> None:
    """D'Hd / d'd along the moves, and the trace over n, which a random direction would have."""
    for side, arm in zip((-0.12, 0.12), arms, strict=False):
        for place, name in enumerate(MOVES):
            if name == "random":
                last = max(record["step"] for record in _only(records, kind="trace", branch="decay"))
                chance = {r["seed"]: r["shares"][0] for r in _only(records, kind="share", name="chance", arm=arm)}
                rows = _only(records, kind="trace", branch="decay", step=last, arm=arm)
                values = [row["trace"] * chance[row["seed"]] for row in rows]  # the first count is 1: 1 / n
            else:
                values = [row["curvature"] for row in _only(records, kind="direction", name=name, arm=arm)]
            mean, error = _mean(values)
            look = {"color": COLOURS[arm], "capsize": 3, "ms": 7}
            axes.plot([place + side] * len(values), values, ".", color=COLOURS[arm], alpha=0.5, ms=4)
            label = WORDS[arm] if place == 0 else None
            axes.errorbar(place + side, mean, error, fmt=MARKERS[arm], mfc="none", label=label, **look)
    axes.set_yscale("log")
    axes.set_xticks(range(len(MOVES)), list(MOVES.values()), fontsize=8)
    axes.set(ylabel="curvature d'Hd / d'd (nats / unit of weights²)", title="Curvature along moves")
    axes.legend(fontsize=8, frameon=False)


def _shares(axes: Axes, records: Sequence[Record]) -> None:
    """Share of squared length in the top k eigenvectors against k, of the first arm."""
    for name, (word, colour, style) in KINDS.items():
        rows = [record for record in _only(records, name=name) if "shares" in record]
        mean, error = _mean([row["shares"] for row in rows])
        axes.errorbar(rows[0]["counts"], mean, error, fmt=style, color=colour, label=word, ms=4, capsize=2, lw=1.2)
    axes.set(xscale="log", yscale="log", xlabel="top eigenvectors of the Hessian, k")
    axes.set(ylabel="share of squared length", title=f"Share in the steepest directions, {WORDS[rows[0]['arm']]}")
    counts = rows[0]["counts"]
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 20)
    axes.legend(fontsize=7.5, frameon=False, ncols=2, loc="upper left")


def _gains(axes: Axes, records: Sequence[Record], arms: Sequence[str]) -> None:
    """Fall of the loss by the decay, and by its two parts alone."""
    names = {"whole": "whole decay", "hill": "its part in the\ntop eigenvectors", "rest": "the rest of it"}
    for side, arm in zip((-0.2, 0.2), arms, strict=False):
        rows = _only(records, kind="gain", arm=arm)
        mean, error = _mean([[row[name] for name in names] for row in rows])
        places = np.arange(len(names)) + side
        hatch = "" if arm == arms[0] else "//"
        axes.bar(
            places, mean, 0.36, yerr=error, color=COLOURS[arm], alpha=0.7, capsize=3, hatch=hatch, label=WORDS[arm]
        )
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xticks(range(len(names)), list(names.values()), fontsize=8)
    axes.margins(y=0.25)
    axes.set(ylabel="fall of the loss (nats/token)", title="What the decay gains")
    axes.legend(fontsize=8, frameon=False)


def _traces(axes: Axes, records: Sequence[Record], arms: Sequence[str]) -> None:
    """Trace of the Hessian over that at the start of the decay, along both branches."""
    for arm in arms:
        rows = _only(records, kind="trace", arm=arm)
        seeds = sorted({row["seed"] for row in rows})
        start = sorted({row["step"] for row in rows})[1]
        first = {row["seed"]: row["trace"] for row in _only(rows, branch="stable", step=start)}
        for branch, style in (("stable", "-"), ("decay", "--")):
            steps = sorted({row["step"] for row in _only(rows, branch=branch)} | {start})
            values = [[_at(rows, branch, step, start, seed) / first[seed] for step in steps] for seed in seeds]
            mean, error = _mean(values)
            look = {"color": COLOURS[arm], "marker": MARKERS[arm], "ms": 4, "capsize": 2, "ls": style}
            axes.errorbar(steps, mean, error, label=f"{WORDS[arm]}, {branch}", **look)
    axes.set(xlabel="finished updates", ylabel="trace of the Hessian / that before the decay")
    axes.set_title("Sharpness along stable phase and decay")
    axes.legend(fontsize=8, frameon=False)


def _at(rows: Sequence[Record], branch: str, step: int, start: int, seed: int) -> float:
    """The trace at a step; both branches share the start."""
    (found,) = _only(rows, branch="stable" if step == start else branch, step=step, seed=seed)
    return found["trace"]


def _plane(page: Figure, axes: Axes, records: Sequence[Record], arm: str) -> None:
    """The loss on the plane of the first seed."""
    rows = _only(records, kind="plane", arm=arm)
    if not rows:
        axes.set_visible(False)
        return
    row = min(rows, key=lambda record: record["seed"])
    rise = np.array(row["rise"])
    stable, decay = (np.array(row[name]["places"]) for name in ("stable", "decay"))
    filled = axes.contourf(row["x"], row["y"], rise, levels=rise.max() * np.linspace(0, 1, 13) ** 2, cmap="viridis_r")
    page.colorbar(filled, ax=axes, format="%.2g", shrink=0.85).set_label("loss above the lowest point\n(nats/token)")
    for places, colour, marker, word in (
        (stable, "#000000", "o", "stable phase goes on"),
        (decay, "#D55E00", "D", "decay"),
    ):
        axes.plot(*places.T, color=colour, marker=marker, ms=4, mec="white", mew=0.6, lw=1.3, label=word)
    far = max(max(row[name]["distances"]) for name in ("stable", "decay"))
    axes.set(xlabel="along the stable move", ylabel="towards the decay's end")
    axes.set_title(f"Loss plane, {WORDS[arm]}, seed {row['seed']}\n(points up to {far:.2g} off it)")
    axes.legend(fontsize=7.5, loc="upper right", framealpha=0.85)
