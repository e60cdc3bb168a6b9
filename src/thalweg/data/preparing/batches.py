"""Record batches: the form in which documents go through every step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thalweg.errors import MissingExtra

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Bad", "Row", "arrow", "record_batches", "schema", "texts_of", "with_column", "with_texts"]

ROWS = 1024
"""Documents of a batch at most."""
CHARACTERS = 4 << 20
"""Characters of a batch, unless one document alone has more."""


@dataclass(frozen=True, slots=True)
class Row:
    """One document as it was read.

    Attributes:
        at: where in its piece of input: byte, row or document number.
        id: its id, or empty where the place makes it.
        text: its text.
        domain: what kind of text, or empty for the source's name.
        scores: one number a read score column.
    """

    at: int
    id: str
    text: str
    domain: str = ""
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Bad:
    """Input that cannot be read.

    Attributes:
        reason: in a word or three, for the counts.
        message: where it is and what is wrong.
    """

    reason: str
    message: str


def arrow() -> Any:
    """The pyarrow module.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError:
        raise MissingExtra("pyarrow", "data") from None
    return pyarrow


def schema(scores: Sequence[str]) -> pa.Schema:
    """id, text, source, domain (text), piece (int32) and at (int64): where it stood; and scores (float64)."""
    pa = arrow()
    places = [("piece", pa.int32()), ("at", pa.int64())]
    texts = [(name, pa.string()) for name in ("id", "text", "source", "domain")]
    return pa.schema([*texts, *places, *((name, pa.float64()) for name in scores)])


def record_batches(rows: Iterable[tuple[int, str, Row]], scores: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Groups rows into batches of at most ROWS documents and about CHARACTERS characters.

    Args:
        rows: number of the piece, name of the source, and the document.
        scores: names of the read score columns.
    """
    pa, form = arrow(), schema(scores)

    def batch() -> pa.RecordBatch:
        columns = [
            [row.id for _, _, row in held],
            [row.text for _, _, row in held],
            [source for _, source, _ in held],
            [row.domain or source for _, source, row in held],
            [piece for piece, _, _ in held],
            [row.at for _, _, row in held],
            *([row.scores[i] for _, _, row in held] for i in range(len(scores))),
        ]
        arrays = [pa.array(column, type=kind) for column, kind in zip(columns, form.types, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=form)

    held, size = [], 0
    for item in rows:
        held.append(item)
        size += len(item[2].text)
        if len(held) >= ROWS or size >= CHARACTERS:
            yield batch()
            held, size = [], 0
    if held:
        yield batch()


def texts_of(batch: pa.RecordBatch) -> list[str]:
    """The texts of a batch."""
    return batch.column("text").to_pylist()


def with_texts(batch: pa.RecordBatch, texts: Sequence[str]) -> pa.RecordBatch:
    """The batch with other texts."""
    pa = arrow()
    return batch.set_column(batch.schema.get_field_index("text"), "text", pa.array(texts, type=pa.string()))


def with_column(batch: pa.RecordBatch, name: str, values: Any) -> pa.RecordBatch:
    """The batch with one more column of float64."""
    pa = arrow()
    return batch.append_column(name, pa.array(values, type=pa.float64()))
