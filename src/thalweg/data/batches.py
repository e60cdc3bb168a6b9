"""Batches as a pure function of (seed, step): nothing to save, exact to resume, the same on any number of workers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from thalweg.data.permutation import permute, random_words
from thalweg.errors import InputError

__all__ = ["Batches", "validation_batches"]


@dataclass(frozen=True)
class Batches:
    """Windows of ``context`` + 1 neighbouring tokens in a shuffled order.

    An epoch cuts the tokens into ``windows`` windows that start every ``context`` tokens (neighbours share one
    token, so each token but the first is a target once) and visits each exactly once in an order keyed by (seed,
    epoch). With ``shift`` the cuts of each epoch start at an offset in 0 … context − 1, also keyed by (seed, epoch), so
    that the edges of windows move; then up to two contexts of tokens at the ends sit an epoch out. A batch that crosses
    the end of an epoch takes the rest from the next.

    Attributes:
        tokens: integer array (n,), in memory or memory-mapped.
        context: inputs in a window, ≥ 1; a row has one token more.
        batch: rows in a global batch, ≥ 1, over all workers.
        seed: of the order.
        shift: move the windows' edges from epoch to epoch.
        windows: windows in an epoch (computed).

    Raises:
        InputError: a count is below 1, or the tokens do not fill one window.
    """

    tokens: np.ndarray = field(repr=False)
    context: int
    batch: int
    seed: int = 0
    shift: bool = True
    windows: int = field(init=False)

    def __post_init__(self) -> None:
        needed = 2 * self.context if self.shift else self.context + 1
        tokens = _checked("training", self.tokens, self.context, self.batch, needed=needed)
        usable = len(tokens) - (self.context if self.shift else 1)
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "windows", usable // self.context)

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> np.ndarray:
        """The rows of one optimizer step, int64 (batch / world, context + 1).

        Args:
            step: 0-based.
            rank: which worker; the rows of ranks 0 … world − 1, concatenated, are those of ``world=1``.
            world: number of workers; divides ``batch``.

        Raises:
            InputError: ``step`` is negative, ``world`` does not divide ``batch`` or ``rank`` is not below ``world``.
        """
        if step < 0 or world < 1 or not 0 <= rank < world:
            raise InputError(f"step {step}, rank {rank}, world {world}: step ≥ 0 and 0 ≤ rank < world are needed")
        if self.batch % world:
            raise InputError(f"batch {self.batch} cannot be shared by {world} workers: choose a multiple of {world}")
        rows = self.batch // world
        starts = self.starts(step * self.batch + rank * rows, rows)
        return self.tokens[starts[:, None] + np.arange(self.context + 1)].astype(np.int64)

    def starts(self, first: int, count: int) -> np.ndarray:
        """Positions of the first tokens of samples first … first + count − 1, int64 (count,); random access."""
        parts = []
        stop = first + count
        while first < stop:
            epoch, inside = divmod(first, self.windows)
            upto = min(stop - first, self.windows - inside)
            order = permute(np.arange(inside, inside + upto), self.windows, seed=self.seed, epoch=epoch)
            offset = int(random_words(self.seed, epoch)[-1]) % self.context if self.shift else 0
            parts.append(order * self.context + offset)
            first += upto
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def epochs(self, step: int) -> float:
        """How many times the data has been seen before optimizer step ``step``."""
        return step * self.batch / self.windows


def validation_batches(
    tokens: np.ndarray, *, context: int, batch: int, count: int | None = None
) -> tuple[np.ndarray, ...]:
    """Fixed windows spread evenly over a split, the same for every seed.

    Args:
        tokens: integer array (n,).
        context: inputs in a window, ≥ 1.
        batch: rows in a batch, ≥ 1; the last batch may have fewer.
        count: number of windows, ≥ 1; all that the split holds if None or larger than that.

    Returns:
        int64 arrays (≤ batch, context + 1); windows do not share targets.

    Raises:
        InputError: a count is below 1, or the tokens do not fill one window.
    """
    tokens = _checked("validation", tokens, context, batch, needed=context + 1)
    available = (len(tokens) - 1) // context
    if count is not None and count < 1:
        raise InputError(f"count is {count}: at least one validation window is needed")
    count = min(available, count or available)
    starts = (2 * np.arange(count) + 1) * available // (2 * count) * context
    rows = tokens[starts[:, None] + np.arange(context + 1)].astype(np.int64)
    return tuple(rows[i : i + batch] for i in range(0, count, batch))


def _checked(split: str, tokens: np.ndarray, context: int, batch: int, *, needed: int) -> np.ndarray:
    """The tokens as a plain array (indexing numpy's memmap class is slower), or an error."""
    for word, value in (("context", context), ("batch", batch)):
        if value < 1:
            raise InputError(f"{word} is {value}: at least 1 is needed")
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise InputError(f"tokens have shape {tokens.shape} and type {tokens.dtype}: expected integers (n,)")
    if len(tokens) < needed:
        raise InputError(
            f"the {split} text has {len(tokens)} tokens but context {context} needs at least {needed}: "
            "use more text or a smaller context"
        )
    return tokens
