"""Which files are read, and in which pieces: the same for every engine and number of workers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.data.corpus import CORPORA, corpus
from thalweg.data.preparing.batches import Bad, arrow
from thalweg.data.preparing.config import Input
from thalweg.errors import InputError, MissingExtra, suggest

__all__ = ["Piece", "Source", "digest", "list_sources", "parts", "pieces", "saved_dataset"]

SUFFIXES = {
    "text": (".txt", ".md", ".rst", ".py"),
    "jsonl": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".json.gz"),
    "parquet": (".parquet",),
}
MARKS = ("state.json", "dataset_dict.json")
"""Files that ``save_to_disk`` leaves in a folder."""
DOCUMENTS_BYTES = 4096
"""Bytes a document is taken for, where a corpus in memory is cut into pieces."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file, a saved dataset or a corpus.

    Attributes:
        input: number of the input it belongs to.
        path: where it lies, or the corpus's name.
        name: in ids: relative to the input's path.
        kind: text, jsonl, parquet, datasets or corpus.
    """

    input: int
    path: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a source that is read on its own.

    Attributes:
        source: what it is a stretch of.
        start: first byte (jsonl), row group (parquet), row (datasets) or document (corpus).
        stop: one after the last; -1 for the end of the file.
        size: bytes, about.
        key: SHA-256 of the source's content.
    """

    source: Source
    start: int
    stop: int
    size: int
    key: str


def list_sources(inputs: Sequence[Input]) -> list[Source]:
    """Every file, dataset and corpus of the inputs, in order of inputs and names.

    Raises:
        InputError: a path without anything to read, or one source name for two inputs with equal file names.
    """
    found = [source for number, each in enumerate(inputs) for source in _sources(number, each)]
    seen: dict[tuple[str, str], str] = {}
    for source in found:
        key = (inputs[source.input].name, source.name)
        if key in seen:
            raise InputError(
                f"{seen[key]} and {source.path} are both {'/'.join(key)}: name them once, or give their inputs "
                "different source names"
            )
        seen[key] = source.path
    return found


def _sources(number: int, each: Input) -> Iterator[Source]:
    path, kind = Path(each.path), each.format
    if kind == "corpus" or (kind == "auto" and each.path in CORPORA):
        if each.path not in CORPORA:
            raise InputError(f"inputs: no corpus {each.path!r}: {suggest(each.path, CORPORA)}")
        yield Source(number, each.path, each.path, "corpus")
    elif not path.exists():
        raise InputError(f"inputs: {each.path} is neither a file or folder nor one of {', '.join(CORPORA)}")
    elif kind == "datasets" or (kind == "auto" and any((path / mark).is_file() for mark in MARKS)):
        yield Source(number, each.path, path.name, "datasets")
    elif path.is_file():
        yield Source(number, each.path, path.name, _kind(path.name) or "text" if kind == "auto" else kind)
    else:
        files = sorted(_walk(path, kind))
        if not files:
            known = ", ".join(s for kinds in SUFFIXES.values() for s in kinds)
            raise InputError(f"inputs: {each.path} holds no file to read: expected {known}")
        for name, file, found in files:
            yield Source(number, str(file), name, found)


def _kind(name: str) -> str:
    return next((kind for kind, suffixes in SUFFIXES.items() if name.endswith(suffixes)), "")


def _walk(folder: Path, kind: str) -> Iterator[tuple[str, Path, str]]:
    """Relative name, path and kind of the readable files, without hidden names and links to folders."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            found = _kind(name)
            if found and not name.startswith(".") and kind in ("auto", found):
                path = Path(where, name)
                yield path.relative_to(folder).as_posix(), path, found


def digest(source: Source, split: str = "") -> tuple[str, int]:
    """SHA-256 and bytes of a source's content.

    Raises:
        InputError: a file cannot be opened.
    """
    if source.kind == "corpus":
        loaded = corpus(source.path)
        return loaded.fingerprint, sum(len(document.text.encode()) for document in loaded.documents)
    path = Path(source.path)
    files = [path] if path.is_file() else sorted(file for file in (path / split).rglob("*") if file.is_file())
    whole, size = hashlib.sha256(), 0
    for file in files:
        try:
            with open(file, "rb") as data:
                one = hashlib.file_digest(data, "sha256")
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from None
        if path.is_file():
            return one.hexdigest(), file.stat().st_size
        whole.update(f"{file.relative_to(path).as_posix()} {one.hexdigest()}\n".encode())
        size += file.stat().st_size
    return whole.hexdigest(), size


def pieces(source: Source, each: Input, key: str, size: int, part_bytes: int) -> list[Piece | Bad]:
    """Cuts a source into stretches of about ``part_bytes``; a Parquet file that cannot be opened is ``Bad``."""
    if source.kind == "text" or (source.kind == "jsonl" and source.path.endswith(".gz")):
        return [Piece(source, 0, -1, size, key)]
    if source.kind == "jsonl":
        return [
            Piece(source, start, min(size, start + part_bytes), min(size, start + part_bytes) - start, key)
            for start in range(0, size, part_bytes)
        ]
    if source.kind == "parquet":
        return _row_groups(source, key)
    if source.kind == "datasets":
        rows = len(saved_dataset(source.path, each.split))
    else:
        rows = len(corpus(source.path).documents)
    step = max(1, part_bytes * rows // max(1, size))
    return [
        Piece(source, start, min(rows, start + step), size * (min(rows, start + step) - start) // rows, key)
        for start in range(0, rows, step)
    ]


def _row_groups(source: Source, key: str) -> list[Piece | Bad]:
    pa = arrow()
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(source.path) as file:
            groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        return [Bad("Parquet file", f"{source.path} is no whole Parquet file ({_first_line(error)})")]
    return [Piece(source, i, i + 1, size, key) for i, size in enumerate(groups)]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


def parts(found: Sequence[Piece], part_bytes: int) -> list[tuple[Piece, ...]]:
    """Puts neighbouring pieces together until they reach ``part_bytes``."""
    grouped: list[list[Piece]] = [[]]
    size = 0
    for piece in found:
        if grouped[-1] and size + piece.size > part_bytes:
            grouped.append([])
            size = 0
        grouped[-1].append(piece)
        size += piece.size
    return [tuple(group) for group in grouped if group]


def saved_dataset(path: str, split: str) -> Any:
    """The ``datasets.Dataset`` in a folder of ``save_to_disk``.

    Raises:
        InputError: the folder is none, or holds several splits and none was named.
        MissingExtra: ``datasets`` is not installed.
    """
    try:
        from datasets import Dataset, load_from_disk
    except ImportError:
        raise MissingExtra("datasets", "hf") from None
    try:
        found = load_from_disk(path)
    except Exception as error:  # the library raises whatever the broken file made it stumble over
        raise InputError(f"{path} is no dataset that save_to_disk wrote ({_first_line(error)})") from None
    if isinstance(found, Dataset):
        return found
    if split not in found:
        raise InputError(f"inputs: split = {split!r} is not in {path}: {suggest(split, map(str, found))}")
    return found[split]
