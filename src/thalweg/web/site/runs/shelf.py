"""What the pages of the runs share: the listing, the logs that were read, the streams that are open; all bounded."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from markupsafe import Markup
from starlette.exceptions import HTTPException

from thalweg.errors import InputError
from thalweg.runs.columns import LogColumns
from thalweg.runs.index import Listing, RunSummary, known_runs
from thalweg.runs.state import FILE

__all__ = ["Shelf"]

LOG_BYTES = 512 * 2**20
STREAMS = 24
PICTURES = 400


class Shelf:
    """The runs under a root as the pages see them; safe to share between threads.

    Args:
        root: folder of the runs; it need not exist.
        log_bytes: most bytes of columns kept; those read longest ago go first, and the newest stays in any case.
        streams: most pages that may watch at a time.
    """

    def __init__(self, root: Path, *, log_bytes: int = LOG_BYTES, streams: int = STREAMS) -> None:
        self.root = root
        self._log_bytes, self._streams = log_bytes, streams
        self._listing: Listing | None = None
        self._logs: OrderedDict[str, LogColumns] = OrderedDict()
        self._pictures: OrderedDict[tuple[str, str], tuple[object, Markup]] = OrderedDict()
        self._open = 0
        self._lock = Lock()

    def runs(self) -> tuple[RunSummary, ...]:
        """All runs as they are now, newest first."""
        return self._listed().refresh()

    def _listed(self) -> Listing:
        with self._lock:
            if self._listing is None:
                self._listing = Listing(self.root, known_runs(self.root), outside=False)
            return self._listing

    def folder(self, path: str) -> Path:
        """The folder of a listed run.

        Raises:
            HTTPException: 404, nothing of that name is listed, or its folder is gone.
        """
        listing = self._listed()
        if path not in listing.known:
            listing.refresh()
        folder = self.root / path
        if path not in listing.known or not self.holds(folder):
            raise HTTPException(
                404, f"there is no run {path} under {self.root}: it was deleted, renamed or never there"
            )
        return folder

    def holds(self, folder: Path) -> bool:
        """Whether the folder still holds a run and lies under the root, links followed."""
        return (folder / FILE).is_file() and self._within(folder)

    def file(self, folder: Path, name: str) -> Path:
        """A file of a run, which may be absent.

        Raises:
            InputError: it is a link that leads out of the root.
        """
        if not self._within(folder / name):
            raise InputError(f"{name} of this run is a link that leads out of {self.root}: it is not followed")
        return folder / name

    def _within(self, path: Path) -> bool:
        return os.path.realpath(path).startswith(os.path.realpath(self.root).rstrip(os.sep) + os.sep)

    def columns(self, path: str, folder: Path) -> LogColumns:
        """The log of a run as it is now; only what was appended since the last call is read.

        Raises:
            InputError: the log is damaged or a link that leads out of the root.
        """
        log = self.file(folder, "log.jsonl")
        with self._lock:
            columns = self._logs.pop(path, None) or LogColumns(log)
            self._logs[path] = columns
        try:
            columns.refresh()
        except OSError as error:
            raise InputError(f"{log} cannot be read ({error.strerror})") from None
        finally:
            self._trim()
        return columns

    def _trim(self) -> None:
        with self._lock:
            held = {path: columns.nbytes for path, columns in self._logs.items()}
            total = sum(held.values())
            for path in list(held)[:-1]:
                if total <= self._log_bytes:
                    break
                total -= held[path]
                del self._logs[path]

    def picture(self, path: str, metric: str, version: object, draw: Callable[[], Markup]) -> Markup:
        """A small picture, drawn again only where ``version`` changed; the newest ``PICTURES`` are kept."""
        with self._lock:
            held = self._pictures.get((path, metric))
        drawn = held[1] if held and held[0] == version else draw()
        with self._lock:
            self._pictures[path, metric] = (version, drawn)
            self._pictures.move_to_end((path, metric))
            while len(self._pictures) > PICTURES:
                self._pictures.popitem(last=False)
        return drawn

    @property
    def log_bytes(self) -> int:
        """Bytes of the columns that are kept."""
        with self._lock:
            return sum(columns.nbytes for columns in self._logs.values())

    def enter_stream(self) -> bool:
        """Counts a stream in; False where as many as may are open."""
        with self._lock:
            if self._open >= self._streams:
                return False
            self._open += 1
            return True

    def leave_stream(self) -> None:
        """Counts a stream out."""
        with self._lock:
            self._open -= 1
