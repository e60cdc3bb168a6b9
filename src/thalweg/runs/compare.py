"""What distinguishes runs, and their curves in the columns that fitting a law reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from thalweg.errors import InputError
from thalweg.files import write_atomic
from thalweg.runs.columns import LogColumns

if TYPE_CHECKING:
    from thalweg.runs.run import Run

__all__ = ["CurveTable", "curve_table", "curves_text", "differences", "export_curves", "flattened"]


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


@dataclass(frozen=True, slots=True)
class CurveTable:
    """Curves of runs as columns.

    Attributes:
        names: of the runs.
        parts: of each run the steps, rates (None unless every record of every run has one) and values, finite ones.
        left_out: records whose metric or rate was not finite.
    """

    names: tuple[str, ...]
    parts: tuple[tuple[np.ndarray, np.ndarray | None, np.ndarray], ...]
    left_out: int

    def lines(self, form: Literal["csv", "jsonl"]) -> Iterator[str]:
        """The table as text, with the columns schedule (the run's name), step, lr and loss, a line at a time."""
        rated = all(rates is not None for _, rates, _ in self.parts)
        columns = ["schedule", "step", *(["lr"] if rated else []), "loss"]
        if form == "csv":
            yield ",".join(columns) + "\n"
        for name, (steps, rates, values) in zip(self.names, self.parts, strict=True):
            head = _quoted(name) if form == "csv" else name
            arrays = (steps, rates, values) if rated and rates is not None else (steps, values)
            for cells in zip(*(array.tolist() for array in arrays), strict=True):
                if form == "csv":
                    yield f"{head},{','.join(map(str, cells))}\n"
                else:
                    yield json.dumps(dict(zip(columns, (head, *cells), strict=True))) + "\n"


def curve_table(runs: Sequence[Run], *, metric: str = "loss", names: Sequence[str] | None = None) -> CurveTable:
    """Curves of runs in the columns that fitting a law reads.

    Args:
        runs: run folders.
        metric: which recorded metric becomes the column ``loss``, e.g. ``val_loss``.
        names: of the runs, all different; their own if None.

    Raises:
        InputError: two runs share a name, or a run has no record of the metric.
    """
    names = [run.name for run in runs] if names is None else list(names)
    if shared := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"several runs are named {', '.join(shared)}: export them one at a time or rename them")
    parts, left_out = [], 0
    for name, run in zip(names, runs, strict=True):
        log = LogColumns(run.folder / "log.jsonl")
        log.refresh()
        steps, values = log.curve(metric)
        if not len(steps):
            raise InputError(f"run {name} has no records of {metric!r}: name a metric that it logged")
        rate_steps, known = log.curve("lr")
        rated = np.isin(steps, rate_steps)
        rates = np.zeros(len(steps))
        rates[rated] = known[np.isin(rate_steps, steps)]
        good = np.isfinite(values) & np.isfinite(rates)
        parts.append((steps[good], rates[good] if rated[good].all() else None, values[good]))
        left_out += int((~good).sum())
    return CurveTable(tuple(names), tuple(parts), left_out)


def curves_text(runs: Sequence[Run], *, metric: str = "loss", form: Literal["csv", "jsonl"] = "csv") -> tuple[str, int]:
    """``curve_table`` as text, and how many records were left out because the metric or lr was not finite.

    Args:
        runs: with different names.
        metric: which recorded metric becomes the column ``loss``, e.g. ``val_loss``.
        form: ``csv``, or ``jsonl`` for one object a line.

    Raises:
        InputError: as ``curve_table``.
    """
    table = curve_table(runs, metric=metric)
    return "".join(table.lines(form)), table.left_out


def _quoted(name: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([name])
    return text.getvalue()


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
