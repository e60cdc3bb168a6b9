"""Readers: a piece of a file, dataset or corpus in, documents and what cannot be read out, one after the other.

Memory is that of the longest document and of what the file's own reader holds (a page of a Parquet row group).
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import msgspec

from thalweg.data.corpus import corpus
from thalweg.data.preparing.batches import Bad, Row, arrow
from thalweg.data.preparing.config import Input
from thalweg.data.preparing.pieces import Piece, saved_dataset
from thalweg.errors import InputError, suggest

__all__ = ["READERS", "place", "read_piece"]

PARQUET_ROWS = 256
"""Rows decoded at once."""


def read_piece(piece: Piece, each: Input) -> Iterator[Row | Bad]:
    """Documents of a piece, in order, and a ``Bad`` in place of each that cannot be read."""
    return READERS[piece.source.kind](piece, each)


def place(piece: Piece, at: int) -> str:
    """Where a document stands, for a message."""
    word = {"text": "", "jsonl": f" byte {at}", "parquet": f" row {at}", "datasets": f" row {at}"}
    return piece.source.path + word.get(piece.source.kind, f" document {at}")


def _text(piece: Piece, each: Input) -> Iterator[Row | Bad]:
    """The whole file is one document; its name is its id."""
    with open(piece.source.path, "rb") as file:
        data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield Bad("not UTF-8", f"{piece.source.path} is not UTF-8 text (byte {error.start}): convert it with iconv")
        return
    yield Row(0, f"{each.name}/{piece.source.name}", text, _constant(each))


def _json_lines(piece: Piece, each: Input) -> Iterator[Row | Bad]:
    path = piece.source.path
    opened = gzip.open(path) if path.endswith(".gz") else open(path, "rb")
    with opened as file:
        at = piece.start
        if at:  # a line belongs to the piece in which it begins
            file.seek(at - 1)
            at += len(file.readline()) - 1
        while piece.stop < 0 or at < piece.stop:
            try:
                line = file.readline()
            except (OSError, EOFError, zlib.error) as error:
                yield Bad("broken gzip", f"{path} is broken after byte {at} of its content ({error}): fetch it anew")
                return
            if not line:
                return
            if line.strip():
                yield _json_row(line, at, piece, each)
            at += len(line)


def _json_row(line: bytes, at: int, piece: Piece, each: Input) -> Row | Bad:
    where = partial(_line_place, piece.source.path, at)
    try:
        text = line.decode("utf-8-sig" if at == 0 else "utf-8")
    except UnicodeDecodeError as error:
        return Bad("not UTF-8", f"{where()} is not UTF-8 at byte {at + error.start} of the file: mend or take it out")
    try:
        values = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return Bad("not JSON", f"{where()} is not JSON ({error}): mend or take it out")
    if not isinstance(values, dict):
        return Bad("not JSON", f"{where()} is no JSON object: mend or take it out")
    return _row(values, at, f"{each.name}/{piece.source.name}@{at:012d}", each, where)


def _line_place(path: str, at: int) -> str:
    """File, line and byte; counting the lines costs a pass and is done for a message only."""
    opened = gzip.open(path) if path.endswith(".gz") else open(path, "rb")
    lines, left = 1, at
    with opened as file:
        while left and (data := file.read(min(left, 1 << 20))):
            lines += data.count(b"\n")
            left -= len(data)
    return f"{path} line {lines} (byte {at})"


def _row(values: dict[str, Any], at: int, made: str, each: Input, where: Any) -> Row | Bad:
    """A document from the keys of an object or the columns of a row; ``made`` is its id if it has none of its own."""
    text, own = values.get(each.text), values.get(each.id) if each.id else made
    if not isinstance(text, str):
        found = "absent" if each.text not in values else f"of type {type(text).__name__}"
        return Bad("no text", f"{where()}: {each.text!r} is {found}, expected text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return Bad("not UTF-8", f"{where()}: {each.text!r} has a lone surrogate at character {error.start}")
    if not isinstance(own, (str, int)) or isinstance(own, bool) or own == "":
        return Bad("no id", f"{where()}: {each.id!r} is {own!r}, expected a text or whole number")
    domain = _constant(each)
    if each.domain and not domain:
        domain = values.get(each.domain)
        if not isinstance(domain, str):
            return Bad("no domain", f"{where()}: {each.domain!r} is {domain!r}, expected text")
    numbers = []
    for name in each.scores:
        number = values[name] if name in values else False
        if number is not None and (isinstance(number, bool) or not isinstance(number, (int, float))):
            found = repr(number) if name in values else "absent"
            return Bad("no score", f"{where()}: the score {name!r} is {found}, expected a number or null")
        numbers.append(math.nan if number is None else float(number))
    return Row(at, str(own), text, domain, tuple(numbers))


def _constant(each: Input) -> str:
    return each.domain[1:] if each.domain.startswith("=") else ""


def _wanted(each: Input) -> list[str]:
    named = [each.text, each.id, "" if _constant(each) else each.domain, *each.scores]
    return list(dict.fromkeys(name for name in named if name))


def _check_columns(path: str, each: Input, known: list[str]) -> list[str]:
    for name in _wanted(each):
        if name not in known:
            raise InputError(f"{path} has no column {name!r}: {suggest(name, known)}")
    return _wanted(each)


def _parquet(piece: Piece, each: Input) -> Iterator[Row | Bad]:
    pa = arrow()
    from pyarrow import parquet

    path = piece.source.path
    with parquet.ParquetFile(path) as file:
        columns = _check_columns(path, each, file.schema_arrow.names)
        at = sum(file.metadata.row_group(i).num_rows for i in range(piece.start))
        try:
            for batch in file.iter_batches(PARQUET_ROWS, row_groups=[piece.start], columns=columns):
                for values in _values(batch):
                    made = f"{each.name}/{piece.source.name}@{at:012d}"
                    yield _row(values, at, made, each, partial("{} row {}".format, path, at))
                    at += 1
        except (pa.ArrowException, OSError) as error:
            message = str(error).strip().split("\n")[0].rstrip(".")
            yield Bad("Parquet row group", f"{path} row group {piece.start} is broken after row {at} ({message})")


def _values(batch: Any) -> Iterator[dict[str, Any]]:
    """Rows as dicts; bytes that are no UTF-8 stay bytes."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for i in range(batch.num_rows):
            yield {name: _value(batch.column(name)[i]) for name in batch.schema.names}


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes()


def _datasets(piece: Piece, each: Input) -> Iterator[Row | Bad]:
    path = piece.source.path
    rows = _opened(path, each.split, piece.key)
    rows = rows.select_columns(_check_columns(path, each, rows.column_names))
    for at in range(piece.start, piece.stop):
        made = f"{each.name}/{piece.source.name}@{at:012d}"
        yield _row(rows[at], at, made, each, partial("{} row {}".format, path, at))


def _corpus(piece: Piece, each: Input) -> Iterator[Row | Bad]:
    for at, document in enumerate(_loaded(piece.source.path).documents):
        if piece.start <= at < piece.stop and each.split in ("", document.split):
            domain = _constant(each) or document.domain
            yield Row(at, f"{each.name}/{document.name}", document.text, domain, (math.nan,) * len(each.scores))


_opened = lru_cache(maxsize=2)(lambda path, split, key: saved_dataset(path, split))
_loaded = lru_cache(maxsize=2)(corpus)

READERS = {"text": _text, "jsonl": _json_lines, "parquet": _parquet, "datasets": _datasets, "corpus": _corpus}
"""Readers by the kind of source."""
