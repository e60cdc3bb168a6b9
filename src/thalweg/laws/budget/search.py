"""Size and data of least predicted loss for a budget 6 N D = C, under constraints and with data that may repeat.

Where the unique tokens U are fewer than D, D counts as U E(D / U, U) fresh ones, E the law of repetition. Without
repetition the optimum is the closed form of `ChinchillaSize.best_split`; with it N is searched: a grid of ln N, then
finer grids around its best.

Source: arXiv 2203.15556, section 3.3 (the problem); arXiv 2305.16264 (repetition inside it).
Differs: only data saturate; arXiv 2305.16264 also discounts parameters in excess of what the unique data need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.budget.sizes import SizeLaw, loss_at
from thalweg.laws.reuse import ReuseLaw, passes_worth

__all__ = ["Constraints", "Data", "Split", "best_sizes", "most_tokens", "split"]

POINTS, ZOOMS = 33, 5
REACH = 1e4  # sizes searched reach so far from the closed form
OVERTRAIN = (1e-3, 1e6)


@dataclass(frozen=True, slots=True)
class Constraints:
    """What stands already.

    Attributes:
        params: N, or None.
        tokens: D, repetitions counted, or None.
        tokens_at_most: D may not be more, or None.
        epochs_at_most: the data at hand may be read so often, or None.
        overtrain: tokens a parameter, as a multiple of those of the best split; above 1 makes a smaller model that is
            cheaper to use.
    """

    params: float | None = None
    tokens: float | None = None
    tokens_at_most: float | None = None
    epochs_at_most: float | None = None
    overtrain: float = 1.0

    def __post_init__(self) -> None:
        for name in ("params", "tokens", "tokens_at_most"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 1):
                raise InputError(f"{name} is {value:g}: give a number of at least 1")
        if self.epochs_at_most is not None and not self.epochs_at_most > 0:
            raise InputError(f"epochs_at_most is {self.epochs_at_most:g}: give a number > 0")
        if not OVERTRAIN[0] <= self.overtrain <= OVERTRAIN[1]:
            raise InputError(f"overtrain is {self.overtrain:g}: give a factor from {OVERTRAIN[0]:g} to 1e6, 1 for none")
        if self.overtrain != 1 and (self.params is not None or self.tokens is not None):
            word = "params" if self.params is not None else "tokens"
            raise InputError(f"overtrain and {word} both say how tokens relate to parameters: leave one out")


@dataclass(frozen=True, slots=True)
class Data:
    """The data at hand.

    Attributes:
        unique: unique tokens U, or None where there are always enough.
        reuse: what epochs over them are worth.
    """

    unique: float | None = None
    reuse: ReuseLaw = field(default_factory=ReuseLaw)

    def __post_init__(self) -> None:
        if self.unique is not None and not (math.isfinite(self.unique) and self.unique >= 1):
            raise InputError(f"unique tokens are {self.unique:g}: give the tokens at hand, at least 1")

    def fresh(self, tokens: np.ndarray) -> np.ndarray:
        """Fresh tokens that ``tokens``, repetitions counted, are worth; never more than them."""
        if self.unique is None:
            return tokens
        epochs = np.maximum(tokens / self.unique, 1.0)
        worth = self.unique * passes_worth(epochs, self.reuse.saturation(self.unique))
        return np.where(tokens <= self.unique, tokens, worth)


@dataclass(frozen=True, slots=True)
class Split:
    """A choice of size and data.

    Attributes:
        params: N.
        tokens: D, repetitions counted.
        best: N of least loss at this budget, without constraints on size.
        low: lower end of its 90 % interval.
        high: upper end; equal to the lower where none is known.
    """

    params: float
    tokens: float
    best: float
    low: float
    high: float


def best_sizes(law: SizeLaw, flops: float, data: Data, draws: np.ndarray | None = None) -> np.ndarray:
    """N of least loss at 6 N D = ``flops`` for every drawn law, (draws,)."""
    drawn = law.draws() if draws is None else draws
    a, b, _, alpha, beta = drawn.T
    centre = (np.log(alpha / beta) + a - b + beta * math.log(flops / 6)) / (alpha + beta)
    if data.unique is None or bool((flops / 6 / np.exp(centre) <= data.unique).all()):
        return np.exp(centre)
    low, high = centre - math.log(REACH), np.maximum(centre, math.log(flops / 6 / data.unique)) + math.log(REACH)
    for _ in range(ZOOMS):
        grid = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, POINTS)
        loss = loss_at(drawn, np.exp(grid), data.fresh(flops / 6 / np.exp(grid)))
        at = loss.argmin(axis=1)
        row = np.arange(len(grid))
        low, high = grid[row, np.maximum(at - 1, 0)], grid[row, np.minimum(at + 1, POINTS - 1)]
    return np.exp((low + high) / 2)


def split(law: SizeLaw, flops: float | None, data: Data, constraints: Constraints) -> Split:
    """Chooses N and D.

    Args:
        law: of size and data.
        flops: budget 6 N D; None where ``constraints`` have both size and tokens.
        data: at hand.
        constraints: what stands.

    Raises:
        InputError: budget, size and tokens all given or too few of them, a limit on epochs without data at hand, or a
            fixed amount of data above its limit.
    """
    size, tokens, most = constraints.params, constraints.tokens, most_tokens(data, constraints)
    if flops is None and (size is None or tokens is None):
        raise InputError("there is no budget: give one in FLOPs or GPU hours, or both the parameters and the tokens")
    if flops is not None and size is not None and tokens is not None:
        raise InputError("budget, params and tokens are all given: the third follows from two, leave one out")
    if tokens is not None and tokens > most:
        raise InputError(f"tokens are {tokens:.4g} and may be at most {most:.4g}: change one")
    if flops is None:
        flops = 6 * float(size or 0) * float(tokens or 0)
    drawn = law.draws()
    best = best_sizes(law, flops, data, drawn)
    low, high = np.quantile(best, (0.05, 0.95))
    if size is None:
        wanted = flops / 6 / tokens if tokens is not None else best[0] / math.sqrt(constraints.overtrain)
        size = max(float(wanted), flops / 6 / most) if math.isfinite(most) else float(wanted)
    tokens = min(tokens or flops / 6 / size, most)
    return Split(float(size), float(tokens), float(best[0]), float(low), float(high))


def most_tokens(data: Data, constraints: Constraints) -> float:
    """The limit on D, infinite where there is none.

    Raises:
        InputError: a limit on epochs without the unique tokens.
    """
    most = constraints.tokens_at_most or math.inf
    if constraints.epochs_at_most is not None:
        if data.unique is None:
            raise InputError("a limit on epochs needs the unique tokens at hand: give data_tokens too")
        most = min(most, constraints.epochs_at_most * data.unique)
    return most
