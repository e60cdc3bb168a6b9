"""A ledger of finished runs: one JSON object a line, keyed by the full configuration, only ever appended to.

The first line is ``{"ledger": 1}``, the version. Every other holds ``key`` (of ``config_key``), ``config`` and what is
known of the run. A line goes to the operating system in one write and is synced, so a process that is killed loses at
most a part of the last line, which the next writer cuts off; one process at a time may write.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from thalweg.errors import InputError
from thalweg.runs.log import NOT_FINITE

__all__ = ["VERSION", "Ledger", "config_key", "read_ledger"]

VERSION = 1
DIGITS = 12
"""Significant digits of a number in a key: 1e-25 and 9.999999999999999e-26 are one configuration."""


def config_key(config: Mapping[str, Any]) -> str:
    """A name of 16 letters for a configuration; order of keys and the last digits of numbers do not matter.

    Args:
        config: plain dicts, lists, words, numbers.
    """
    text = json.dumps(_canonical(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return f"{float(value):.{DIGITS}g}"


def read_ledger(path: str | Path) -> list[dict[str, Any]]:
    """The records of a ledger in the order written, without an unfinished last line; an absent one is empty.

    Raises:
        InputError: it was written in another version, it is no ledger, or a line is damaged.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"ledger {path} cannot be read ({error.strerror}): give a sweep's ledger") from None
    return list(_records(path, data[: data.rfind(b"\n") + 1]))


def _records(path: Path, data: bytes) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(data.splitlines()):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if number == 0:
            _check_version(path, record)
        elif isinstance(record, dict) and isinstance(record.get("key"), str):
            yield {name: _number(value) for name, value in record.items()}
        else:
            raise InputError(f"{path} line {number + 1} is damaged: take the line out or restore the file from a copy")


def _check_version(path: Path, first: Any) -> None:
    version = first.get("ledger") if isinstance(first, dict) else None
    if version is None:
        raise InputError(f"{path} is no ledger: give a file that thalweg sweep wrote, or one that does not exist yet")
    if version != VERSION:
        raise InputError(
            f"ledger {path} was written in version {version!r}, this program has version {VERSION}: use the program "
            "that wrote it or choose another ledger; nothing in it was changed"
        )


def _number(value: Any) -> Any:
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value


class Ledger:
    """A ledger open for writing; a context manager.

    Args:
        path: the file; made, with its folder, if it is absent.

    Attributes:
        records: all records by key; of several with one key the last counts.

    Raises:
        InputError: another process writes it, another version wrote it, or it is damaged; nothing is changed then.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_dir():
            raise InputError(f"ledger {self.path} is a folder: give the name of a file")
        self._file = open(self.path, "a+b", buffering=0)
        try:
            self._lock()
            self.records = {record["key"]: record for record in self._read()}
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"ledger {self.path} is being written by another process: wait for it or stop it, "
                "or choose another ledger"
            ) from None

    def _read(self) -> list[dict[str, Any]]:
        self._file.seek(0)
        data = self._file.read()
        end = data.rfind(b"\n") + 1
        if end == 0 and not _line({"ledger": VERSION}).startswith(data):
            _check_version(self.path, None)
        records = list(_records(self.path, data[:end]))
        if end < len(data):
            self._file.truncate(end)
        if end == 0:
            self._write({"ledger": VERSION})
        return records

    def get(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The record of a configuration, None where there is none."""
        return self.records.get(config_key(config))

    def add(self, config: Mapping[str, Any], **about: Any) -> dict[str, Any]:
        """Appends what is known of the run of ``config``: words, numbers (infinities too), plain dicts and lists.

        Raises:
            OSError: the disk refuses; what was written before is intact.
        """
        record = {"key": config_key(config), **about, "config": dict(config)}
        self._write({name: _plain(value) for name, value in record.items()})
        self.records[record["key"]] = record
        return record

    def close(self) -> None:
        """Closes the file, which gives the lock back."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        line = _line(record)
        start = os.fstat(self._file.fileno()).st_size
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except BaseException:  # Ctrl-C as well: the next line must not continue this one
            with suppress(OSError):
                self._file.truncate(start)
            raise


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value
