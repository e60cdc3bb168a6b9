"""What straying from the plan costs, at a glance: a dot and a bar for every neighbour on one axis of loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from thalweg.laws.budget.costs import neighbours
from thalweg.laws.budget.words import change_text
from thalweg.web.svg import Panel, picture, ticks

if TYPE_CHECKING:
    from thalweg.laws.budget import RunPlan
    from thalweg.laws.budget.costs import TradeOff

__all__ = ["cost_chart"]

ROW = 25.0  # pixels a neighbour
SIZES = (("wide", 872.0, 320.0, 70.0), ("narrow", 390.0, 150.0, 62.0))
LONGEST = 6.0  # times the largest middle value at which bars are cut


def cost_chart(plan: RunPlan) -> Markup:
    """The neighbours of a plan; bars that leave the picture end in an arrow."""
    rows = neighbours(plan.trade_offs)
    if not rows:
        return Markup("")
    middle = max(max(abs(row.loss) for row in rows), 1e-4)
    highs = [row.high if math.isfinite(row.high) else row.loss for row in rows]
    lows = [row.low if math.isfinite(row.low) else row.loss for row in rows]
    end = min(max(highs), LONGEST * middle) * 1.04
    start = min(0.0, *lows)
    said = "; ".join(f"{row.choice}, {row.setting}: {change_text(row.loss)}" for row in rows)
    drawn = []
    for style, width, left, right in SIZES:
        panel = Panel(left, 8, width - left - right, ROW * len(rows), (start, max(end, 1e-4)), (len(rows), 0.0))
        for value in ticks(*panel.x, max(2, round(panel.width / 110))):
            panel.inside.append(f'<path class="grid" d="M{panel.px(value):.1f} 0V{panel.height:g}"/>')
            panel.note(panel.px(value), panel.height + 16, change_text(value).rstrip("0") or "0", "tick", "middle")
        panel.upright(0.0, "zero")
        for k, row in enumerate(rows):
            _row(panel, row, (k + 0.5) * ROW, style == "wide")
        panel.note(panel.width / 2, panel.height + 34, "change of loss, nats per token", "name", "middle")
        title = f"What each choice costs, in nats per token: {said}"
        drawn.append(picture(width, panel.height + 52, title, [panel.draw()], f"chart {style}"))
    return Markup("".join(drawn))


def _row(panel: Panel, row: TradeOff, y: float, wide: bool) -> None:
    colour = "k1" if "published runs" in row.basis else "k0"
    if math.isfinite(row.low):
        first, last = panel.px(row.low), min(panel.px(row.high), panel.width)
        panel.inside.append(f'<path class="mark {colour}" d="M{first:.1f} {y:.1f}H{last:.1f}"/>')
        if panel.px(row.high) > panel.width:
            tip = f"M{panel.width - 6:.1f} {y - 4:.1f}L{panel.width:.1f} {y:.1f}L{panel.width - 6:.1f} {y + 4:.1f}"
            panel.inside.append(f'<path class="mark {colour}" d="{tip}"/>')
    panel.inside.append(f'<path class="dots {colour} small big" d="M{panel.px(row.loss):.1f} {y:.1f}h0"/>')
    setting, _, rest = row.setting.partition(":")
    words = (
        f"{row.choice} {setting}" if not wide else f"{row.choice} {setting}{':' if rest else ''}{rest.split(',')[0]}"
    )
    words = words.replace(", rate tuned again", ", retuned") if not wide else words
    panel.note(-10, y + 4, words, "tick", "end")
    panel.note(panel.width + 8, y + 4, change_text(row.loss), "note")
