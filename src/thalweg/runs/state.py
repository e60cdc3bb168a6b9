"""``run.json``: what a run folder says of itself, and what is true of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from thalweg.errors import InputError
from thalweg.files import write_atomic
from thalweg.runs.lock import is_locked

__all__ = ["FILE", "Status", "read_json", "read_state", "run_root", "true_status", "write_json"]

FILE = "run.json"
FORMAT = "thalweg-run"
VERSION = 1

Status = Literal["new", "running", "interrupted", "done", "failed"]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


_FITS: dict[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str),
    "created": lambda value: isinstance(value, str),
    "steps": lambda value: value is None or _is_count(value),
    "status": lambda value: isinstance(value, str) and value in get_args(Status),
    "attempts": _is_count,
}


def run_root() -> Path:
    """Where runs go unless a folder is named: ``$THALWEG_HOME``, else ``./runs``."""
    return Path(os.environ.get("THALWEG_HOME") or "runs")


def new_state(name: str, created: str, steps: int | None) -> dict[str, Any]:
    """Contents of ``run.json`` of a run that nothing has been done for."""
    head = {"format": FORMAT, "version": VERSION, "name": name, "created": created}
    return head | {"steps": steps, "status": "new", "attempts": 0}


def read_state(folder: Path) -> dict[str, Any]:
    """Contents of ``run.json``, checked.

    Raises:
        InputError: it is absent or damaged, or of another format version.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{folder} holds no run (there is no {FILE})")
    state = read_json(path)
    found = (state.get("format"), state.get("version"))
    if found != (FORMAT, VERSION):
        raise InputError(f"{folder} is a {found[0]} of version {found[1]}, this program reads {FORMAT} {VERSION}")
    if wrong := [name for name, fits in _FITS.items() if not fits(state.get(name))]:
        raise InputError(f"{path} lacks or misstates {', '.join(wrong)}: restore it from a copy")
    return state


def true_status(folder: Path, written: Status) -> Status:
    """The written status, but interrupted where nobody holds the lock of a running one."""
    return "interrupted" if written == "running" and not is_locked(folder) else written


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InputError: the file holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{path} is damaged: restore it from a copy")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON object atomically."""
    write_atomic(path, json.dumps(value, indent=1) + "\n")
