"""A list of all runs under a root, kept in sqlite so that only folders that changed are read again.

The index holds nothing that the folders do not: it may be deleted at any time, and is rebuilt where it is absent,
damaged or of another version. Where the root cannot be written it lives in memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from threading import Lock

from thalweg.errors import InputError
from thalweg.runs.entries import number
from thalweg.runs.log import last_record
from thalweg.runs.state import FILE, Status, read_state, run_root, true_status

__all__ = ["Listing", "RunSummary", "known_runs", "list_runs"]

INDEX = "index.sqlite"
VERSION = 1
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
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


class Listing:
    """All runs under a root, kept up to date: only folders that changed are read again; safe to share between threads.

    Args:
        root: the folder.
        known: of an earlier listing: by path, its signature and its line.
        outside: whether links that lead out of the root are followed.
    """

    def __init__(
        self, root: Path, known: Mapping[str, tuple[str, RunSummary]] | None = None, *, outside: bool = True
    ) -> None:
        self.root = root
        self.known: dict[str, tuple[str, RunSummary]] = dict(known or {})
        self._within = None if outside else os.path.realpath(root)
        self._lock = Lock()

    def refresh(self) -> tuple[RunSummary, ...]:
        """All runs as they are now, newest first; none where the root does not exist."""
        with self._lock:
            fresh = {}
            for folder, found in _run_folders(str(self.root), "", DEPTH, self._within):
                path = _written(found)
                if path != found:
                    fresh[path] = ("", _unreadable(path, "", "the folder's name is no plain text: rename it"))
                    continue
                signature = _signature(folder)
                held = self.known.get(path)
                fresh[path] = held if held and held[0] == signature else (signature, _summary(path, Path(folder)))
            self.known = fresh
            listed = [self._as_it_is(summary) for _, summary in fresh.values()]
        return tuple(sorted(listed, key=lambda run: (run.created, run.path), reverse=True))

    def _as_it_is(self, run: RunSummary) -> RunSummary:
        if run.status != "running":
            return run
        return replace(run, status=true_status(self.root / run.path, "running"))


def known_runs(root: Path) -> dict[str, tuple[str, RunSummary]]:
    """What an index file under the root holds, for ``Listing``; what is out of date in it is read anew there."""
    try:
        with closing(sqlite3.connect(f"{(root / INDEX).absolute().as_uri()}?mode=ro", uri=True)) as index:
            return _rows(index) if index.execute("PRAGMA user_version").fetchone() == (VERSION,) else {}
    except (sqlite3.Error, TypeError):
        return {}


def _rows(index: sqlite3.Connection) -> dict[str, tuple[str, RunSummary]]:
    return {row[0]: (row[1], RunSummary(*row[2:])) for row in index.execute("SELECT * FROM runs")}


def list_runs(root: str | Path | None = None) -> tuple[RunSummary, ...]:
    """All runs under ``root`` (``run_root()`` if None), newest first.

    Raises:
        InputError: the root does not exist.
    """
    root = run_root() if root is None else Path(root)
    if not root.is_dir():
        raise InputError(f"run root {root} does not exist: train something first, or set THALWEG_HOME")
    with closing(_connect(root)) as index:
        known = _rows(index)
        listing = Listing(root, known)
        listed = listing.refresh()
        fresh = {path: held for path, held in listing.known.items() if known.get(path) is not held}
        with index:
            index.executemany("DELETE FROM runs WHERE key = ?", [(path,) for path in known.keys() - listing.known])
            marks = ", ".join("?" * (2 + len(fields(RunSummary))))
            rows = [(path, signature, *astuple(summary)) for path, (signature, summary) in fresh.items()]
            index.executemany(f"INSERT OR REPLACE INTO runs VALUES ({marks})", rows)
    return listed


def _run_folders(folder: str, path: str, depth: int, within: str | None) -> Iterator[tuple[str, str]]:
    """Folders that hold a run.json, with their path below the root; a folder that disappears meanwhile is left out."""
    try:
        with os.scandir(folder) as entries:
            inside = [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return
    for entry in inside:
        if within is not None and entry.is_symlink() and not _lies_in(entry.path, within):
            continue
        name = path + entry.name
        if os.path.isfile(f"{entry.path}/{FILE}"):
            yield entry.path, name
        elif depth > 1:
            yield from _run_folders(entry.path, f"{name}/", depth - 1, within)


def _lies_in(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(folder.rstrip(os.sep) + os.sep)


def _signature(folder: str) -> str:
    """Changes whenever the state, the recipe or the log of a run is written."""
    parts = []
    for name in (FILE, "recipe.toml", "log.jsonl"):
        try:
            found = os.stat(f"{folder}/{name}")
            parts.append(f"{found.st_mtime_ns}:{found.st_size}")
        except OSError:
            parts.append("")
    return " ".join(parts)


def _summary(path: str, folder: Path) -> RunSummary:
    try:
        digest = hashlib.sha256((folder / "recipe.toml").read_bytes()).hexdigest()[:12]
    except OSError:
        digest = ""
    try:
        state = read_state(folder)
        step, metrics = last_record(folder / "log.jsonl") or (-1, {})
    except (InputError, OSError) as error:
        return _unreadable(path, digest, str(error))
    loss = number(metrics["loss"]) if "loss" in metrics else None
    about = (state["status"], step + 1, state["steps"], loss, _written(state["created"]), digest)
    return RunSummary(path, _written(state["name"]), *about, _written(str(state.get("error", ""))))


def _unreadable(path: str, digest: str, why: str) -> RunSummary:
    return RunSummary(path, path.rpartition("/")[2], "unreadable", 0, None, None, "", digest, _written(why))


def _written(text: str) -> str:
    """Text that UTF-8 and one line can hold: names of folders and JSON may carry half characters and line breaks."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], plain)


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
