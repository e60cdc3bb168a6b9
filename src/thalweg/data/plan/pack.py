"""From documents in an order to windows of equal length; the order and the documents' boundaries survive.

A window is a row of pieces: stretches of tokens of one document each. Three ways:

    concat   documents end to end, cut every ``context`` tokens; the last window is filled up
    pack     a document goes to the fullest of ``OPEN`` open windows that can take it whole, else to a new one; windows
             come in the order in which they were opened; longer documents are cut, each cut a document of its own
    pad      one document a window, longer ones cut

Source: concat as in GPT-2 and its followers; pack is best-fit bin packing, arXiv 2404.10830.
Differs: pack keeps few windows open instead of sorting all documents by length, so that a curriculum survives.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np

__all__ = ["OPEN", "Packed", "Pieces", "concat_windows", "pack"]

OPEN = 32
"""Windows that "pack" keeps open: a document moves forward by no more than that many windows."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """What some windows hold, piece after piece.

    Attributes:
        row: int64 (p,), which of the asked windows, rising.
        slot: int64 (p,), which document in the order.
        start: int64 (p,), first token within it.
        length: int64 (p,), tokens, >= 1.
        follows: bool (p,), whether the window's target after the piece's last token is the next document's first.
    """

    row: np.ndarray
    slot: np.ndarray
    start: np.ndarray
    length: np.ndarray
    follows: np.ndarray


@dataclass(frozen=True, slots=True)
class _Concat:
    ends: np.ndarray  # int64 (documents + 1,)
    context: int

    @property
    def windows(self) -> int:
        return concat_windows(int(self.ends[-1]), self.context)

    def pieces(self, numbers: np.ndarray) -> Pieces:
        first = numbers * self.context
        last = np.minimum(first + self.context, self.ends[-1])
        low = np.searchsorted(self.ends, first, side="right") - 1
        high = np.searchsorted(self.ends, last, side="left")
        row, slot = _ranges(low, high)
        start = np.maximum(first[row], self.ends[slot])
        stop = np.minimum(last[row], self.ends[slot + 1])
        follows = (stop == self.ends[slot + 1]) & (slot + 2 < len(self.ends))
        return Pieces(row, slot, start - self.ends[slot], stop - start, follows)


@dataclass(frozen=True, slots=True)
class _Listed:
    first: np.ndarray  # int64 (windows + 1,): window w holds pieces first[w] … first[w + 1] - 1
    slot: np.ndarray
    start: np.ndarray
    length: np.ndarray

    @property
    def windows(self) -> int:
        return len(self.first) - 1

    def pieces(self, numbers: np.ndarray) -> Pieces:
        row, piece = _ranges(self.first[numbers], self.first[numbers + 1])
        none = np.zeros(len(row), dtype=bool)
        return Pieces(row, self.slot[piece], self.start[piece], self.length[piece], none)


Packed = _Concat | _Listed


def concat_windows(tokens: int, context: int) -> int:
    """Windows of that many tokens end to end: every token but the first is a target once."""
    return max(1, -(-(tokens - 1) // context))


def pack(lengths: np.ndarray, context: int, how: str = "concat") -> Packed:
    """Windows of documents that come in this order.

    Args:
        lengths: int (n,), tokens of each document in its order, >= 1.
        context: inputs of a window, >= 1.
        how: "concat", "pack" or "pad".

    Returns:
        Something with ``windows``, their number, and ``pieces(numbers)``, what they hold.
    """
    if how == "concat":
        ends = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=ends[1:])
        return _Concat(ends, context)
    cuts = np.maximum(1, -(-(np.asarray(lengths, dtype=np.int64) - 1) // context))
    slot, cut = _ranges(np.zeros(len(cuts), dtype=np.int64), cuts)
    start = cut * context
    length = np.minimum(context, lengths[slot] - start)
    if how == "pad":
        return _Listed(np.arange(len(slot) + 1), slot, start, length)
    window = _best_fit(length.tolist(), context)
    order = np.argsort(window, kind="stable")
    first = np.searchsorted(window[order], np.arange(int(window.max()) + 2))
    return _Listed(first, slot[order], start[order], length[order])


def _best_fit(lengths: list[int], context: int) -> np.ndarray:
    """The window of each piece, int64 (n,), numbered as they were opened."""
    where = np.empty(len(lengths), dtype=np.int64)
    room: list[tuple[int, int]] = []  # (free tokens, window), sorted
    opened = 0
    for number, length in enumerate(lengths):
        place = bisect_left(room, (length, -1))
        if place < len(room):
            free, window = room.pop(place)
        else:
            free, window = context, opened
            opened += 1
            if len(room) >= OPEN:
                room.remove(min(room, key=lambda each: each[1]))
        where[number] = window
        if free > length:
            insort(room, (free - length, window))
    return where


def _ranges(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of the ranges [low, high), one after another, and which range each is of."""
    sizes = high - low
    row = np.repeat(np.arange(len(sizes)), sizes)
    ends = np.cumsum(sizes)
    return row, np.arange(int(ends[-1]) if len(ends) else 0) - (ends - sizes - low)[row]
