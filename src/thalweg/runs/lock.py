"""One writer a folder: a lock that the operating system drops when its process dies, however it dies."""

from __future__ import annotations

import os
import time
from pathlib import Path

from thalweg.errors import InputError

__all__ = ["FolderLock", "is_locked"]

FILE = "lock"


class FolderLock:
    """Holds ``flock`` on the file ``lock`` of a folder from ``acquire`` to ``release`` or the end of the process.

    Child processes that are forked (not started anew) share the lock until they end as well.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._handle: int | None = None

    def acquire(self) -> None:
        """Takes the lock.

        Raises:
            InputError: another process, or another object of this one, holds it.
        """
        import fcntl

        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        for attempt in range(5):  # a reader that asks is_locked holds it for an instant
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02 * attempt)
        else:
            owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise InputError(
                f"run {self._path.parent} is being written by process {owner}: wait for it or stop it, "
                "or choose another folder"
            )
        self._handle = handle
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Gives the lock back; without a lock this does nothing."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def is_locked(folder: Path) -> bool:
    """Whether some process is writing the folder right now."""
    import fcntl

    try:
        handle = os.open(folder / FILE, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
