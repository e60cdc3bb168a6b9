"""The planner's pictures: loss over model size at the plan's FLOPs, and loss against epochs; both on a log axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from thalweg.laws.budget.quantities import quantity_text
from thalweg.web.svg import Panel, ends, picture

if TYPE_CHECKING:
    from thalweg.laws.budget import RunPlan

__all__ = ["epoch_chart", "size_chart"]

SIZES = (("wide", 872.0, 62.0, 20.0, 250.0), ("narrow", 390.0, 52.0, 12.0, 215.0))
"""Style, width, left and right margin and height of the frame, pixels."""
RISE = 0.25  # nats above the least loss at which the picture ends
NAMES = 188.0  # pixels right of the frame for the lines' names


def size_chart(plan: RunPlan) -> Markup:
    """Loss over parameters with the best size, its interval, and the plan with the interval of a run."""
    curve = plan.sizes
    x = np.log10(curve.sizes)
    top = max(plan.loss.high, min(curve.losses) + RISE) + 0.01
    shown = [k for k, loss in enumerate(curve.losses) if loss <= top] or list(range(len(curve.sizes)))
    first, last = max(shown[0] - 1, 0), min(shown[-1] + 1, len(x) - 1)
    bottom = min(min(curve.low), plan.loss.low)
    y = (bottom - 0.06 * (top - bottom), top)
    title = (
        f"Predicted loss over model size at {plan.flops:.3g} FLOPs: least at {quantity_text(plan.best.value)} "
        f"parameters; the plan has {quantity_text(plan.params)} and ends at {plan.loss.value:.3f} nats per token"
    )
    drawn = []
    for style, width, left, right, height in SIZES:
        panel = Panel(left, 26, width - left - right, height, (float(x[first]), float(x[last])), y)
        panel.axes(x_label="parameters", y_label="loss, nats per token", x_ticks=False)
        _ticks(panel, height)
        if plan.best.known:
            ends_ = (math.log10(plan.best.low), math.log10(plan.best.high))
            panel.band(ends_, (y[0], y[0]), (y[1], y[1]), "k2")
        if curve.low != curve.high:
            panel.band(x.tolist(), curve.low, curve.high, "k0")
        panel.line(x.tolist(), curve.losses, "k0")
        best, own = math.log10(plan.best.value), math.log10(plan.params)
        panel.upright(best, "mark k2")
        _label(panel, best, 16, f"best {quantity_text(plan.best.value)}", "k2 head")
        panel.inside.append(_whisker(panel, own, plan.loss.low, plan.loss.high))
        panel.dots([own], [plan.loss.value], "k1 small big")
        _label(panel, own, height - 10, f"plan {quantity_text(plan.params)}", "k1 head")
        drawn.append(picture(width, height + 70, title, [panel.draw()], f"chart {style}"))
    return Markup("".join(drawn))


def epoch_chart(plan: RunPlan) -> Markup:
    """Loss against epochs: at the plan's FLOPs, at its size, and at its size if all data were new."""
    curves = plan.by_epochs
    if curves is None or plan.epochs is None:
        return Markup("")
    x = np.log10(curves.epochs).tolist()
    lines = (
        ("k0", "same FLOPs", "model shrinks", curves.budget),
        ("k1 dash", "same size", "FLOPs grow", curves.size),
        ("k2 dash", "same size", "if all were new", curves.fresh),
    )
    low = min(min(line) for *_, line in lines)
    high = min(max(max(line) for *_, line in lines), low + 2 * RISE)
    y = (low - 0.05 * (high - low), high + 0.02)
    title = (
        f"Predicted loss against epochs over {quantity_text(plan.unique or 1)} unique tokens; the plan reads them "
        f"{plan.epochs:.3g} times"
    )
    drawn = []
    for style, width, left, right, height in SIZES:
        wide = style == "wide"
        panel = Panel(left, 26, width - left - (NAMES if wide else right), height, (x[0], x[-1]), y)
        panel.axes(x_label="epochs over the data at hand", y_label="loss, nats per token", x_ticks=False)
        _ticks(panel, height)
        for colour, _, _, line in lines:
            panel.line(x, line, colour)
        panel.dots([math.log10(plan.epochs)], [plan.loss.value], "k0 small big")
        at, above = panel.px(math.log10(plan.epochs)), panel.py(plan.loss.value) - 12  # the other lines pass below
        left_side = at > 0.7 * panel.width
        words = f"plan {plan.epochs:.3g}"
        panel.note(at + (-8 if left_side else 6), above, words, "k0 head", "end" if left_side else "start")
        if wide:
            wanted = [min(max(panel.py(line[-1]), 8), height) for *_, line in lines]
            for (colour, name, note, _), place in zip(lines, ends(wanted, 34, 12, height - 16), strict=True):
                panel.note(panel.width + 10, place, name, f"{colour.split()[0]} head")
                panel.note(panel.width + 10, place + 15, note, "note")
        drawn.append(picture(width, height + 70, title, [panel.draw()], f"chart {style}"))
    return Markup("".join(drawn))


def _ticks(panel: Panel, height: float) -> None:
    """Numbers below a log10 axis: powers of ten, with 2 and 5 between where there is room."""
    low, high = panel.x
    most = max(2, int(panel.width / 70))
    for parts in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        values = _powers(low, high, parts)
        if len(values) <= most:
            break
    else:
        values = values[:: math.ceil(len(values) / most)]
    for value in values:
        place = math.log10(value)
        panel.inside.insert(0, f'<path class="grid" d="M{panel.px(place):.1f} 0V{height:g}"/>')
        panel.note(panel.px(place), height + 16, quantity_text(value), "tick", "middle")


def _powers(low: float, high: float, parts: Sequence[float]) -> list[float]:
    options = [part * 10.0**k for k in range(math.floor(low), math.ceil(high) + 1) for part in parts]
    return [value for value in options if low - 1e-9 <= math.log10(value) <= high + 1e-9]


def _label(panel: Panel, x: float, y: float, words: str, style: str) -> None:
    """Words beside ``x``, on the side where there is more room."""
    at = panel.px(x)
    if at < panel.width / 2:
        panel.note(at + 9, y, words, style)
    else:
        panel.note(at - 9, y, words, style, "end")


def _whisker(panel: Panel, x: float, low: float, high: float) -> str:
    return f'<path class="mark k1" d="M{panel.px(x):.1f} {panel.py(low):.1f}V{panel.py(high):.1f}"/>'
