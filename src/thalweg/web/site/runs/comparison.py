"""Several runs on one plot, what their recipes differ in, and how their last values differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
from starlette.exceptions import HTTPException

from thalweg.errors import InputError
from thalweg.runs.columns import LogColumns
from thalweg.runs.compare import differences
from thalweg.runs.state import read_state, true_status
from thalweg.web.site.runs.chart import styles
from thalweg.web.site.runs.plots import Named, figure
from thalweg.web.site.runs.series import across, metrics_of, read_series, title, tokens_per_step
from thalweg.web.site.runs.show import recipe_of
from thalweg.web.site.runs.view import ACROSS, MOST_RUNS, SPANS, View, show_address
from thalweg.web.words import fixed, significant, whole

if TYPE_CHECKING:
    from thalweg.web.site.runs.shelf import Shelf

__all__ = ["comparison"]

DENSE = 300  # records from which on a comparison averages unless told otherwise


@dataclass(frozen=True, slots=True)
class _Read:
    path: str
    status: str
    recipe: dict[str, Any]
    columns: LogColumns
    tokens: int | None


def comparison(shelf: Shelf, asked: Sequence[str], view: View) -> dict[str, Any]:
    """What the page that compares runs shows.

    Args:
        shelf: the runs.
        asked: paths; the first ``MOST_RUNS`` that are there are drawn.
        view: metric and axes.

    Raises:
        InputError: no run was named, or the axis goes with none of them.
    """
    paths = list(dict.fromkeys(asked))
    if not paths:
        raise InputError("no run is chosen: tick two or more in the list of runs")
    problems: list[str] = []
    read = [run for path in paths[:MOST_RUNS] if (run := _read(shelf, path, problems))]
    names = list(dict.fromkeys(name for run in read for name in metrics_of(run.columns, run.tokens)))
    metric = view.metric or ("loss" if "loss" in names or not names else names[0])
    view = replace(view, metric=metric)
    if view.smooth is None:
        view = replace(view, smooth=_span(read, metric, view))
    labels = _labels([run.path for run in read])
    drawn = [
        Named(label, number, read_series(run.columns, metric, x=view.x, tokens=run.tokens))
        for number, (run, label) in enumerate(zip(read, labels, strict=True))
        if _drawable(run, metric, view.x, problems)
    ]
    picture = figure(drawn, view, labels=True)
    query = urlencode([("run", path) for path in paths])
    return {
        "paths": paths,
        "query": query,
        "address": "/runs/compare",
        "figure": picture,
        "view": picture["view"],
        "metrics": [(name, title(name)) for name in names],
        "axes": [name for name in ACROSS if any(name in across(run.columns, run.tokens) for run in read)],
        "runs": [_row(run, number, metric, read[0]) for number, run in enumerate(read)],
        "differences": [(key, [_word(row[run.path]) for run in read]) for key, row in _differences(read).items()],
        "labels": labels,
        "unread": sum(not run.recipe for run in read),
        "left_out": len(paths) - MOST_RUNS,
        "most": MOST_RUNS,
        "problems": problems,
        "notes": [],
        "live": any(run.status == "running" for run in read),
        "metric": title(metric),
    }


def _read(shelf: Shelf, path: str, problems: list[str]) -> _Read | None:
    try:
        folder = shelf.folder(path)
    except HTTPException as error:
        problems.append(error.detail)
        return None
    try:
        state = read_state(folder)
        columns = shelf.columns(path, folder)
    except InputError as error:
        problems.append(f"{path}: {error}")
        return None
    recipe = recipe_of(shelf, folder)
    return _Read(path, true_status(folder, state["status"]), recipe, columns, tokens_per_step(recipe))


def _span(read: Sequence[_Read], metric: str, view: View) -> float:
    """Steps to average over unless the address says: none for few records, else about a fiftieth of what is shown."""
    steps = [read_series(run.columns, metric, x="steps", tokens=run.tokens).steps for run in read]
    longest = max(steps, key=len, default=np.empty(0))
    if len(longest) < DENSE:
        return 0.0
    low, high = float(longest[0]), float(longest[-1])
    if view.x == "steps":
        low, high = max(low, view.low or low), min(high, view.high or high)
    return max((span for span in SPANS if span <= (high - low) / 50), default=0.0)


def _drawable(run: _Read, metric: str, x: str, problems: list[str]) -> bool:
    if metric not in metrics_of(run.columns, run.tokens):
        problems.append(f"{run.path} logged no {metric}")
    elif x not in across(run.columns, run.tokens):
        problems.append(f"{run.path} cannot be drawn over {ACROSS[x]}: choose optimizer steps")
    else:
        return True
    return False


def _labels(paths: Sequence[str]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [path.split("/") for path in paths]
    for depth in range(1, max((len(part) for part in parts), default=1) + 1):
        short = ["/".join(part[-depth:]) for part in parts]
        if len(set(short)) == len(short):
            return short
    return list(paths)


def _row(run: _Read, number: int, metric: str, first: _Read) -> dict[str, Any]:
    step, last = _ended(run, metric)
    _, start = _ended(first, metric)
    lowest_step, lowest = _lowest(run, metric)
    gap = None if run is first or last is None or start is None else last - start
    return {
        "number": number + 1,
        "path": run.path,
        "style": styles(number),
        "address": show_address(run.path),
        "status": run.status,
        "step": "" if step is None else whole(step),
        "last": fixed(last) if last is not None else "",
        "lowest": "" if lowest is None else f"{fixed(lowest)} at {whole(lowest_step)}",
        "gap": ""
        if gap is None
        else ("+" if gap > 0 else "") + (fixed(gap) if abs(gap) >= 1e-3 else significant(gap, 3)),
    }


def _ended(run: _Read, metric: str) -> tuple[int | None, float | None]:
    """Step and value of the last finite record of the metric."""
    series = read_series(run.columns, metric, x="steps", tokens=run.tokens)
    finite = np.flatnonzero(np.isfinite(series.y))
    return (int(series.steps[finite[-1]]), float(series.y[finite[-1]])) if len(finite) else (None, None)


def _lowest(run: _Read, metric: str) -> tuple[int | None, float | None]:
    series = read_series(run.columns, metric, x="steps", tokens=run.tokens)
    finite = np.flatnonzero(np.isfinite(series.y))
    if not len(finite):
        return None, None
    at = finite[series.y[finite].argmin()]
    return int(series.steps[at]), float(series.y[at])


def _differences(read: Sequence[_Read]) -> dict[str, dict[str, Any]]:
    return differences(
        {run.path: run.recipe for run in read if run.recipe} | {r.path: {} for r in read if not r.recipe}
    )


def _word(value: Any) -> str:
    return "\N{EN DASH}" if value is None else value if isinstance(value, str) else repr(value)
