"""Second pass over a part: removed documents are left out, the rest is written and tokenised.

A part's files in the output are written one after the other, each whole or not at all; a mark in the work folder, with
their sizes and hashes, is written last.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.data.document import hashed_share
from thalweg.data.preparing.batches import arrow
from thalweg.data.preparing.staging import Staged, parquet_file
from thalweg.data.shards import write_shard
from thalweg.data.tokens import BPETokenizer, Tokenizer, train_bpe
from thalweg.files import write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Finishing", "kept_batches", "train_tokenizer"]


@dataclass(frozen=True)
class Finishing:
    """The second pass: called with a part's number it writes that part, or finds it written.

    Attributes:
        folder: the output.
        marks: folder of the marks and of the ``duplicates`` arrays.
        staged: the parts that have documents left.
        scores: all score columns.
        tokenizer: or None, if there is no tokenisation.
    """

    folder: Path
    marks: Path
    staged: Sequence[Staged] = field(repr=False)
    scores: tuple[str, ...] = ()
    tokenizer: Tokenizer | None = None

    def __call__(self, number: int) -> dict[str, Any]:
        """What the manifest says of a part.

        Raises:
            OSError: the disk refuses; no mark is left, so the part is written anew.
        """
        name = f"part-{number:05d}"
        mark = self.marks / f"{name}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(mark.read_text(encoding="utf-8"))
            if all((self.folder / file).stat().st_size == size for file, size in found["files"].items()):
                return found
        documents = self.folder / "documents" / f"{name}.parquet"
        columns = self._write_documents(number, documents)
        found: dict[str, Any] = {"name": name, "documents": len(columns["id"]), "bytes": int(columns.pop("bytes"))}
        found["documents_sha256"] = _sha256(documents)
        written = [documents]
        if self.tokenizer is not None:
            path = self.folder / "tokens" / name
            packed = io.BytesIO()
            np.savez(packed, **columns)
            written.append(write_atomic(path.with_name(f"{name}.columns.npz"), packed.getvalue()))
            texts = (text for batch in _batches(documents) for text in batch.column("text").to_pylist())
            header = write_shard(path, texts, self.tokenizer, corpus=found["documents_sha256"]).header
            found |= {"tokens": header.count, "sha256": header.sha256, "columns_sha256": _sha256(written[-1])}
            written += [path.with_name(f"{name}.{suffix}") for suffix in ("bin", "offsets.npy", "json")]
        found["files"] = {file.relative_to(self.folder).as_posix(): file.stat().st_size for file in written}
        write_atomic(mark, json.dumps(found))
        return found

    def _write_documents(self, number: int, path: Path) -> dict[str, Any]:
        """Writes the Parquet file; gives the columns that go beside the tokens, and the bytes of text."""
        pa = arrow()
        wanted = ["id", "domain", *self.scores, "duplicates"]
        held: dict[str, list[Any]] = {name: [] for name in wanted}
        size = 0
        with parquet_file(path) as write:
            for batch in kept_batches(self.staged[number], np.load(self.marks / f"{number:05d}.npy")):
                batch = batch.select(["id", "text", "source", "domain", *self.scores, "duplicates"])
                for name in wanted:
                    held[name].append(batch.column(name))
                size += sum(len(text.encode()) for text in batch.column("text").to_pylist())
                write(batch)
        columns = {name: pa.chunked_array(chunks).to_numpy() for name, chunks in held.items()}
        texts = {name: np.array(columns[name].tolist(), dtype=np.str_) for name in ("id", "domain")}
        return {**columns, **texts, "bytes": size}


def kept_batches(staged: Staged, duplicates: np.ndarray) -> Iterator[pa.RecordBatch]:
    """Documents that stay, with the column ``duplicates``."""
    pa = arrow()
    begin = 0
    for batch in staged.batches():
        counts = duplicates[begin : begin + batch.num_rows]
        begin += batch.num_rows
        batch = batch.append_column("duplicates", pa.array(counts, type=pa.int64())).filter(pa.array(counts > 0))
        if batch.num_rows:
            yield batch


def train_tokenizer(
    staged: Sequence[Staged], duplicates: Sequence[np.ndarray], *, vocab_size: int, megabytes: float
) -> BPETokenizer:
    """Byte-pair encoding learnt from about ``megabytes`` of the documents that stay, picked by the hash of their id."""
    total = sum(int(each.arrays()["sizes"][counts > 0].sum()) for each, counts in zip(staged, duplicates, strict=True))
    share = megabytes * 1e6 / max(1, total)
    texts = (
        text
        for each, counts in zip(staged, duplicates, strict=True)
        for batch in kept_batches(each, counts)
        for name, text in zip(batch.column("id").to_pylist(), batch.column("text").to_pylist(), strict=True)
        if share >= 1 or hashed_share(name) < share
    )
    return train_bpe(texts, vocab_size=vocab_size)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=256, columns=["text"])


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
