"""A list of all runs under a root, kept in sqlite so that only folders that changed are read again.

The index holds nothing that the folders do not: it may be deleted at any time, and is rebuilt where it is absent,
damaged or of another version. Where the root cannot be written it lives in memory.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from thalweg.errors import InputError
from thalweg.runs.log import last_record
from thalweg.runs.state import FILE, Status, read_state, run_root, true_status

__all__ = ["RunSummary", "list_runs"]

INDEX = "index.sqlite"
VERSION = 1
DEPTH = 3
"""How many folders below the root a run may lie (root/studies/slug/seed-0)."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the list.

    Attributes:
        path: folder relative to the root, with forward slashes.
        name: the run's name.
        status: as it is now; ``unreadable`` where ``run.json`` is damaged or of another version.
        steps_done: optimizer steps logged.
        steps: optimizer steps planned, if known.
        loss: the last logged training loss, nats per token, if there is one.
        created: UTC, ISO 8601.
        recipe: first 12 hexadecimal digits of the SHA-256 of ``recipe.toml``.
        problem: why it is unreadable, or what it failed with, else an empty string.
    """

    path: str
    name: str
    status: Status | str
    steps_done: int
    steps: int | None
    loss: float | None
    created: str
    recipe: str
    problem: str


def list_runs(root: str | Path | None = None) -> tuple[RunSummary, ...]:
    """All runs under ``root`` (``run_root()`` if None), newest first.

    Raises:
        InputError: the root does not exist.
    """
    root = run_root() if root is None else Path(root)
    if not root.is_dir():
        raise InputError(f"run root {root} does not exist: train something first, or set THALWEG_HOME")
    found = {folder.relative_to(root).as_posix(): folder for folder in _run_folders(root, DEPTH)}
    with closing(_connect(root)) as index:
        known = {row[0]: (row[1], RunSummary(*row[2:])) for row in index.execute("SELECT * FROM runs")}
        fresh = {}
        for path, folder in found.items():
            signature = _signature(folder)
            if path not in known or known[path][0] != signature:
                fresh[path] = (signature, _summary(path, folder))
        with index:
            index.executemany("DELETE FROM runs WHERE key = ?", [(path,) for path in known.keys() - found.keys()])
            marks = ", ".join("?" * (2 + len(fields(RunSummary))))
            rows = [(path, signature, *astuple(summary)) for path, (signature, summary) in fresh.items()]
            index.executemany(f"INSERT OR REPLACE INTO runs VALUES ({marks})", rows)
    listed = [(fresh.get(path) or known[path])[1] for path in found]
    alive = [
        replace(run, status=true_status(found[run.path], "running")) if run.status == "running" else run
        for run in listed
    ]
    return tuple(sorted(alive, key=lambda run: (run.created, run.path), reverse=True))


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        inside = [entry.path for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    for path in inside:
        if os.path.isfile(os.path.join(path, FILE)):
            yield Path(path)
        elif depth > 1:
            yield from _run_folders(Path(path), depth - 1)


def _signature(folder: Path) -> str:
    """Changes whenever the state, the recipe or the log of a run is written."""
    parts = []
    for name in (FILE, "recipe.toml", "log.jsonl"):
        try:
            found = os.stat(folder / name)
            parts.append(f"{found.st_mtime_ns}:{found.st_size}")
        except FileNotFoundError:
            parts.append("")
    return " ".join(parts)


def _summary(path: str, folder: Path) -> RunSummary:
    recipe = folder / "recipe.toml"
    digest = hashlib.sha256(recipe.read_bytes()).hexdigest()[:12] if recipe.is_file() else ""
    try:
        state = read_state(folder)
    except InputError as error:
        return RunSummary(path, folder.name, "unreadable", 0, None, None, "", digest, str(error))
    step, metrics = last_record(folder / "log.jsonl") or (-1, {})
    return RunSummary(
        path,
        state["name"],
        state["status"],
        step + 1,
        state["steps"],
        metrics.get("loss"),
        state["created"],
        digest,
        state.get("error", ""),
    )


def _connect(root: Path) -> sqlite3.Connection:
    """The index of a root, made anew where it cannot be used."""
    path = root / INDEX
    for attempt in range(2):
        try:
            return _opened(str(path))
        except sqlite3.DatabaseError:
            if attempt == 0 and os.access(root, os.W_OK):
                path.unlink(missing_ok=True)
    return _opened(":memory:")


def _opened(path: str) -> sqlite3.Connection:
    index = sqlite3.connect(path, timeout=5)
    try:
        (version,) = index.execute("PRAGMA user_version").fetchone()
        columns = ", ".join(field.name for field in fields(RunSummary))
        if version != VERSION:
            index.execute("DROP TABLE IF EXISTS runs")
        index.execute(f"CREATE TABLE IF NOT EXISTS runs (key TEXT PRIMARY KEY, signature TEXT, {columns})")
        index.execute(f"PRAGMA user_version = {VERSION}")
        index.execute("SELECT count(*) FROM runs")
        index.commit()
    except BaseException:
        index.close()
        raise
    return index
