"""What was uploaded and fitted: bytes by their SHA-256, the oldest dropped, on disk where that is allowed."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from thalweg.files import write_atomic

__all__ = ["Memo", "Shelf", "name_of"]

DIGITS = 32  # hexadecimal digits of the hash in an address: 128 bits
BYTES = 192 * 2**20


def name_of(data: bytes) -> str:
    """The name of some bytes: the first 32 hexadecimal digits of their SHA-256."""
    return sha256(data).hexdigest()[:DIGITS]


class Shelf:
    """Bytes by name, at most ``limit`` in memory; with a folder also there, so that a restart keeps them.

    Args:
        folder: where to keep them, or None for memory only. Made when the first is put there.
        limit: bytes in memory.
    """

    def __init__(self, folder: Path | None, limit: int = BYTES) -> None:
        self.folder, self.limit = folder, limit
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size, self._lock = 0, Lock()

    def put(self, data: bytes) -> str:
        """Keeps the bytes and returns their name."""
        name = name_of(data)
        self._remember(name, data)
        if self.folder is not None and not (path := self.folder / name).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)
        return name

    def get(self, name: str) -> bytes | None:
        """The bytes of a name; None where they are gone, or where the name is none."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        if self.folder is None or not re.fullmatch(rf"[0-9a-f]{{{DIGITS}}}", name):
            return None
        with suppress(OSError):
            path = self.folder / name
            data = b"" if path.is_symlink() else path.read_bytes()
            if name_of(data) == name:
                self._remember(name, data)
                return data
        return None

    def _remember(self, name: str, data: bytes) -> None:
        with self._lock:
            self._size += len(data) - len(self._kept.pop(name, b""))
            self._kept[name] = data
            while self._size > self.limit and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])


class Memo:
    """Results by key, the last ``entries`` of them; threads may compute the same one twice, never half of one."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """The result of ``key``, made where it is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self.entries:
                self._kept.popitem(last=False)
        return made
