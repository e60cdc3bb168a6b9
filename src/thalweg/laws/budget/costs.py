"""What each choice of a plan costs: the predicted loss of its neighbours, minus the plan's.

Differences are taken draw by draw, so that what all draws share cancels. A neighbour that a law says nothing about is
left out.

Source: our own; the rows for rate and batch are read off published sweeps (`published.STRAYING`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.laws.budget.published import STRAYING, STRAYING_SOURCE
from thalweg.laws.budget.quantities import quantity_text
from thalweg.laws.budget.search import Data
from thalweg.laws.budget.sizes import LEVELS, SizeLaw, loss_at

__all__ = ["TradeOff", "choice_rows", "groups", "neighbours", "straying_rows"]

SIZE_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
LENGTHS = (0.5, 1.0, 2.0, 4.0)
EPOCHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@dataclass(frozen=True, slots=True)
class TradeOff:
    """A neighbour of the plan.

    Attributes:
        choice: what is changed: ``model size``, ``longer training``, ``epochs``, ``learning rate``, ``batch``, …
        setting: the neighbour, in words.
        loss: its predicted loss minus the plan's, nats per token.
        low: lower end of the difference's interval; NaN where none is known.
        high: upper end.
        flops: what it takes to train, relative to the plan.
        basis: the law that says so.
        chosen: whether it is the plan itself.
    """

    choice: str
    setting: str
    loss: float
    low: float
    high: float
    flops: float
    basis: str
    chosen: bool = False


def choice_rows(law: SizeLaw, size: float, tokens: float, data: Data, most: float) -> list[TradeOff]:
    """Rows on model size at the plan's FLOPs, length at its size, and epochs of the data at hand at its FLOPs.

    Args:
        law: of size and data.
        size: the plan's N.
        tokens: the plan's D, repetitions counted.
        data: at hand.
        most: limit on D; neighbours beyond it are left out.
    """
    wanted: list[tuple[str, str, float, float, bool]] = []
    for factor in SIZE_FACTORS:
        n, d = size * factor, tokens / factor
        if d <= most * 1.001:
            words = f"{_times(factor)}{quantity_text(n)} parameters, {quantity_text(d)} tokens"
            wanted.append(("model size", words, n, d, factor == 1))
    for factor in LENGTHS:
        d = tokens * factor
        if d <= most * 1.001:
            words = f"{_times(factor)}{quantity_text(d)} tokens, {d / size:.3g} a parameter"
            wanted.append(("longer training", words, size, d, factor == 1))
    if data.unique is not None:
        own = tokens / data.unique
        for epochs in sorted({*(k for k in EPOCHS if abs(math.log(k / own)) > 0.05), own}):
            d = epochs * data.unique
            n = size * tokens / d
            if d <= most * 1.001 and 1e-3 < n / size < 1e3:
                wanted.append(("epochs", f"{epochs:.3g}: {quantity_text(n)} parameters", n, d, epochs == own))
    sizes, lengths = (np.array([row[k] for row in wanted]) for k in (2, 3))
    drawn = law.draws()
    losses = loss_at(drawn, sizes, data.fresh(lengths)) - loss_at(drawn, np.array([size]), data.fresh(np.array(tokens)))
    lows, highs = np.quantile(losses, LEVELS, axis=0) if len(drawn) > 1 else (np.full(len(wanted), np.nan),) * 2
    return [
        TradeOff(
            choice, words, float(losses[0, k]), float(lows[k]), float(highs[k]), n * d / (size * tokens), law.name, same
        )
        for k, (choice, words, n, d, same) in enumerate(wanted)
    ]


def straying_rows(rate: float, batch: int | None, context: int) -> list[TradeOff]:
    """What a factor of rate or batch cost in published sweeps, for the values of the plan."""
    rows = []
    for choice, table in STRAYING.items():
        for factor, middle, least, most in table:
            if choice == "learning rate":
                words = f"{_times(factor)}{rate * factor:.3g}"
            elif batch is None or batch * factor < 1:
                continue
            else:
                words = f"{_times(factor)}{quantity_text(batch * factor * context)} tokens"
            rows.append(TradeOff(choice, words, middle, least, most, 1.0, STRAYING_SOURCE))
    return rows


def _times(factor: float) -> str:
    if factor == 1:
        return ""
    return f"\N{MULTIPLICATION SIGN} {factor:g}: " if factor > 1 else f"\N{DIVISION SIGN} {1 / factor:g}: "


def neighbours(rows: Sequence[TradeOff]) -> list[TradeOff]:
    """Of each choice at the plan's FLOPs the neighbour on either side: beside the plan's row, or half and twice."""
    found = []
    for same in groups([row for row in rows if row.choice != "longer training"]).values():
        at = next((k for k, row in enumerate(same) if row.chosen), None)
        if at is None or same[0].choice == "schedule":
            near = [row for row in same if not row.chosen and (at is not None or _halved(row.setting))]
        else:
            near = same[max(at - 1, 0) : at] + same[at + 1 : at + 2]
        found += near
    return found


def _halved(setting: str) -> bool:
    return setting.startswith((f"{_times(0.5)}", f"{_times(2)}"))


def groups(rows: Sequence[TradeOff]) -> dict[str, list[TradeOff]]:
    """The rows by choice, in their order."""
    found: dict[str, list[TradeOff]] = {}
    for row in rows:
        found.setdefault(row.choice, []).append(row)
    return found
