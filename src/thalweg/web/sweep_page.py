"""The page of a sweep: best losses, speed-ups with intervals, values, what is sensitive and how it scales."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from thalweg.files import write_atomic
from thalweg.web.page import Column, Table, render
from thalweg.web.words import duration, significant, whole

__all__ = ["write_sweep_page"]

NONE = "\N{EN DASH}"


def write_sweep_page(result: Mapping[str, Any], path: str | Path) -> Path:
    """Writes the report of ``launch.sweep_report.sweep_report`` as one self-contained HTML file.

    Args:
        result: the report.
        path: the file to write.

    Returns:
        The path written.
    """
    best = [cell for cell in result["cells"] if cell["speedup"] and cell["optimizer"] != result["baseline"]]
    content = {
        "title": _headline(result, best),
        "facts": [
            ("Baseline", result["baseline"]),
            ("Runs", whole(result["runs"])),
            ("Training time, all runs", duration(result["seconds"])),
            ("Cells", whole(len(result["cells"]))),
        ],
        "figure": _figure(result),
        "cells": _cells(result),
        "values": _values(result),
        "sensitive": _sensitive(result),
        "scaling": _scaling(result),
        "notes": result["notes"],
    }
    return write_atomic(path, render("sweep.html", **content))


def _headline(result: Mapping[str, Any], best: list[dict[str, Any]]) -> str:
    base = result["baseline"]
    if not best:
        alike = "searched on equal terms" if any(cell["at_end"] for cell in result["cells"]) else "tuned alike"
        return f"Optimizers {alike}, against {base}"
    largest = max((cell["params"], cell["tokens"]) for cell in best)
    top = max(
        (cell for cell in best if (cell["params"], cell["tokens"]) == largest), key=lambda c: c["speedup"]["value"]
    )
    speed, where = top["speedup"], f"{whole(top['params'])} parameters, {whole(top['tokens'])} tokens"
    curve = [cell for cell in result["cells"] if (cell["optimizer"], cell["params"]) == (base, top["params"])]
    ends = {
        label: list(dict.fromkeys(name for cell in cells for name in cell["at_end"]))
        for label, cells in ((base, curve), (top["optimizer"], [top]))
    }
    beside = "; ".join(f"{label} at the end of its grid: {', '.join(names)}" for label, names in ends.items() if names)
    return (
        f"{top['optimizer']} needs {speed['value']:.2f} times fewer tokens than {'' if beside else 'a tuned '}{base} "
        f"({speed['low']:.2f} to {speed['high']:.2f}) at {where}{beside and f' ({beside})'}"
    )


def _cells(result: Mapping[str, Any]) -> Table:
    rows = []
    for cell in result["cells"]:
        speed = cell["speedup"]
        shown, interval, note = NONE, NONE, ""
        if speed:
            shown, interval = f"{speed['value']:.2f}", f"{speed['low']:.2f} to {speed['high']:.2f}"
            if not speed["reached"]:
                note = "the baseline's curve never gets there"
            elif speed["beyond"]:
                note = "beyond the baseline's longest run"
        if cell["at_end"]:
            note = f"{note}{note and '; '}at the end of the grid: {', '.join(cell['at_end'])}"
        confirmed = cell["confirmed"]
        again = f"{sum(confirmed) / len(confirmed):.4f} ({len(confirmed)})" if confirmed else NONE
        rows.append(
            [
                cell["optimizer"],
                whole(cell["params"]),
                whole(cell["tokens"]),
                f"{cell['loss']:.4f}",
                again,
                shown,
                interval,
                f"{cell['runs']} ({cell['diverged']})",
                {"text": cell["tune"], "note": note},
            ]
        )
    columns = [Column("Optimizer"), Column("Parameters", True), Column("Tokens", True), Column("Loss", True)]
    columns += [Column("Other seeds", True), Column("Speed-up", True), Column("90 % interval", True)]
    return Table("The best of each cell", [*columns, Column("Runs (diverged)", True), Column("Tuned")], rows)


def _values(result: Mapping[str, Any]) -> Table:
    rows = [
        [
            cell["optimizer"],
            whole(cell["params"]),
            whole(cell["tokens"]),
            ", ".join(f"{name} {_value(value)}" for name, value in cell["values"].items()),
        ]
        for cell in result["cells"]
    ]
    columns = [Column("Optimizer"), Column("Parameters", True), Column("Tokens", True), Column("Values")]
    return Table("The hyperparameters of the best", columns, rows)


def _sensitive(result: Mapping[str, Any]) -> Table:
    rows = []
    for label, found in result["sensitivity"].items():
        kept = "; ".join(f"{key}: {' | '.join(map(_value, values))}" for key, values in found["sensitive"].items())
        rows.append([label, kept or "nothing", ", ".join(found["fixed"])])
    columns = [Column("Optimizer"), Column("Must be tuned again"), Column("One value serves all")]
    return Table("Which hyperparameters depend on size and budget", columns, rows)


def _scaling(result: Mapping[str, Any]) -> Table:
    rows = [
        [label, name, significant(rule["size_power"], 3), significant(rule["ratio_power"], 3), f"{rule['gain']:.0%}"]
        for label, rules in result["scaling"].items()
        for name, rule in rules.items()
    ]
    columns = [Column("Optimizer"), Column("Hyperparameter"), Column("Per e-fold of size", True)]
    columns += [Column("Per e-fold of data a parameter", True), Column("Variance explained", True)]
    return Table("How the best values move, fitted as A + B ln N + C ln c", columns, rows)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _compared(cell: Mapping[str, Any]) -> float:
    """The mean loss of the further seeds, of the tuning seed where there are none."""
    return sum(cell["confirmed"]) / len(cell["confirmed"]) if cell["confirmed"] else cell["loss"]


def _figure(result: Mapping[str, Any]) -> str:
    """Losses against tokens, a panel a size, as a data address."""
    import numpy as np
    from matplotlib.figure import Figure

    sizes = sorted({cell["params"] for cell in result["cells"]})
    drawing = Figure(figsize=(max(8.0, 4.0 * len(sizes)), 3.6), layout="constrained")
    labels = list(dict.fromkeys(cell["optimizer"] for cell in result["cells"]))
    for axes, params in zip(np.atleast_1d(drawing.subplots(1, len(sizes))), sizes, strict=True):
        for k, label in enumerate(labels):
            own = [c for c in result["cells"] if c["params"] == params and c["optimizer"] == label]
            own.sort(key=lambda cell: cell["tokens"])
            axes.plot(
                [c["tokens"] for c in own], [_compared(c) for c in own], "o-", ms=4, lw=1, color=f"C{k}", label=label
            )
        if curve := result["curves"].get(str(params)):
            at = np.geomspace(min(c["tokens"] for c in result["cells"]), curve["largest"], 60)
            axes.plot(at, curve["a"] * at ** -curve["power"] + curve["floor"], "--", lw=0.8, color="0.4")
        axes.set_xscale("log")
        axes.set_title(f"{params:,} parameters", fontsize=9)
        axes.set_xlabel("training tokens")
        axes.set_ylabel("final validation loss (nats/token)")
        axes.legend(frameon=False, fontsize=8)
    buffer = BytesIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{b64encode(buffer.getvalue()).decode()}"
