"""Checkpoint folders that are whole or not there.

A checkpoint is written into a hidden temporary folder, every file synced, a marker with all sizes added, and the folder
renamed to ``step-00000100``. What a killed process leaves behind keeps its hidden name and is cleared away later.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from thalweg.errors import InputError
from thalweg.files import sync_folder
from thalweg.runs.state import read_json

__all__ = ["Checkpoint", "checkpoint_folder", "clear_leftovers", "list_checkpoints", "prune"]

MARKER = "complete.json"
NAME = re.compile(r"(\.replaced-)?step-(\d{8,})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        step: optimizer steps done when it was made.
        folder: where its files lie.
    """

    step: int
    folder: Path

    def check(self) -> None:
        """Compares the sizes of the files with those at the time of writing.

        Raises:
            InputError: a file is missing or has another size.
        """
        marker = read_json(self.folder / MARKER)
        if not isinstance(marker.get("files"), dict):
            raise InputError(f"{self.folder / MARKER} is damaged: delete the folder to go on from the one before")
        for name, size in marker["files"].items():
            path = self.folder / name
            found = path.stat().st_size if path.is_file() else 0
            if found != size:
                raise InputError(
                    f"{path} has {found} bytes instead of {size}, the checkpoint is damaged: "
                    "delete its folder to go on from the one before"
                )


@contextmanager
def checkpoint_folder(root: Path, step: int) -> Iterator[Path]:
    """A temporary folder to write files into; on leaving without an error it becomes ``root/step-…``.

    A checkpoint of the same step is replaced. After an error nothing of the new one is left.

    Raises:
        OSError: the disk refuses (the sentence says that earlier checkpoints are intact).
    """
    final = root / f"step-{step:08d}"
    temporary = root / f".writing-{final.name}"
    replaced = root / f".replaced-{final.name}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        _seal(temporary, step)
        if final.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            os.rename(final, replaced)
        os.rename(temporary, final)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        number = _errno(error)
        if number is None:
            raise
        raise OSError(
            number,
            f"{os.strerror(number)} while writing checkpoint {final}: earlier checkpoints and the log are intact",
        ) from error
    sync_folder(root)
    shutil.rmtree(replaced, ignore_errors=True)


def list_checkpoints(root: Path) -> tuple[Checkpoint, ...]:
    """The complete checkpoints under ``root``, oldest step first."""
    found: dict[int, Checkpoint] = {}
    with suppress(FileNotFoundError):
        for path in sorted(root.iterdir()):  # ".replaced-…" sorts first: a checkpoint of the same step overrides it
            match = NAME.fullmatch(path.name)
            if match and (path / MARKER).is_file():
                found[int(match[2])] = Checkpoint(int(match[2]), path)
    return tuple(found[step] for step in sorted(found))


def prune(root: Path, keep: int, *, always: Collection[int] = ()) -> None:
    """Deletes all checkpoints but the newest ``keep`` and those of the steps ``always``, which do not count.

    Raises:
        InputError: ``keep`` is below 1.
    """
    if keep < 1:
        raise InputError(f"keep is {keep}: at least one checkpoint has to stay")
    periodic = [checkpoint for checkpoint in list_checkpoints(root) if checkpoint.step not in always]
    for checkpoint in periodic[:-keep]:
        doomed = root / f".deleted-step-{checkpoint.step:08d}"
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(checkpoint.folder, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def clear_leftovers(root: Path) -> None:
    """Removes what killed processes left behind; only the holder of the run's lock may call this."""
    for checkpoint in list_checkpoints(root):
        if checkpoint.folder.name.startswith("."):
            os.rename(checkpoint.folder, root / f"step-{checkpoint.step:08d}")
    for pattern in (".writing-*", ".replaced-*", ".deleted-*"):
        for path in root.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def _errno(error: BaseException) -> int | None:
    """The system's error number; libraries written in Rust, such as safetensors, only have it in their message."""
    if isinstance(error, OSError):
        return error.errno
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


def _seal(folder: Path, step: int) -> None:
    """Syncs every file of the folder and adds the marker."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    marker = folder / MARKER
    marker.write_text(json.dumps({"step": step, "files": sizes}) + "\n", encoding="utf-8")
    for path in (*files, marker):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        sync_folder(path)
