"""A source as an endless row of windows with random access: position -> epoch -> window -> pieces of documents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from thalweg.data.permutation import permute
from thalweg.data.plan.draws import key_of
from thalweg.data.plan.pack import Packed, Pieces, concat_windows, pack

__all__ = ["Stream"]

KEPT = 2
"""Epochs whose order is in memory: a batch may lie across a boundary."""
PART = 2**14
"""Windows looked at together."""


class Stream:
    """Documents gone through again and again.

    Position p is window p mod ``windows`` of epoch p div ``windows``; every epoch delivers each document as often as it
    is listed. In uniform order the windows of an epoch are shuffled too, so that the parts of a long document lie
    apart. Best-fit packing is done once and its windows take a new order in each epoch, since their number depends on
    the order in which documents come.

    Args:
        documents: (n,) numbers of documents, one entry a copy.
        lengths: (n,) their tokens.
        arrange: gives the order of the entries in an epoch, a permutation of 0 … n - 1.
        context: inputs of a window.
        packing: "concat", "pack" or "pad".
        shuffle: whether all windows are shuffled (uniform order).
        mix: else, how many neighbours are shuffled among themselves; 0 and 1 keep the order.
        key: of the shuffles.
    """

    def __init__(
        self,
        documents: np.ndarray,
        lengths: np.ndarray,
        arrange: Callable[[int], np.ndarray],
        *,
        context: int,
        packing: str,
        shuffle: bool,
        mix: int = 0,
        key: int,
    ) -> None:
        self.documents, self.lengths = documents, lengths
        self.context, self.packing, self.shuffle, self.mix, self.key = context, packing, shuffle, mix, key
        self._arrange = arrange
        self._kept: dict[int, tuple[np.ndarray, Packed]] = {}
        self.tokens = int(lengths.sum())
        whole = packing == "concat"
        self.windows = concat_windows(self.tokens, context) if whole else self._epoch(0)[1].windows

    def _epoch(self, number: int) -> tuple[np.ndarray, Packed]:
        """The order of the entries in an epoch, and the windows that they make."""
        number = 0 if self.packing == "pack" else number
        if number not in self._kept:
            order = self._arrange(number)
            made = order, pack(self.lengths[order], self.context, self.packing)
            for old in sorted(self._kept, key=lambda each: abs(each - number))[KEPT - 1 :]:
                del self._kept[old]
            self._kept[number] = made
        return self._kept[number]

    def read(self, position: np.ndarray) -> tuple[np.ndarray, Pieces, np.ndarray]:
        """What the windows at some positions hold.

        Args:
            position: int64 (m,), all of one epoch.

        Returns:
            The document of each piece; the pieces; and the document that follows each, -1 where none is to be read.
        """
        number, inside = int(position[0]) // self.windows, position % self.windows
        order, packed = self._epoch(number)
        if self.shuffle:
            inside = permute(inside, self.windows, seed=self.key, epoch=number)
        elif self.mix > 1:
            inside = self._mixed(inside, number)
        pieces = packed.pieces(inside)
        after = self.documents[order[np.minimum(pieces.slot + 1, len(order) - 1)]]
        return self.documents[order[pieces.slot]], pieces, np.where(pieces.follows, after, -1)

    def _mixed(self, inside: np.ndarray, epoch: int) -> np.ndarray:
        """Windows ``inside`` an epoch after each group of ``mix`` neighbours was shuffled."""
        group, place = np.divmod(inside, self.mix)
        found = np.empty_like(inside)
        for each in np.unique(group).tolist():
            mine, first = group == each, each * self.mix
            size = min(self.mix, self.windows - first)
            found[mine] = first + permute(place[mine], size, seed=key_of(self.key, "mix", each), epoch=epoch)
        return found

    def delivered(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """How many tokens of each document come in the windows at positions first … last - 1.

        Returns:
            Numbers of documents, rising, and their tokens, both int64; a whole epoch gives each copy's length.
        """
        numbers, place = np.unique(self.documents, return_inverse=True)
        total = np.zeros(len(numbers), dtype=np.int64)
        while first < last:
            upto = min(last, (first // self.windows + 1) * self.windows)
            if upto - first == self.windows:
                epochs = (last - first) // self.windows
                total += epochs * np.bincount(place, weights=self.lengths, minlength=len(numbers)).astype(np.int64)
                first += epochs * self.windows
                continue
            for start in range(first, upto, PART):
                found, pieces, _ = self.read(np.arange(start, min(start + PART, upto)))
                where = np.searchsorted(numbers, found)
                total += np.bincount(where, weights=pieces.length, minlength=len(numbers)).astype(np.int64)
            first = upto
        return numbers, total
