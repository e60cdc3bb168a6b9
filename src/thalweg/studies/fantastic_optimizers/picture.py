"""The study's figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure"]

ARMS = {
    "untuned": ("#CC79A7", "AdamW, lr 1e-3"),
    "tuned": ("0.3", "AdamW, tuned"),
    "muon": ("#0072B2", "Muon, tuned"),
}
SIZES = {"130m": "130M", "300m": "300M", "520m": "520M", "1.2b": "1.2B"}
SHOWN = {"muon": ("#0072B2", "Muon"), "soape": ("#D55E00", "SOAP"), "nadamw": ("#009E73", "NAdamW")}


def figure(records: Sequence[Record]) -> Figure:
    """Left: final losses; middle: speed-ups over both baselines; right: published speed-ups by size, where at hand."""
    from matplotlib.figure import Figure

    published = [record for record in records if record["kind"] == "published"]
    drawing = Figure(figsize=(12 if published else 8.4, 3.8), layout="constrained")
    axes = drawing.subplots(1, 3 if published else 2)
    _losses(axes[0], [record for record in records if record["kind"] == "run"])
    _speedups(axes[1], [record for record in records if record["kind"] == "speedup"])
    if published:
        _published(axes[2], published)
    return drawing


def _losses(axes: Axes, runs: Sequence[Record]) -> None:
    for arm, (colour, label) in ARMS.items():
        steps = sorted({run["steps"] for run in runs if run["arm"] == arm})
        values = [[run["loss"] for run in runs if run["arm"] == arm and run["steps"] == at] for at in steps]
        for k, (at, losses) in enumerate(zip(steps, values, strict=True)):
            axes.plot([at] * len(losses), losses, "o", ms=3, color=colour, alpha=0.6, label=None if k else label)
        axes.plot(steps, [float(np.mean(losses)) for losses in values], "-", lw=1, color=colour)
    axes.set_xscale("log")
    axes.set_xlabel("updates")
    axes.set_ylabel("final held-out loss (nats)")
    axes.set_title("live: a run a dot, line the mean of seeds", fontsize=9)
    axes.legend(frameon=False, fontsize=8)


def _speedups(axes: Axes, found: Sequence[Record]) -> None:
    budgets = found[0]["budgets"]
    for shift, arm in ((-0.08, "untuned"), (0.08, "tuned")):
        colour, label = ARMS[arm]
        values = np.log([record[arm] for record in found])
        error = values.std(0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.zeros(len(budgets))
        mean, at = np.exp(values.mean(0)), np.arange(len(budgets)) + shift
        bars = [mean - mean * np.exp(-error), mean * np.exp(error) - mean]
        axes.errorbar(at, mean, yerr=bars, fmt="o-", ms=4, lw=1, capsize=3, color=colour, label=f"over {label}")
    axes.axhline(1, color="0.5", lw=0.8)
    axes.set_yscale("log", base=2)
    ticks = [1, 2, 4, 8, 16, 32]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks(range(len(budgets)), [str(budget) for budget in budgets])
    axes.set_xlabel("updates of Muon")
    axes.set_ylabel("times fewer updates")
    axes.set_title("live: Muon's speed-up, ± 1 standard error", fontsize=9)
    axes.legend(frameon=False, fontsize=8)


def _published(axes: Axes, records: Sequence[Record]) -> None:
    for number, (name, (colour, label)) in enumerate(SHOWN.items()):
        for place, size in enumerate(SIZES):
            listed = [record["speedups"].get(name, []) for record in records if record["size"] == size]
            rows = np.array([row for rows in listed for row in rows if row[0] <= 8])
            if not len(rows):
                continue
            at = place + 0.24 * (number - 1) + 0.05 * (np.log2(rows[:, 0]) - 1.5)
            bars = np.abs(rows[:, 2:].T - rows[:, 1])
            first = label if place == 0 else None
            axes.errorbar(at, rows[:, 1], yerr=bars, fmt="o", ms=3, lw=0.7, color=colour, label=first)
    axes.axhline(1, color="0.5", lw=0.8)
    axes.set_xticks(range(len(SIZES)), list(SIZES.values()))
    axes.set_xlabel("model; dots: 20, 40, 80, 160 tokens a parameter")
    axes.set_ylabel("times fewer tokens")
    axes.set_title("published: over tuned AdamW, 90 % intervals", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
