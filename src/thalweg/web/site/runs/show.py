"""The page of one run: what is known of it, its curves, its recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from starlette.exceptions import HTTPException

from thalweg.errors import InputError
from thalweg.runs.checkpoints import list_checkpoints
from thalweg.runs.columns import LogColumns
from thalweg.runs.state import read_state, true_status
from thalweg.toml import read_toml
from thalweg.web.site.runs.plots import Named, figure, small
from thalweg.web.site.runs.series import across, metrics_of, read_series, said, title, tokens_per_step
from thalweg.web.site.runs.view import View, show_address
from thalweg.web.words import moment, whole

if TYPE_CHECKING:
    from thalweg.web.site.runs.shelf import Shelf

__all__ = ["MULTIPLES", "page", "plot", "recipe_of"]

MULTIPLES = 24  # small pictures on a page


def page(shelf: Shelf, path: str) -> dict[str, Any]:
    """Everything about a run but its curves.

    Raises:
        HTTPException: 404, there is no such run.
    """
    folder = shelf.folder(path)
    problems: list[str] = []
    state = _tried(problems, lambda: read_state(folder)) or {}
    text = _tried(problems, lambda: _text(shelf.file(folder, "recipe.toml"))) or ""
    made_with = _tried(problems, lambda: _environments(shelf.file(folder, "environment.json"))) or {}
    points = _tried(problems, lambda: list_checkpoints(shelf.file(folder, "checkpoints"))) or ()
    return {
        "path": path,
        "folder": folder,
        "address": show_address(path),
        "name": state.get("name") or path,
        "state": state,
        "created": moment(state["created"]) if state else "",
        "recipe": text,
        "environments": made_with,
        "checkpoints": [point.step for point in points],
        "problems": problems,
    }


def plot(shelf: Shelf, path: str, view: View) -> dict[str, Any]:
    """A run's state now and its curves.

    Raises:
        HTTPException: 404, there is no such run, or no longer.
        InputError: the axis does not go with the log.
    """
    folder = shelf.folder(path)
    problems: list[str] = []
    state = _tried(problems, lambda: read_state(folder)) or {}
    columns = _tried(problems, lambda: shelf.columns(path, folder)) or LogColumns(folder / "log.jsonl")
    if not state and not shelf.holds(folder):
        raise HTTPException(404, f"the folder of run {path} disappeared from {shelf.root}")
    tokens = tokens_per_step(recipe_of(shelf, folder))
    names = metrics_of(columns, tokens)
    metric = view.metric if view.metric in names else next(iter(_ordered(names)), "loss")
    view = replace(view, metric=metric)
    status = true_status(folder, state["status"]) if state else "unreadable"
    steps = columns.steps()
    done = int(steps[-1]) + 1 if len(steps) else 0
    name = state.get("name") or path
    notes = [] if view.metric == metric else [f"this run logged no {view.metric}: {metric} is shown"]
    drawn = figure([Named(name, 0, read_series(columns, metric, x=view.x, tokens=tokens))], view, labels=False)
    return {
        "path": path,
        "address": show_address(path),
        "now": status,
        "live": status in ("running", "new"),
        "error": state.get("error", ""),
        "done": done,
        "steps": state.get("steps"),
        "last": [(title(name), said(value)) for name, value in columns.last().items()],
        "metrics": [(name, title(name)) for name in _ordered(names)],
        "axes": across(columns, tokens),
        "figure": drawn,
        "view": drawn["view"],
        "multiples": _multiples(shelf, columns, names, metric, tokens, drawn["view"], path),
        "unshown": max(0, len(names) - 1 - MULTIPLES),
        "exported": metric in columns.metrics,
        "events": [_event(event) for event in columns.events],
        "truncated": columns.truncated,
        "problems": problems,
        "notes": notes,
        "records": whole(columns.records),
    }


def recipe_of(shelf: Shelf, folder: Path) -> dict[str, Any]:
    """The recipe, or nothing where it cannot be read: the page says so elsewhere."""
    with suppress(InputError):
        return read_toml(shelf.file(folder, "recipe.toml"), "recipe")
    return {}


def _multiples(
    shelf: Shelf, columns: LogColumns, names: tuple[str, ...], shown: str, tokens: int | None, view: View, path: str
) -> list[dict[str, Any]]:
    others = [name for name in _ordered(names) if name != shown][:MULTIPLES]
    return [
        {
            "title": title(name),
            "address": f"{show_address(path)}?{view.query(metric=name)}",
            "svg": shelf.picture(path, name, columns.state, partial(_small, columns, name, tokens)),
        }
        for name in others
    ]


def _small(columns: LogColumns, name: str, tokens: int | None) -> Markup:
    return small(Named(name, 0, read_series(columns, name, x="steps", tokens=tokens)), name)


def _ordered(names: tuple[str, ...]) -> list[str]:
    """Losses first, the rest as logged."""
    return sorted(names, key=lambda name: (name != "loss", "loss" not in name))


def _event(event: dict[str, Any]) -> dict[str, str]:
    rest = {key: value for key, value in event.items() if key not in ("attempt", "event", "time")}
    said = ", ".join(f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in rest.items())
    when = event.get("time", "")
    return {
        "attempt": str(event.get("attempt", "")),
        "event": str(event.get("event", "")),
        "time": moment(when) if isinstance(when, str) else "",
        "rest": said,
    }


def _tried(problems: list[str], read: Callable[[], Any]) -> Any:
    """What ``read`` returns; None, and the sentence of what is wrong, where it raises."""
    try:
        return read()
    except InputError as error:
        problems.append(str(error))
    except (OSError, ValueError) as error:
        problems.append(f"a file of this run cannot be read ({error})")
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} is missing: restore it from a copy") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8: restore it from a copy") from None


def _environments(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    found = json.loads(_text(path))
    attempts = found.items() if isinstance(found, dict) else ()
    return {attempt: _flat(entry) for attempt, entry in attempts if isinstance(entry, dict)}


def _flat(entry: dict[str, Any]) -> list[tuple[str, str]]:
    versions = entry.get("versions")
    rows = [(key, "" if value is None else str(value)) for key, value in entry.items() if key != "versions"]
    if isinstance(versions, dict):
        rows.append(("versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    return rows
