"""Where curves come from: the embedded example, uploads and pasted text, runs of the run root. All become one upload.

An upload is a few texts, files of curves and perhaps one of schedules, kept as JSON by its SHA-256: the same texts have
the same address, and what was typed wrong is still there when it is mended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.errors import InputError

if TYPE_CHECKING:
    from thalweg.laws import LossCurve
    from thalweg.runs import Run

__all__ = ["EXAMPLE", "MOST_STEPS", "Upload", "example", "of_runs", "read_upload"]

EXAMPLE = "example"
MOST_STEPS = 2_000_000
"""Steps of a run that the designer takes: an array of rates is kept for every step."""
STATIC = Path(__file__).parents[2] / "static"


@dataclass(frozen=True, slots=True)
class Upload:
    """The texts of some curves.

    Attributes:
        curves: pairs of a file's name and its text.
        schedules: name and text of the schedules' file; empty texts where there is none.
    """

    curves: tuple[tuple[str, str], ...]
    schedules: tuple[str, str] = ("", "")

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps({"curves": self.curves, "schedules": self.schedules}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Upload:
        """What `to_bytes` wrote."""
        content = json.loads(data)
        return cls(tuple((name, text) for name, text in content["curves"]), tuple(content["schedules"]))

    @property
    def names(self) -> str:
        """The files' names."""
        return ", ".join(name for name, _ in self.curves)


@cache
def example() -> Upload:
    """The pilots of ``make demo``: three runs of 2,500 steps of a byte-level model."""
    curves = (STATIC / "example-curves.csv").read_text(encoding="utf-8")
    schedules = (STATIC / "example-schedules.toml").read_text(encoding="utf-8")
    return Upload((("curves.csv", curves),), ("schedules.toml", schedules))


def read_upload(upload: Upload) -> dict[str, LossCurve]:
    """The curves by name, read by the readers of ``thalweg fit``.

    Raises:
        InputError: a text that cannot be used; one sentence names the file, line and column or the curve.
    """
    from thalweg.laws.readers import join_curves, parse_schedules
    from thalweg.laws.tables import parse_table

    if not upload.curves:
        raise InputError("no curves: choose a CSV or JSON-lines file, or paste its text")
    tables = [(Path(name), parse_table(Path(name), text)) for name, text in upload.curves]
    for path, rows in tables:
        for name, one in rows.items():
            if one.steps and not max(one.steps) < MOST_STEPS:
                raise InputError(
                    f"{path.name}: curve {name!r} has step {max(one.steps):g}; the designer takes up to {MOST_STEPS:,}"
                )
    name, text = upload.schedules
    known = parse_schedules(Path(name or "schedules.toml"), text) if text.strip() else {}
    for curve, (spec, steps) in known.items():
        if isinstance(spec, str) and spec.lstrip().startswith("array") and "path" in spec:
            raise InputError(f"schedule of {curve!r} names a file: upload a CSV with the columns schedule, step, lr")
        if steps is not None and steps > MOST_STEPS:
            raise InputError(f"schedule of {curve!r} has {steps:,} steps; the designer takes up to {MOST_STEPS:,}")
    return join_curves(tables, known)


def of_runs(runs: Iterable[Run], metric: str = "") -> Upload:
    """The curves of runs and the schedules of their recipes as an upload.

    Args:
        runs: with different names.
        metric: ``val_loss`` or ``loss``; empty: the first of the two that every run has logged.

    Raises:
        InputError: no run, two of one name, a run without the metric or without a schedule in its recipe.
    """
    from thalweg.runs.compare import curves_text

    runs = list(runs)
    if not runs:
        raise InputError("no run is chosen; mark at least one")
    if not metric:
        metric = "val_loss" if all(run.records("val_loss") for run in runs) else "loss"
    text, _ = curves_text(runs, metric=metric)
    lines = []
    for run in runs:
        spec, steps = _scheduled(run.name, run.recipe)
        lines.append(f"{json.dumps(run.name)} = {{spec = {json.dumps(spec)}, steps = {steps}}}\n")
    return Upload(((f"{metric} of {len(runs)} runs.csv", text),), ("recipes.toml", "".join(lines)))


def _scheduled(name: str, recipe: Mapping[str, object]) -> tuple[str, int]:
    spec, steps = recipe.get("schedule"), recipe.get("steps")
    if not isinstance(spec, str) or not isinstance(steps, int):
        raise InputError(f"run {name} has no schedule and steps in its recipe; upload its curve with a column lr")
    return spec, steps
