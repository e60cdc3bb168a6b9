"""The designer's picture: predicted loss above, learning rate below on the same steps, the points as handles.

Axes depend on the frame and, as far as they can, not on the edit: the picture stands still while a point is moved.
Pixels and data are tied by the ``data-`` attributes of the rates' panel, which the script reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from thalweg.web.svg import Panel, ends, number, text, ticks

if TYPE_CHECKING:
    from thalweg.web.site.designer.outlook import Outlook
    from thalweg.web.site.designer.points import Points
    from thalweg.web.site.designer.state import State

__all__ = ["COLOURS", "picture", "rate"]

COLOURS = {"yours": "k0", "cosine": "k1", "wsd": "k2", "optimum": "k3"}
EARLY = 0.1  # share of the run whose steep losses are left off the picture
DECADES = 2  # of a logarithmic axis


@dataclass(frozen=True, slots=True)
class Size:
    """A picture's measures in pixels."""

    style: str
    width: float
    left: float
    right: float
    loss: float
    rates: float


SIZES = (Size("wide", 872, 64, 118, 236, 178), Size("narrow", 390, 52, 12, 210, 170))


def rate(value: float) -> str:
    """A learning rate as people write it: 0.0021 is 2.1e-3."""
    if value == 0:
        return "0"
    mantissa, _, power = f"{value:.3e}".partition("e")
    return f"{float(mantissa):g}e{int(power)}".replace("-", "\N{MINUS SIGN}")


def picture(state: State, own: Outlook, rivals: Mapping[str, Outlook], points: Points, style: str = "") -> Markup:
    """The whole figure, for wide and for narrow pages, or only for the one that ``style`` names."""
    sizes = [size for size in SIZES if size.style == style] or SIZES
    return Markup("".join(_drawn(size, state, own, rivals, points) for size in sizes))


def _drawn(size: Size, state: State, own: Outlook, rivals: Mapping[str, Outlook], points: Points) -> str:
    inner = size.width - size.left - size.right
    x = (0.0, float(state.steps))
    upper = Panel(size.left, 26, inner, size.loss, x, _loss_range(own, rivals))
    lower = Panel(size.left, size.loss + 62, inner, size.rates, x, _rate_range(state, own))
    _losses(upper, size, own, rivals)
    handles = _rates(lower, size, state, own, rivals, points)
    height = lower.top + size.rates + 44
    said = f"Predicted loss and learning rate over {state.steps:,} optimizer steps; the tables below have the numbers"
    head = f'<svg class="chart {size.style} designer" viewBox="0 0 {number(size.width)} {number(height)}"'
    return f'{head} role="group" aria-label="{escape(said)}">{upper.draw()}{lower.draw()}{handles}</svg>'


