"""First pass over a part: read, run the steps, and keep what the comparison of all documents needs.

A finished part is three files named by the part's key: documents (.parquet), what stands for them in comparisons (.npz
and .bands.npy) and the counts (.json), which is written last. Where the counts are, the part is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.data.preparing.batches import Bad, Row, arrow, record_batches, schema, texts_of
from thalweg.data.preparing.config import Input
from thalweg.data.preparing.formats import read_piece
from thalweg.data.preparing.minhash import MinHasher
from thalweg.data.preparing.ops import Op, Remover
from thalweg.data.preparing.pieces import Piece
from thalweg.errors import InputError
from thalweg.files import write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Staged", "Staging", "exact_keys", "parquet_file"]

BAD_PLACES = 20
"""Places of unreadable input that a part remembers; all are counted."""


@dataclass(frozen=True)
class Staging:
    """The first pass over every part: called with a part's number it does that part, or finds it done.

    Attributes:
        folder: where finished parts are kept.
        inputs: of the preparation.
        parts: pieces of each part.
        keys: name of each part's files.
        ops: the steps, in order.
        scores: read score columns.
        skip: whether unreadable input is counted and passed over.
        exact: whether keys of equal texts are kept.
        hasher: of near-duplicates, or None.
    """

    folder: Path
    inputs: tuple[Input, ...]
    parts: Sequence[tuple[Piece, ...]] = field(repr=False)
    keys: Sequence[str] = field(repr=False)
    ops: tuple[Op, ...] = ()
    scores: tuple[str, ...] = ()
    skip: bool = False
    exact: bool = False
    hasher: MinHasher | None = None

    def __call__(self, number: int) -> dict[str, Any]:
        """Counts of a part.

        Raises:
            InputError: input that cannot be read, unless it is skipped.
            OSError: the disk refuses; the part is then absent.
        """
        staged = Staged(self.folder, self.keys[number])
        done = staged.counts()
        if done is not None:
            return done
        tally = _Tally(self.ops)
        kept: dict[str, list[np.ndarray]] = {}
        nothing = arrow().RecordBatch.from_pylist([], schema(()))
        self._remember(kept, nothing, nothing)
        with parquet_file(staged.file("parquet")) as write:
            for batch in record_batches(self._rows(number, tally), self.scores):
                left = self._through(batch, tally)
                self._remember(kept, batch, left)
                if left.num_rows:
                    write(left)
        arrays = {name: np.concatenate(values) for name, values in kept.items()}
        bands = arrays.pop("bands", None)
        if bands is not None:
            write_atomic(staged.file("bands.npy"), _packed(np.save, np.ascontiguousarray(bands.swapaxes(0, 1))))
        write_atomic(staged.file("npz"), _packed(np.savez, **arrays))
        counts = {**tally.to_dict(), "files": staged.sizes()}
        write_atomic(staged.file("json"), json.dumps(counts))
        return counts

    def _rows(self, number: int, tally: _Tally) -> Iterator[tuple[int, str, Row]]:
        for place, piece in enumerate(self.parts[number]):
            each = self.inputs[piece.source.input]
            for row in read_piece(piece, each):
                if isinstance(row, Row):
                    yield place, each.name, row
                elif self.skip:
                    tally.bad(row)
                else:
                    raise InputError(f'{row.message}, or pass over such input with on_bad = "skip"')

    def _through(self, batch: pa.RecordBatch, tally: _Tally) -> pa.RecordBatch:
        tally.read(batch)
        for step, op in enumerate(self.ops):
            if isinstance(op, Remover):
                reasons = op.reasons(batch)
                left = batch.filter(arrow().array([not reason for reason in reasons], type=arrow().bool_()))
                tally.removed(step, reasons)
            else:
                left = op(batch)
            tally.step(step, batch, left)
            batch = left
            if not batch.num_rows:
                break
        return batch

    def _remember(self, kept: dict[str, list[np.ndarray]], read: pa.RecordBatch, left: pa.RecordBatch) -> None:
        """What stands for the documents of a batch as read, and for those of them that are left."""
        arrays = {"read_ids": _digests(read.column("id").to_pylist()), "sizes": _sizes(left)}
        for name in ("piece", "at"):
            arrays[f"read_{name}"] = np.asarray(read.column(name))
        arrays["piece"] = np.asarray(left.column("piece"))
        for name, values in {**arrays, **self._keys(texts_of(left))}.items():
            kept.setdefault(name, []).append(values)

    def _keys(self, texts: list[str]) -> dict[str, np.ndarray]:
        keys = {}
        if self.exact:
            keys["exact"] = exact_keys(texts)
        if self.hasher is not None:
            keys["bands"], keys["signed"] = self.hasher.band_keys(texts)
        return keys


class _Tally:
    """Counts of one part."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self.documents = self.bytes = 0
        self.steps: list[dict[str, Any]] = [
            {"step": op.name, "documents_in": 0, "documents": 0, "bytes_in": 0, "bytes": 0, "removed": Counter()}
            for op in ops
        ]
        self.bad_counts: Counter[str] = Counter()
        self.bad_places: list[str] = []

    def read(self, batch: pa.RecordBatch) -> None:
        self.documents += batch.num_rows
        self.bytes += int(_sizes(batch).sum())

    def bad(self, found: Bad) -> None:
        self.bad_counts[found.reason] += 1
        if len(self.bad_places) < BAD_PLACES:
            self.bad_places.append(found.message)

    def removed(self, step: int, reasons: list[str]) -> None:
        self.steps[step]["removed"].update(reason for reason in reasons if reason)

    def step(self, step: int, before: pa.RecordBatch, after: pa.RecordBatch) -> None:
        counts = self.steps[step]
        counts["documents_in"] += before.num_rows
        counts["documents"] += after.num_rows
        counts["bytes_in"] += int(_sizes(before).sum())
        counts["bytes"] += int(_sizes(after).sum())

    def to_dict(self) -> dict[str, Any]:
        bad = {"counts": dict(self.bad_counts), "places": self.bad_places}
        return {"documents": self.documents, "bytes": self.bytes, "steps": self.steps, "bad": bad}


