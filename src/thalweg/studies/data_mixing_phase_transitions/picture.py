"""Draws the study: recall by ratio in both parts, the memory's thresholds, and what was tried below the rise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record
from thalweg.studies.data_mixing_phase_transitions.study import halves

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
    _memory(axes[0, 0], seeds)
    _thresholds(axes[0, 1], seeds)
    _sweep(axes[1, 0], seeds)
    _remedies(axes[1, 1], seeds)
    figure.supxlabel(
        f"Mean and standard error over {len(seeds)} seeds. Above: the linear memory. Below: the small transformer, "
        "biographies in real text;\ntokens are the same at every ratio, recall is exact match over all people.",
        fontsize=9,
    )
    return figure


def _bars(axes: Axes, x: Sequence[float], rows: np.ndarray, label: str, colour: str, fmt: str = "o-") -> None:
    """Mean and standard error over seeds, ``rows`` (seeds, points)."""
    axes.errorbar(x, rows.mean(0), _error(rows), fmt=fmt, label=label, color=colour, capsize=2)


def _error(rows: np.ndarray) -> np.ndarray:
    return rows.std(0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.zeros(rows.shape[1])


def _memory(axes: Axes, seeds: list[list[Record]]) -> None:
    first = [r for r in seeds[0] if r["part"] == "memory" and r["keep"] == 1]
    for place, width in enumerate(dict.fromkeys(r["width"] for r in first)):
        odds = [r["odds"] for r in first if r["width"] == width]
        rows = [
            [100 * r["recall"] for r in own if r["part"] == "memory" and (r["width"], r["keep"]) == (width, 1)]
            for own in seeds
        ]
        _bars(axes, odds, np.array(rows), f"d = {width}", f"C{place}")
    axes.axhline(50, color="black", lw=0.8, ls=":")
    axes.set_xscale("log", base=2)
    axes.set(title="Memory: recall by ratio", xlabel="odds of the dense facts, r / (1 - r)", ylabel="recall, %")
    axes.legend(fontsize=8)


def _thresholds(axes: Axes, seeds: list[list[Record]]) -> None:
    from thalweg.studies.data_mixing_phase_transitions.memory import implied_capacity

    about = seeds[0][0]
    found = [{width: half for (width, keep), half in halves(own).items() if keep == 1} for own in seeds]
    widths = np.array(list(found[0]))
    rows = np.array([list(each.values()) for each in found])
    mean = np.exp(rows.mean(0))
    axes.errorbar(widths**2, mean, mean * _error(rows), fmt="o", color="C0", label="measured", capsize=2)
    held = {key: about[key] for key in ("dense", "zipf", "text")}
    each = np.mean([implied_capacity(odds, **held) for odds in mean] / widths**2)
    grid = np.geomspace(1e-3, 1e2, 400)
    capacity = np.array([implied_capacity(odds, **held) for odds in grid]) / each
    inside = (capacity > 0.9 * widths[0] ** 2) & (capacity < 1.1 * widths[-1] ** 2)
    axes.plot(capacity[inside], grid[inside], color="C1", label=f"bounded capacity, {each:.3f} facts a weight")
    line = mean[-1] * (widths / widths[-1]) ** (-2 * about["zipf"])
    axes.plot(widths**2, line, color="C7", ls="--", label=f"asymptotic slope -{about['zipf']:g}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(widths**2, [str(w) for w in widths**2], minor=False)
    axes.minorticks_off()
    axes.set(title="Memory: threshold by size", xlabel="weights, d²", ylabel="odds at half recall")
    axes.legend(fontsize=8)


def _sweep(axes: Axes, seeds: list[list[Record]]) -> None:
    for place, own in enumerate(seeds):
        rows = [r for r in own if r.get("arm") == "sweep"]
        points = [r["ratio"] for r in rows], [100 * r["accuracy"] for r in rows]
        axes.plot(*points, color="C7", lw=0.8, label="seeds" if place == 0 else None)
    ratios = [r["ratio"] for r in seeds[0] if r.get("arm") == "sweep"]
    recall = [[100 * r["accuracy"] for r in own if r.get("arm") == "sweep"] for own in seeds]
    _bars(axes, ratios, np.array(recall), "mean", "C0")
    top = np.array(recall).mean(0)[-1]
    axes.plot(ratios, [top * ratio / ratios[-1] for ratio in ratios], color="C1", ls="--", label="in proportion")
    axes.set_xscale("log")
    axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios], minor=False)
    axes.minorticks_off()
    axes.set(title="Transformer: recall by ratio", xlabel="mixing ratio r, share of tokens", ylabel="recall, %")
    axes.legend(fontsize=8)


def _remedies(axes: Axes, seeds: list[list[Record]]) -> None:
    below = next(r["ratio"] for r in seeds[0] if r.get("arm") == "keep")
    rows = [[r for r in own if r.get("arm") in ("keep", "compact", "longer")] for own in seeds]
    plain = [next(r for r in own if r.get("arm") == "sweep" and r["ratio"] == below) for own in seeds]
    words = ["as it is"]
    for r in rows[0]:
        words.append(
            {
                "keep": f"{r['keep']:.0%} of people",
                "compact": f"tuples, τ = {r['compact']:g}",
                "longer": f"{r['times']} x steps",
            }[r["arm"]]
        )
    recall = np.array(
        [[100 * p["accuracy"], *(100 * r["accuracy"] for r in own)] for p, own in zip(plain, rows, strict=True)]
    )
    axes.bar(words, recall.mean(0), yerr=_error(recall), color=["C7", *(f"C{k}" for k in range(len(rows[0])))])
    axes.set(title=f"Transformer: tried at r = {below:g}", xlabel="what is changed", ylabel="recall over all people, %")
    axes.tick_params(axis="x", labelsize=8)
