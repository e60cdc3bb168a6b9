"""Columns beside token shards: arrays of one value a document in .npz files, read when they are asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from thalweg.errors import InputError

__all__ = ["Columns"]


class Columns(Mapping[str, np.ndarray]):
    """Columns of several .npz files put end to end, each read when asked for and kept.

    Args:
        files: one a part; all hold the same columns.
        counts: documents of each part.

    Raises:
        InputError: a file is absent, damaged or has other columns than the first.
    """

    def __init__(self, files: Sequence[Path], counts: Sequence[int]) -> None:
        self.files, self.counts = list(files), list(counts)
        self.names = self._names()
        self.kept: dict[str, np.ndarray] = {}

    def _names(self) -> list[str]:
        found: list[str] | None = None
        for path in self.files:
            try:
                with zipfile.ZipFile(path) as archive:
                    names = [name.removesuffix(".npy") for name in archive.namelist()]
            except FileNotFoundError:
                raise InputError(f"{path} is absent: prepare the folder anew") from None
            except (OSError, zipfile.BadZipFile) as error:
                raise InputError(f"{path} is damaged ({error}): prepare the folder anew") from None
            if found is not None and set(names) != set(found):
                odd = sorted(set(names) ^ set(found))[0]
                raise InputError(f"{path} and {self.files[0]} differ in column {odd!r}: prepare the folder anew")
            found = names
        return found or []

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise KeyError(name)
        if name not in self.kept:
            parts = [_load(path, name, count) for path, count in zip(self.files, self.counts, strict=True)]
            self.kept[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return self.kept[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _load(path: Path, name: str, count: int) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as columns:
            values = columns[name]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged (column {name!r}: {error}): prepare the folder anew") from None
    if values.shape != (count,):
        raise InputError(f"{path} has {values.shape} values of {name!r} for {count} documents: prepare the folder anew")
    return values
