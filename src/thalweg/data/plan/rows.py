"""Windows as token ids: inputs, targets, and which document each token is of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from thalweg.data.plan.order import Order
from thalweg.errors import InputError

__all__ = ["IGNORE", "Piece", "Rows", "TokenDataset", "pieces_of", "read_rows"]

IGNORE = -100
"""A target that is not scored."""


class Rows(NamedTuple):
    """Windows as arrays; C is the plan's context.

    Attributes:
        ids: int64 (m, C), padding is the end token.
        targets: int64 (m, C), the token after each; IGNORE where none is to be predicted.
        segments: int32 (m, C), number of the document within its window, -1 at padding; None where nobody asks.
        source: int32 (m,), which of the plan's sources the window's first document is of.
    """

    ids: np.ndarray
    targets: np.ndarray
    segments: np.ndarray | None
    source: np.ndarray


class Piece(NamedTuple):
    """The pieces of some windows, arrays (p,) in the order of the windows.

    Attributes:
        row: which of the asked windows.
        document: its number in the library.
        start: first token within it.
        length: tokens.
        after: the document whose first token is the target of the last; -1 where there is none.
    """

    row: np.ndarray
    document: np.ndarray
    start: np.ndarray
    length: np.ndarray
    after: np.ndarray


def pieces_of(order: Order, numbers: np.ndarray) -> Piece:
    """What the windows of these numbers hold.

    Args:
        order: the plan made concrete.
        numbers: int64 (m,), each in 0 … order.total - 1.
    """
    found: list[tuple[np.ndarray, ...]] = []
    for mine, stretch, name, position in order.places(numbers):
        stream = stretch.streams[name]
        epoch = position // stream.windows
        for each in np.unique(epoch):
            chosen = epoch == each
            document, pieces, after = stream.read(position[chosen])
            found.append((mine[chosen][pieces.row], document, pieces.start, pieces.length, after))
    joined = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    by_row = np.argsort(joined[0], kind="stable")
    return Piece(*(each[by_row] for each in joined))


def read_rows(order: Order, index: np.ndarray) -> Rows:
    """The windows at places ``index`` of the order, without those that the plan skips.

    Raises:
        InputError: a place outside the plan.
    """
    index = np.asarray(index, dtype=np.int64)
    if len(index) and not (index.min() >= 0 and index.max() < len(order)):
        raise InputError(f"window {int(index.max())} is asked for but the plan has {len(order):,}: lengthen its phases")
    library, context = order.library, order.plan.context
    piece = pieces_of(order, order.numbers(index))
    ends = np.cumsum(piece.length)
    opens = np.searchsorted(piece.row, np.arange(len(index)))  # first piece of each row
    before = ends - piece.length
    column = before - before[opens][piece.row]
    place = np.repeat(piece.row * context + column - before, piece.length) + np.arange(int(ends[-1]))
    address = library.begin[piece.document] + piece.start
    tokens = library.gather(address, piece.length)
    ids = np.full(len(index) * context, max(library.end, 0), dtype=np.int64)
    ids[place] = tokens
    following = np.append(tokens[1:], IGNORE)
    following[ends - 1] = _successors(order, piece, address)
    targets = np.full(len(index) * context, IGNORE, dtype=np.int64)
    targets[place] = following
    segments = np.full(len(index) * context, -1, dtype=np.int32)
    segments[place] = np.repeat(np.arange(len(piece.row)) - opens[piece.row], piece.length)
    source = library.owners[piece.document[opens]].astype(np.int32)
    shape = (len(index), context)
    return Rows(ids.reshape(shape), targets.reshape(shape), segments.reshape(shape), source)


def _successors(order: Order, piece: Piece, address: np.ndarray) -> np.ndarray:
    """The token after each piece: of the same document, else the next one's first, else IGNORE."""
    library = order.library
    inside = (piece.start + piece.length < library.lengths[piece.document]) | library.flat
    where = np.where(inside, address + piece.length, library.begin[np.maximum(piece.after, 0)])
    known = inside | (piece.after >= 0)
    out = np.full(len(address), IGNORE, dtype=np.int64)
    if known.any():
        out[known] = library.gather(where[known], np.ones(int(known.sum()), dtype=np.int64))
    return out


class TokenDataset:
    """A plan as a data set with random access, for ``torch.utils.data.DataLoader`` and Hugging Face's Trainer.

    Item i is a dict of numpy arrays: ``input_ids`` and ``labels`` (C,), labels in the Hugging Face convention (not
    shifted; -100 is not scored); ``targets`` (C,), the same shifted, with the token after the window's last; ``source``
    and ``sample``, two numbers; with the plan's ``doc_mask`` also ``position_ids``, which start anew with each
    document, and ``segments``, the document's number within the window.

    Args:
        order: the plan made concrete.
        about: also give ``ids``, the documents' ids (lists, which torch does not collate), and the source's name.
    """

    def __init__(self, order: Order, *, about: bool = False) -> None:
        self.order, self.about = order, about

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        return self.__getitems__([index])[0]

    def __getitems__(self, index: Sequence[int]) -> list[dict[str, Any]]:
        """Several items at once, which is faster."""
        asked = np.asarray(index, dtype=np.int64)
        rows = read_rows(self.order, asked)
        fields: dict[str, Any] = {"input_ids": rows.ids, "labels": labels(rows), "targets": rows.targets}
        if self.order.plan.doc_mask and rows.segments is not None:
            fields |= {"position_ids": positions(rows.segments), "segments": rows.segments}
        fields |= {"source": rows.source.astype(np.int64), "sample": asked}
        items = [{name: values[place] for name, values in fields.items()} for place in range(len(asked))]
        if self.about:
            piece = pieces_of(self.order, self.order.numbers(asked))
            for row, document in zip(piece.row.tolist(), piece.document.tolist(), strict=True):
                items[row].setdefault("ids", []).append(self.order.library.id(document))
            for item in items:
                item["source_name"] = self.order.library.names[int(item["source"])]
        return items


def labels(rows: Rows) -> np.ndarray:
    """Targets moved one place to the right, as models expect that shift them themselves; the last target is lost."""
    out = np.empty_like(rows.targets)
    out[:, 0] = rows.ids[:, 0]
    out[:, 1:] = rows.targets[:, :-1]
    return out


def positions(segments: np.ndarray) -> np.ndarray:
    """Position of each token within its document in the window, int64, of the shape of ``segments``."""
    place = np.arange(segments.shape[1])
    new = np.ones(segments.shape, dtype=bool)
    new[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return place - np.maximum.accumulate(np.where(new, place, 0), axis=1)