def _corners(panel: Panel, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Corners of a line in tenths of a pixel, whole numbers, repeated ones left out; shape (n, 2)."""
    far = 50 * panel.height
    x = (xs - panel.x[0]) * (panel.width / (panel.x[1] - panel.x[0]))
    y = np.clip((panel.y[1] - ys) * (panel.height / (panel.y[1] - panel.y[0])), -far, far)
    found = np.rint(10 * np.stack([x, y], axis=1)).astype(np.int64)
    return found[np.concatenate([[True], np.any(np.diff(found, axis=0), axis=1)])]


def _trace(panel: Panel, xs: np.ndarray, ys: np.ndarray, style: str, back: np.ndarray | None = None) -> None:
    """A line, or with ``back`` the area between two; many times faster than `Panel.line`."""
    corners = _corners(panel, xs, ys)
    if back is not None:
        corners = np.concatenate([corners, _corners(panel, xs, back)[::-1]])
    said = " ".join(map(str, corners.ravel().tolist()))
    panel.inside.append(f'<path transform="scale(.1)" class="{style}" d="M{said}{"" if back is None else "Z"}"/>')


def _loss_range(own: Outlook, rivals: Mapping[str, Outlook]) -> tuple[float, float]:
    """From below the lowest end to the loss after the first tenth, on round numbers."""
    every = [*rivals.values(), own]
    frame = list(rivals.values()) or [own]
    high = max(float(one.seen.losses[int(EARLY * len(one.seen.losses))]) for one in frame)
    lows = [float(one.seen.losses.min()) for one in every]
    lows += [float(one.seen.band[0][-1]) for one in frame if one.seen.band]
    low = min(lows)
    high = max(high, own.seen.final_loss + 0.15 * (high - low), low + 1e-3)
    step = (high - low) / 12
    power = 10.0 ** math.floor(math.log10(step))
    step = next(unit * power for unit in (1, 2, 5, 10) if unit * power >= step)
    return (math.floor(low / step - 0.2) * step, math.ceil(high / step) * step)


def _rate_range(state: State, own: Outlook) -> tuple[float, float]:
    """From 0, or three decades below, to a quarter above the frame's peak; more where the schedule needs it."""
    top = 1.25 * state.frame.peak
    while top < own.line[1].max() * 1.0005:
        top *= 1.25
    if not state.log:
        return 0.0, top
    least = state.frame.floor if state.frame.floor > 0 else state.frame.peak
    return min(math.log10(top) - DECADES, math.floor(math.log10(least))), math.log10(top)


def _losses(panel: Panel, size: Size, own: Outlook, rivals: Mapping[str, Outlook]) -> None:
    for key, other in rivals.items():
        _trace(panel, other.seen.at, other.seen.losses, f"line {COLOURS[key]} thinner")
    at = own.seen.at
    if own.seen.band is not None:
        _trace(panel, at, own.seen.band[0], "band k0", own.seen.band[1])
    _trace(panel, at, own.seen.losses, "line k0")
    panel.axes(y_label="predicted loss (nats per token)", x_ticks=False)
    if own.seen.trust is not None:
        low, high = (min(max(panel.py(value), 0.0), panel.height) for value in own.seen.trust.interval)
        end = panel.width - 1.5
        panel.inside.append(f'<path class="whisker k0" d="M{number(end)} {number(low)}V{number(high)}"/>')
    _labels(panel, size, own, rivals)


def _labels(panel: Panel, size: Size, own: Outlook, rivals: Mapping[str, Outlook]) -> None:
    if size.right < 60:
        return
    named = {"yours": own} | dict(rivals)
    wanted = [panel.py(one.seen.final_loss) + 4 for one in named.values()]
    for (key, one), y in zip(named.items(), ends(wanted, 16, 8, panel.height + 2), strict=True):
        style = f"{COLOURS[key]} {'head' if key == 'yours' else 'end'}"
        panel.note(panel.width + 8, y, f"{one.name} {one.seen.final_loss:.4f}", style)


def _rates(panel: Panel, size: Size, state: State, own: Outlook, rivals: Mapping[str, Outlook], points: Points) -> str:
    bottom = panel.y[0]

    def y(values: np.ndarray) -> np.ndarray:
        return np.maximum(np.log10(np.maximum(values, 1e-300)), bottom) if state.log else values

    for key, other in rivals.items():
        _trace(panel, other.line[0], y(other.line[1]), f"line {COLOURS[key]} thinner")
    _trace(panel, own.line[0], y(own.line[1]), "line k0 own")
    if state.log:
        _decades(panel)
    else:
        _grid(panel)
    across = ticks(*panel.x, max(2, round(panel.width / 80)))
    for value in across:
        panel.note(panel.px(value), panel.height + 16, f"{value:,.0f}", "tick", "middle")
    panel.note(panel.width / 2, panel.height + 36, "optimizer step", "name", "middle")
    panel.note(-7, -9, "learning rate", "name")
    if state.panel == "export":
        return ""
    heights = [panel.py(value) for value in y(np.array(points.rates)).tolist()]
    return _handles(panel, size, state, points, heights)


def _grid(panel: Panel) -> None:
    panel.inside.append(f'<path class="axis" d="M0 {number(panel.height - 0.5)}H{number(panel.width)}"/>')
    for value in ticks(*panel.y, max(3, round(panel.height / 38))):
        panel.inside.insert(0, f'<path class="grid" d="M0 {number(panel.py(value))}H{number(panel.width)}"/>')
        panel.note(-7, panel.py(value) + 4, rate(value), "tick", "end")


def _decades(panel: Panel) -> None:
    panel.inside.append(f'<path class="axis" d="M0 {number(panel.height - 0.5)}H{number(panel.width)}"/>')
    for power in range(math.floor(panel.y[0]), math.floor(panel.y[1]) + 1):
        for unit in (1, 2, 5):
            y = math.log10(unit) + power
            if panel.y[0] - 1e-9 <= y <= panel.y[1]:
                panel.inside.insert(0, f'<path class="grid" d="M0 {number(panel.py(y))}H{number(panel.width)}"/>')
                panel.note(-7, panel.py(y) + 4, rate(unit * 10.0**power), "tick", "end")


def _handles(panel: Panel, size: Size, state: State, points: Points, heights: Sequence[float]) -> str:
    data = {"left": panel.left, "top": panel.top, "width": panel.width, "height": panel.height}
    data |= {"y0": panel.y[0], "y1": panel.y[1], "steps": state.steps, "log": int(state.log)}
    said = "".join(f' data-{name}="{value:.12g}"' for name, value in data.items())
    frame = f'x="{number(panel.left)}" y="{number(panel.top)}"'
    frame += f' width="{number(panel.width)}" height="{number(panel.height)}"'
    parts = [f'<g class="handles"{said}><rect class="pad" {frame}/><path class="drawn" d=""/>']
    for k, (at, value, y) in enumerate(zip(points.steps, points.rates, heights, strict=True)):
        x, h = panel.left + panel.px(at), panel.top + y
        told = f"step {at:,}, learning rate {rate(value)}"
        parts.append(
            f'<g class="handle" id="{size.style}-{k}" tabindex="0" role="slider" data-at="{at}" data-lr="{value!r}"'
            f' aria-label="Point {k + 1} of {len(points)}" aria-valuemin="0" aria-valuemax="{10 ** panel.y[1]:.3g}"'
            f' aria-valuenow="{value:.6g}" aria-valuetext="{told}" transform="translate({number(x)} {number(h)})">'
            f'<circle class="grip" r="14"/><circle class="knob" r="5.5"/></g>'
        )
    return "".join(parts) + text(panel.left + panel.width, panel.top - 9, "", "readout", "end") + "</g>"
