"""What distinguishes runs, and their curves in the columns that fitting a law reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thalweg.errors import InputError
from thalweg.files import write_atomic

if TYPE_CHECKING:
    from thalweg.runs.run import Run

__all__ = ["curves_text", "differences", "export_curves", "flattened"]


def flattened(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, keys joined by dots: ``{"data": {"context": 64}}`` gives ``{"data.context": 64}``."""
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def differences(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The entries on which recipes differ: by dotted key, sorted, then by the recipe's name (None where absent)."""
    flat = {name: flattened(recipe) for name, recipe in recipes.items()}
    keys = sorted({key for recipe in flat.values() for key in recipe})
    rows = {key: {name: recipe.get(key) for name, recipe in flat.items()} for key in keys}
    return {key: row for key, row in rows.items() if len({repr(value) for value in row.values()}) > 1}


def curves_text(runs: Sequence[Run], *, metric: str = "loss", form: Literal["csv", "jsonl"] = "csv") -> tuple[str, int]:
    """Curves of runs as a table with the columns schedule (the run's name), step, lr and loss.

    Args:
        runs: with different names.
        metric: which recorded metric becomes the column ``loss``, e.g. ``val_loss``.
        form: ``csv``, or ``jsonl`` for one object a line.

    Returns:
        The text, and how many records were left out because the metric or lr was not finite. The column lr is absent
        unless every record has one.

    Raises:
        InputError: two runs share a name, or a run has no record of the metric.
    """
    names = [run.name for run in runs]
    if shared := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"several runs are named {', '.join(shared)}: export them one at a time or rename them")
    rows, left_out = [], 0
    for name, run in zip(names, runs, strict=True):
        records = run.records(metric)
        if not records:
            raise InputError(f"run {name} has no records of {metric!r}: name a metric that it logged")
        for record in records:
            row = {"schedule": name, "step": record["step"], "lr": record.get("lr"), "loss": record[metric]}
            if isfinite(row["loss"]) and (row["lr"] is None or isfinite(row["lr"])):
                rows.append(row)
            else:
                left_out += 1
    columns = ["schedule", "step", "lr", "loss"]
    if any(row["lr"] is None for row in rows):
        columns.remove("lr")
    rows = [{column: row[column] for column in columns} for row in rows]
    if form == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows), left_out
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue(), left_out


def export_curves(runs: Sequence[Run], path: str | Path, *, metric: str = "loss") -> int:
    """Writes ``curves_text`` to ``path`` (``.csv`` or ``.jsonl``); returns how many records were left out.

    Raises:
        InputError: another suffix, or as ``curves_text``.
    """
    forms: dict[str, Literal["csv", "jsonl"]] = {".csv": "csv", ".jsonl": "jsonl"}
    suffix = Path(path).suffix
    if suffix not in forms:
        raise InputError(f"export {str(path)!r} ends in {suffix!r}: choose a name ending in .csv or .jsonl")
    text, left_out = curves_text(runs, metric=metric, form=forms[suffix])
    write_atomic(path, text)
    return left_out
