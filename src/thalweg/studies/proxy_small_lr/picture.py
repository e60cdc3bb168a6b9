"""The picture of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.stats import spearman
from thalweg.studies.base import Record
from thalweg.studies.proxy_small_lr.study import correlations, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]


def draw(records: Sequence[Record]) -> Figure:
    """Means and standard errors over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.4), layout="constrained")
    axes = figure.subplots(2, 2)
    seeds = sorted({record["seed"] for record in records})
    features = [r for r in records if r["part"] == "features"]
    rates = np.array(features[0]["rates"])
    rho = np.array([correlations(record) for record in features])
    for row in rho:
        axes[0, 0].plot(rates, row, color="0.8", lw=0.8, zorder=0)
    by_seed = np.array([rho[[r["seed"] == seed for r in features]].mean(axis=0) for seed in seeds])
    _line(axes[0, 0], rates, by_seed, "mean over sets")
    axes[0, 0].set(title="Random features: agreement with the tuned target", ylabel="Spearman", ylim=(-1.05, 1.05))
    _feature_losses(axes[0, 1], features, rates)
    tables = [text_table([r for r in records if r["seed"] == seed]) for seed in seeds]
    rates = np.array(tables[0][0].rates)
    found = [[spearman(column, best) for column in table.means.T] for table, best in tables]
    _line(axes[1, 0], rates, np.array(found), "eight text recipes")
    axes[1, 0].set(title="Byte-level transformer: agreement with the tuned target", ylabel="Spearman")
    axes[1, 0].set_ylim(-1.05, 1.05)
    _text_losses(axes[1, 1], tables, rates)
    for each in axes.flat:
        each.set_xscale("log")
        each.set_xlabel("learning rate of the proxy")
        each.legend(fontsize=7)
    figure.supxlabel(
        "Mean and standard error over seeds. Grey: one set of 16 recipes each. Dotted: target, tuned for each recipe.",
        fontsize=9,
    )
    return figure


def _line(axes: Axes, x: np.ndarray, rows: np.ndarray, label: str, colour: object = "C0") -> None:
    error = rows.std(axis=0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.zeros(rows.shape[1])
    axes.errorbar(x, rows.mean(axis=0), error, color=colour, marker="o", ms=4, capsize=2, label=label)  # pyrefly: ignore


def _feature_losses(axes: Axes, features: Sequence[Record], rates: np.ndarray) -> None:
    from matplotlib import colormaps

    levels = sorted({level for record in features for level in record["noise"]})
    shades = colormaps["viridis"](np.linspace(0, 0.85, len(levels)))
    for level, shade in zip(levels, shades, strict=True):
        rows = []
        for seed in sorted({r["seed"] for r in features}):
            own = [r for r in features if r["seed"] == seed]
            chosen = [np.array(r["proxies"])[np.array(r["noise"]) == level].mean(axis=(0, 2)) for r in own]
            rows.append(np.mean(chosen, axis=0))
        _line(axes, rates, np.array(rows), f"label noise {level:g}", shade)
    axes.set(title="Random features: proxy loss by noise of the recipe", ylabel="held-out loss", yscale="log")


def _text_losses(axes: Axes, tables: Sequence[tuple], rates: np.ndarray) -> None:
    from matplotlib import colormaps

    names = tables[0][0].recipes
    for k, shade in enumerate(colormaps["viridis"](np.linspace(0, 0.9, len(names)))):
        _line(axes, rates, np.array([table.means[k] for table, _ in tables]), names[k], shade)
        axes.axhline(np.mean([best[k] for _, best in tables]), color=shade, ls=":", lw=1)
    axes.set(title="Byte-level transformer: proxy and target losses", ylabel="held-out plays, nats a byte")
