"""What the law says of a schedule, and of those it is compared with, which do not depend on the edit and are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.preview import Preview, preview
from thalweg.web.site.designer.points import as_schedule, handy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thalweg.laws import Law
    from thalweg.schedules import Schedule
    from thalweg.web.site.designer.state import Frame

__all__ = ["Outlook", "look", "rivals"]

THIN = 160  # points of a drawn line of rates
NAMES = {"cosine": "cosine", "wsd": "WSD", "optimum": "optimum"}


@dataclass(frozen=True, eq=False, slots=True)
class Outlook:
    """A schedule under a law.

    Attributes:
        name: what the page calls it.
        schedule: the rule.
        warm: steps of its warmup.
        line: steps and rates of a line that shows the rates, kinks included, (n,) each.
        seen: the law's prediction.
        notes: what to know of it.
    """

    name: str
    schedule: Schedule
    warm: int
    line: tuple[np.ndarray, np.ndarray]
    seen: Preview
    notes: tuple[str, ...] = ()

    def above(self, other: Outlook) -> tuple[float, tuple[float, float] | None]:
        """How much lower the other ends, nats per token, and the 90 % interval over the bootstrap's common draws."""
        gap = self.seen.final_loss - other.seen.final_loss
        if not len(self.seen.finals) or len(self.seen.finals) != len(other.seen.finals):
            return gap, None
        low, high = np.percentile(self.seen.finals - other.seen.finals, [5, 95])
        return gap, (float(low), float(high))


def look(law: Law, name: str, schedule: Schedule, rates: np.ndarray, *, notes: tuple[str, ...] = ()) -> Outlook:
    """What the law says of a schedule whose rates (T,) are at hand."""
    warm = schedule.warmup_steps(len(rates))
    return Outlook(name, schedule, warm, _line(rates), preview(law, rates, warm), notes)


def _line(rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spread steps, and both sides of the sharpest changes of slope."""
    early = 2.0 ** np.arange(0, 20) * len(rates) / 2**20  # the start, for a logarithmic axis
    even = np.concatenate([early, np.linspace(0, len(rates) - 1, THIN)]).astype(np.int64)
    if len(rates) > 2:
        sharp = np.argpartition(np.abs(np.diff(rates, 2)), -min(24, len(rates) - 2))[-24:]
        even = np.concatenate([even, sharp, sharp + 1, sharp + 2])
    at = np.unique(np.clip(even, 0, len(rates) - 1))
    return at, rates[at]


def _handy(rates: np.ndarray, frame: Frame) -> Schedule:
    """A designed schedule by few points, to be edited."""
    at = handy(rates, frame.warmup)
    return as_schedule(at.tolist(), rates[at].tolist(), len(rates))


def rivals(law: Law, steps: int, frame: Frame) -> Mapping[str, Outlook | str]:
    """Cosine, WSD and the optimum under the frame's constraints; in place of one that there is not, the reason."""
    from thalweg.laws import design
    from thalweg.schedules import WSD, Cosine

    warm = 1 / steps if frame.warmup == 1 else frame.warmup
    found: dict[str, Outlook | str] = {}
    try:
        head = {"peak": frame.peak, "warmup": warm, "floor": frame.floor}
        length = min(frame.decay or 0.2, steps - frame.warmup)
        for key, schedule in (("cosine", Cosine(**head)), ("wsd", WSD(**head, decay=length))):
            found[key] = look(law, NAMES[key], schedule, schedule.rates(steps))
    except InputError as error:
        return found | dict.fromkeys([key for key in NAMES if key not in found], str(error))
    try:
        best = design(
            law,
            steps=steps,
            peak=frame.peak,
            warmup=frame.warmup,
            floor=frame.floor,
            monotone=not frame.rising,
            decay=frame.decay,
        )
        found["optimum"] = look(law, "optimum", _handy(best.rates, frame), best.rates, notes=best.notes)
    except InputError as error:
        found["optimum"] = str(error)
    return found
