"""Batches of stored text mixed with items that are written anew at every showing, a pure function of (seed, step).

A row is of one kind. Row g is generated where floor((g + 1) r) > floor(g r), so among the first n rows floor(n r) are;
rows are equally long, so r is the share of tokens, and every batch has the share to within one row. Generated row j
begins with one item, goes on with others until it is full and cuts the last. Its k-th item follows an order of its own,
keyed by (seed, pass, k): in a pass (as many generated rows as there are items) every item takes each place once, so
nothing starves, and none has a neighbour that stays.

Source: arXiv 2505.18091 (mixture by tokens; a biography's sentences are shuffled and worded anew at every showing).
Differs: 1. rows of the two kinds alternate as evenly as r allows; the paper shuffles. 2. the last item of a row is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from thalweg.data.batches import Batches
from thalweg.data.permutation import permute
from thalweg.errors import InputError

__all__ = ["MixedBatches"]

PLACES = 1 << 20
"""More items than this never stand in one row."""


@dataclass(frozen=True)
class MixedBatches:
    """Stored windows and generated rows in one batch.

    Args:
        stored: windows of text; it gives context, rows of a batch and the seed of everything.
        write: item and random generator to token ids (>= 1 of them), anew at each call.
        items: how many there are, >= 1.
        ratio: r in 0 … 1, share of the tokens that are generated.

    Raises:
        InputError: ``items`` or ``ratio`` is out of range.
    """

    stored: Batches
    write: Callable[[int, np.random.Generator], np.ndarray]
    items: int
    ratio: float

    def __post_init__(self) -> None:
        if self.items < 1 or not 0 <= self.ratio <= 1:
            raise InputError(f"items = {self.items}, ratio = {self.ratio!r}: give items >= 1 and a ratio in 0 … 1")

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> np.ndarray:
        """The rows of one optimizer step, int64 (batch / world, context + 1).

        Args:
            step: 0-based.
            rank: which worker; the rows of ranks 0 … world − 1, concatenated, are those of ``world=1``.
            world: number of workers; divides the batch.

        Raises:
            InputError: as ``Batches.at``, or an item without tokens.
        """
        batch, context = self.stored.batch, self.stored.context
        if step < 0 or world < 1 or not 0 <= rank < world or batch % world:
            raise InputError(
                f"step {step}, rank {rank}, world {world}: step >= 0, 0 <= rank < world and a world that divides "
                f"batch {batch} are needed"
            )
        rows = batch // world
        first = step * batch + rank * rows
        before = self.generated(first + np.arange(rows + 1))
        made = np.diff(before) > 0
        result = np.empty((rows, context + 1), dtype=np.int64)
        if not made.all():
            windows = self.stored.starts(int(first - before[0]), int(rows - made.sum()))
            result[~made] = self.stored.tokens[windows[:, None] + np.arange(context + 1)]
        for row in np.flatnonzero(made):
            result[row] = self._row(int(before[row]))
        return result

    def generated(self, rows: np.ndarray) -> np.ndarray:
        """How many of the first ``rows`` rows are generated: floor(rows · ratio), int64."""
        return np.floor(np.asarray(rows) * self.ratio).astype(np.int64)

    def showings(self, step: int) -> float:
        """How often each item has begun a row before optimizer step ``step``."""
        return int(self.generated(np.array(step * self.stored.batch))) / self.items

    def _row(self, number: int) -> np.ndarray:
        """Generated row ``number``, counted from 0, int64 (context + 1,)."""
        wanted, seed = self.stored.context + 1, self.stored.seed
        turn, inside = divmod(number, self.items)
        rng = np.random.default_rng([seed % 2**64, number])
        parts: list[np.ndarray] = []
        length = place = 0
        while length < wanted:
            order = permute(np.array([inside]), self.items, seed=seed, epoch=-1 - turn * PLACES - place)
            ids = np.asarray(self.write(int(order[0]), rng))
            if ids.ndim != 1 or len(ids) == 0:
                raise InputError(f"write gave item {int(order[0])} no tokens: give a vector of at least one")
            parts.append(ids[: wanted - length])
            length, place = length + len(ids), place + 1
        return np.concatenate(parts).astype(np.int64)