@dataclass(frozen=True, slots=True)
class Staged:
    """The files of a part after the first pass."""

    folder: Path
    key: str

    def file(self, suffix: str) -> Path:
        """One of the part's files."""
        return self.folder / f"{self.key}.{suffix}"

    def sizes(self) -> dict[str, int]:
        """Bytes of each file but the counts."""
        files = (self.file(suffix) for suffix in ("parquet", "bands.npy", "npz"))
        return {file.name: file.stat().st_size for file in files if file.is_file()}

    def counts(self) -> dict[str, Any] | None:
        """Counts of the part, or None if it is not done or a file has lost bytes since."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self.file("json").read_text(encoding="utf-8"))
            return found if found["files"] == self.sizes() else None
        return None

    def arrays(self) -> dict[str, np.ndarray]:
        """What stands for the documents in comparisons, without the bands; empty arrays of a part without any."""
        with np.load(self.file("npz"), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}

    def bands(self) -> np.ndarray:
        """Band keys uint64 (bands, documents, 2), memory-mapped."""
        return np.load(self.file("bands.npy"), mmap_mode="r")

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Documents as they were kept; none of a part where none was."""
        from pyarrow import parquet

        if not self.file("parquet").is_file():
            return
        with parquet.ParquetFile(self.file("parquet")) as file:
            yield from file.iter_batches(columns=None if columns is None else list(columns))


def exact_keys(texts: Sequence[str]) -> np.ndarray:
    """First 16 bytes of the SHA-1 of each text after NFC with single spaces, uint64 (texts, 2)."""
    forms = (" ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split()) for text in texts)
    return _digests(forms)


def _digests(texts: Sequence[str] | Iterator[str]) -> np.ndarray:
    digests = b"".join(hashlib.sha1(text.encode(), usedforsecurity=False).digest()[:16] for text in texts)
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2)


def _sizes(batch: pa.RecordBatch) -> np.ndarray:
    return np.asarray(arrow().compute.call_function("binary_length", [batch.column("text")]))


def _packed(save: Any, *values: np.ndarray, **named: np.ndarray) -> bytes:
    packed = io.BytesIO()
    save(packed, *values, **named)
    return packed.getvalue()


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """Gives a function that appends batches to a Parquet file, which is there when the block ends, or not at all.

    Batches are gathered into row groups of 16 MB. Without any batch no file is made.
    """
    from pyarrow import parquet

    pa = arrow()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    held: list[pa.RecordBatch] = []
    writer: Any = None

    def flush() -> None:
        nonlocal writer
        if held:
            table = pa.Table.from_batches(held).combine_chunks()
            held.clear()
            writer = writer or parquet.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=max(1, table.num_rows))

    def write(batch: pa.RecordBatch) -> None:
        held.append(batch)
        if sum(each.nbytes for each in held) >= 16 << 20:
            flush()

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield write
        flush()
        if writer is not None:
            writer.close()
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        with suppress(Exception):
            if writer is not None:
                writer.close()
        with suppress(OSError):
            temporary.unlink()
        raise
