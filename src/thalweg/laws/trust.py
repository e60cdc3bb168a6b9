"""How far a schedule lies beyond the fitted curves, and what its predicted final loss is worth.

The rule, applied to the worst of its parts:

| part                                               | high   | medium | low     |
|----------------------------------------------------|--------|--------|---------|
| rate sum / largest fitted rate sum                 | <= 1.25| <= 3   | above   |
| summed fall of the rate / largest seen             | <= 1.1 | <= 2   | above   |
| fall within a tenth of the run / fastest seen      | <= 1.5 | <= 4   | above   |
| least rate seen / least rate asked                 | <= 1.25| <= 10  | above   |
| peak / fitted peak, or its inverse                 | <= 1.02| <= 1.1 | above   |
| fall of the loss still ahead                       | <= 5 % | <= 15 % | above   |
| error of the backtest                              | <= 1 % | <= 2 %  | above   |
| half width of the 90 % interval / loss             | <= 0.5 %| <= 2 %| above   |

The fall still ahead is that over the last half of the longest curve (the one of the largest rate sum) times log2 of
the rate sum's ratio. The backtest fits the law to the first 60 % of every curve and foretells their ends. The
interval adds in quadrature the bootstrap's spread, the late noise, half the spread between this law and those rivals
that fit the same points at most twice as badly, and the backtest's error.

Source: our own; docs/cards/laws.md shows how it did on schedules that were then run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from thalweg.errors import InputError

if TYPE_CHECKING:
    from thalweg.laws.law import Law

__all__ = ["RULE", "Trust", "judge"]

RULE = {
    "rate sum": (1.25, 3.0),
    "fall of the rate": (1.1, 2.0),
    "speed of the fall": (1.5, 4.0),
    "least rate": (1.25, 10.0),
    "peak": (1.02, 1.1),
    "still falling": (0.05, 0.15),
    "backtest": (0.01, 0.02),
    "interval": (0.005, 0.02),
}
CLOSE = 2.0  # a rival counts where its training error is at most this times the law's
Z90 = 1.645  # standard deviations in half a 90 % interval
Level = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Trust:
    """What a prediction is worth.

    Attributes:
        level: ``high``, ``medium`` or ``low``: the worst part of the rule.
        reason: the parts that set the level, in words.
        final_loss: predicted loss at the last step, nats per token.
        interval: 90 % interval of that loss for a run.
        spread: largest difference from a rival law's final loss, nats per token (0 without rivals).
        finals: final loss by every law fitted to the same points.
        beyond: the rule's ratios, 1 or less where the schedule stays within what was seen.
    """

    level: Level
    reason: str
    final_loss: float
    interval: tuple[float, float]
    spread: float
    finals: Mapping[str, float]
    beyond: Mapping[str, float]


def judge(law: Law, rates: np.ndarray, warmup_steps: int, *, drawn: np.ndarray | None = None) -> Trust:
    """The report for one schedule.

    Args:
        law: fitted.
        rates: of every step, (T,).
        warmup_steps: length of the warmup.
        drawn: final loss by each of the bootstrap's draws, (draws,), where it is known already.

    Raises:
        InputError: the law was written down by hand, so nothing is known about what it saw.
    """
    from thalweg.laws.registry import LAWS

    record = law.record
    if record is None:
        raise InputError(f"this {law.name} law carries no record of a fit; fit it to curves to know how far it reaches")
    final = law.final_loss(rates, warmup_steps=warmup_steps)
    finals, close = {law.name: final}, [0.0]
    for name, rival in record.rivals.items():
        finals[name] = LAWS[name](params=rival.params).final_loss(rates, warmup_steps=warmup_steps)
        if rival.error <= CLOSE * record.error:
            close.append(finals[name] - final)
    spread = max(close, key=abs)
    if drawn is None and len(record.draws):
        drawn = law.draw_curves(rates, warmup_steps, np.array([len(rates) - 1]))
    scatter = 0.0 if drawn is None else float(np.std(drawn))
    tested = record.backtest or 0.0
    half = float(np.hypot(Z90 * np.sqrt(scatter**2 + (record.noise * final) ** 2 + (spread / 2) ** 2), tested * final))
    beyond = _beyond(law, rates, warmup_steps)
    ahead = record.seen.falling * max(0.0, float(np.log2(beyond["rate sum"])))
    parts = beyond | {"still falling": ahead, "backtest": tested, "interval": half / final}
    grades = {name: sum(value > limit for limit in RULE[name]) for name, value in parts.items()}
    worst = max(grades.values())
    level: Level = ("high", "medium", "low")[worst]
    said = [_say(name, value) for name, value in parts.items() if grades[name] == worst and worst > 0]
    reason = "; ".join(said) if said else "the schedule stays within what the fitted curves show"
    return Trust(level, reason, final, (final - half, final + half), float(spread), finals, beyond)


def _beyond(law: Law, rates: np.ndarray, warmup_steps: int) -> dict[str, float]:
    assert law.record is not None
    seen = law.record.seen
    body = rates[min(warmup_steps, len(rates) - 1) :] / seen.peak
    fall = np.concatenate([[0.0], np.cumsum(np.maximum(-np.diff(body), 0.0))])
    window = max(1, len(body) // 10)
    speed = float(np.max(fall[window:] - fall[:-window], initial=0.0))
    peak = float(rates.max() / seen.peak)
    return {
        "rate sum": float(rates.sum() / seen.span),
        "fall of the rate": float(fall[-1]) / max(seen.fallen, 1e-3),
        "speed of the fall": speed / max(seen.speed, 1e-3),
        "least rate": seen.least_rate / max(float(body.min()), 1e-12),
        "peak": max(peak, 1 / peak),
    }


def _say(name: str, value: float) -> str:
    return {
        "rate sum": f"its rate sum is {value:.1f} times the largest fitted one",
        "fall of the rate": f"its rate falls {value:.1f} times as far as any fitted one",
        "speed of the fall": f"its rate falls {value:.1f} times as fast as any fitted one",
        "least rate": f"its rate goes {value:.3g} times below the least fitted one",
        "peak": f"its peak differs from the fitted one by a factor of {value:.2f}",
        "still falling": f"beyond the fitted curves the loss still falls by some {100 * value:.0f} %",
        "backtest": f"fitted to their first 60 %, it misses the ends of its own curves by {100 * value:.1f} %",
        "interval": f"the 90 % interval is +-{100 * value:.1f} % wide",
    }[name]
