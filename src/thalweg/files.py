"""Files that are either the old version or the new one, never half of either."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from thalweg.errors import InputError

__all__ = ["sync_folder", "write_atomic"]


def write_atomic(path: str | Path, content: str | bytes) -> Path:
    """Writes ``content`` to ``path`` through a synced temporary file in the same folder and a rename.

    Args:
        path: the file; missing parent folders are made.
        content: text (UTF-8) or bytes.

    Raises:
        InputError: ``path`` is a folder.
        OSError: the disk refuses; ``path`` then still holds what it held before.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)
    return path


def sync_folder(folder: str | Path) -> None:
    """Makes the names in ``folder`` survive a power cut (a no-op where folders cannot be opened)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
