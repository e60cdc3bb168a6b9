"""The picture of the study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

# Okabe and Ito (2008): apart for all common kinds of colour blindness
COLOURS = {"uniform": "#0072B2", "ascend": "#D55E00", "fold:3": "#009E73", "descend": "#CC79A7"}
SCHEDULES = {"wsd 1": "constant", "wsd 0.333": "to 1/3", "wsd 0.1": "to .1", "wsd 0.003": "to .003", "cosine": "cosine"}


def draw(records: Sequence[Record]) -> Figure:
    """Means and standard errors over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.2), layout="constrained")
    axes = figure.subplots(1, 4)
    text = [record for record in records if record["part"] == "text"]
    _losses(axes[0], text)
    _gaps(axes[1], text)
    _spans(axes[2], text)
    _toy(axes[3], [record for record in records if record["part"] == "toy"])
    seeds = len({record["seed"] for record in records})
    figure.supxlabel(
        f"Mean and standard error over {seeds} seeds; filled: last weights, open: mean of the last checkpoints. "
        "Text: a byte-level transformer, losses on clean held-out text. Toy: exact.",
        fontsize=8,
    )
    return figure


def _over_seeds(records: Sequence[Record], value: Callable[[dict[tuple[str, str, str], Record]], float]) -> np.ndarray:
    seeds = sorted({record["seed"] for record in records})
    tables = [{(r["order"], r["schedule"], r["average"]): r for r in records if r["seed"] == seed} for seed in seeds]
    return np.array([value(table) for table in tables])


def _errors(values: np.ndarray) -> np.ndarray:
    """Standard errors of (points, seeds)."""
    return values.std(axis=1, ddof=1) / np.sqrt(values.shape[1]) if values.shape[1] > 1 else np.zeros(len(values))


def _there(records: Sequence[Record], order: str) -> list[str]:
    return [name for name in SCHEDULES if any(r["order"] == order and r["schedule"] == name for r in records)]


def _losses(axes: Axes, records: Sequence[Record]) -> None:
    for order, colour in COLOURS.items():
        names = _there(records, order)
        if not names:
            continue
        places = [list(SCHEDULES).index(name) for name in names]
        for average, fill, style in (("none", colour, "-"), ("sma", "white", "--")):
            values = np.array(
                [_over_seeds(records, lambda t, o=order, n=name, a=average: t[o, n, a]["test"]) for name in names]
            )
            axes.errorbar(
                places,
                values.mean(axis=1),
                _errors(values),
                fmt=f"o{style}",
                color=colour,
                markerfacecolor=fill,
                ms=5,
                lw=1.2,
                capsize=2,
                label=order if average == "none" else None,
            )
    axes.set_xticks(range(len(SCHEDULES)), list(SCHEDULES.values()), rotation=20)
    axes.set(xlabel="where the learning rate ends", ylabel="test loss (nats a byte)", title="Loss by order and decay")
    axes.legend(fontsize=8, frameon=False, title="order", title_fontsize=8)


def _gaps(axes: Axes, records: Sequence[Record]) -> None:
    names = [name for name in _there(records, "uniform") if name in _there(records, "ascend")]
    values = np.array(
        [
            _over_seeds(records, lambda t, n=name: t["uniform", n, "none"]["test"] - t["ascend", n, "none"]["test"])
            for name in names
        ]
    )
    axes.bar(range(len(names)), values.mean(axis=1), yerr=_errors(values), color="0.6", capsize=3)
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xticks(range(len(names)), [SCHEDULES[name] for name in names], rotation=20)
    axes.set(xlabel="where the learning rate ends", ylabel="uniform - ascend (nats a byte)")
    axes.set_title("The gain of the curriculum")


def _spans(axes: Axes, records: Sequence[Record]) -> None:
    """The mean's loss minus that of the last weights, over the span of the checkpoints."""
    chosen = [r for r in records if r["average"] == "sma at span" and r["schedule"] in ("wsd 1", "wsd 0.003")]
    seeds = sorted({r["seed"] for r in records})
    for order in ("uniform", "ascend"):
        for schedule, style in (("wsd 1", "o-"), ("wsd 0.003", "s:")):
            spans = sorted({r["span"] for r in chosen if r["order"] == order and r["schedule"] == schedule})
            last = _over_seeds(records, lambda t, o=order, s=schedule: t[o, s, "none"]["test"])
            rows = [
                [
                    next(
                        r["test"]
                        for r in chosen
                        if (r["order"], r["schedule"], r["span"], r["seed"]) == (order, schedule, span, seed)
                    )
                    for seed in seeds
                ]
                for span in spans
            ]
            values = np.array(rows) - last
            label = f"{order}, {SCHEDULES[schedule]}"
            axes.errorbar(
                [100 * span for span in spans],
                values.mean(axis=1),
                _errors(values),
                fmt=style,
                color=COLOURS[order],
                ms=4,
                capsize=2,
                label=label,
            )
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    axes.minorticks_off()
    axes.set(xlabel="span of the average (% of the run)", ylabel="average - last weights (nats a byte)")
    axes.set_title("What an average changes")
    axes.legend(fontsize=7.5, frameon=False)


def _toy(axes: Axes, records: Sequence[Record]) -> None:
    table = {(r["order"], r["schedule"]): r for r in records}
    names = [name for name in ("wsd 1", "wsd 0.333", "wsd 0.1", "wsd 0.00333", "cosine") if ("ascend", name) in table]
    for order in ("uniform", "ascend"):
        for average, fill, style in (("none", COLOURS[order], "-"), ("sma", "white", "--")):
            values = [1e3 * table[order, name][average] for name in names]
            axes.plot(
                range(len(names)),
                values,
                f"o{style}",
                color=COLOURS[order],
                markerfacecolor=fill,
                ms=5,
                lw=1.2,
                label=order if average == "none" else None,
            )
    words = {"wsd 0.00333": "to 1/300"} | SCHEDULES
    axes.set_xticks(range(len(names)), [words[name] for name in names], rotation=20)
    axes.set(
        xlabel="where the learning rate ends", ylabel="risk (units of .001)", title="Toy: a slow signal, fast noise"
    )
    axes.set_ylim(0)
    axes.legend(fontsize=8, frameon=False)
