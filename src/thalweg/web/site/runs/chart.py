"""Curves as SVG, drawn from few points that show all spikes; values that are not finite are marked at the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.web.site.runs.axes import Axis
from thalweg.web.site.runs.thinning import Thinned, thin
from thalweg.web.svg import LETTER, ends, number, picture, text

__all__ = ["DASHES", "Line", "chart", "line_path", "styles"]

DASHES = ("", "d1", "d2", "d3")
FAR = 4000.0  # pixels beyond the frame to which points are drawn


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        name: written at its end; empty for none.
        style: CSS classes of colour and dash.
        x: positions, float64 (n,), ascending, all on the axis's side of 0 where that is logarithmic.
        y: values, float64 (n,).
        smooth: their average, drawn over the curve, which is then faint.
    """

    name: str
    style: str
    x: np.ndarray
    y: np.ndarray
    smooth: np.ndarray | None = None


def styles(k: int) -> str:
    """Colour and dash of the k-th curve; twelve in a row differ, and neighbours differ in both."""
    return f"k{k % 6} {DASHES[k % 4]}".strip()


def line_path(line: Line, values: np.ndarray, x: Axis, y: Axis, width: float, height: float) -> tuple[str, Thinned]:
    """The path's data and what it was drawn from.

    Args:
        line: whose positions are drawn.
        values: what goes up, float64 (n,).
        x: horizontal axis.
        y: vertical axis.
        width: of the frame, pixels; one column each.
        height: of the frame, pixels.
    """
    places = x.place(line.x)
    up = y.place(values)
    low, high = x.ends
    kept = thin(places, up, low, high, max(1, round(width)))
    across = np.clip((places[kept.index] - low) / (high - low) * width, -FAR, width + FAR)
    bottom, top = y.ends
    down = np.clip((top - up[kept.index]) / (top - bottom) * height, -FAR, height + FAR)
    parts: list[str] = []
    alone = False
    for px, py, broken in zip(across.tolist(), down.tolist(), kept.breaks.tolist(), strict=True):
        point = f"{number(px)} {number(py)}"
        if broken or not parts:
            parts.append(f"{'h0' if alone else ''}M{point}")
            alone = True
        else:
            parts.append(f"L{point}")
            alone = False
    return "".join(parts) + ("h0" if alone else ""), kept


def _marks(kept: Thinned, style: str, height: float) -> list[str]:
    """A cross where there is no number, an arrow to where a value is infinite."""
    shapes = {
        "nan": "M{x} 3l6 6m0 -6l-6 6",
        "inf": "M{x} 9l3 -7l3 7",
        "-inf": f"M{{x}} {number(height - 9)}l3 7l3 -7",
    }
    drawn = "".join(shapes[kind].format(x=number(column - 3.0)) for column, kind in kept.marks)
    return [f'<path class="bad {style}" d="{drawn}"/>'] if drawn else []


def _frame(x: Axis, y: Axis, width: float, height: float, left: float, top: float) -> tuple[list[str], list[str]]:
    inside, around = [], []
    for value, label in y.numbers(max(3, round(height / 42))):
        at = (1 - float(y.share(np.asarray([value]))[0])) * height
        inside.append(f'<path class="grid" d="M0 {number(at)}H{number(width)}"/>')
        around.append(text(left - 7, top + at + 4, label, "tick", "end"))
    inside.append(f'<path class="axis" d="M0 {number(height - 0.5)}H{number(width)}"/>')
    last = -math.inf
    for value, label in x.numbers(max(2, round(width / 90))):
        at = float(x.share(np.asarray([value]))[0]) * width
        half = LETTER * len(label) / 2
        if at - half > last + 6:
            around.append(text(left + at, top + height + 16, label, "tick", "middle"))
            last = at + half
    return inside, around


def chart(
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    *,
    size: tuple[float, float],
    labels: tuple[str, str],
    about: str,
    style: str,
) -> str:
    """The picture.

    Args:
        lines: drawn in this order.
        x: horizontal axis.
        y: vertical axis.
        size: of the whole picture, pixels.
        labels: of the axes.
        about: what it shows, for those who cannot see it.
        style: CSS classes of the picture.
    """
    named = [line for line in lines if line.name]
    room = 12 + max((min(len(line.name), 24) for line in named), default=0) * 1.15 * LETTER + (8 if named else 0)
    shown = y.numbers(max(3, round((size[1] - 72) / 42)))
    left, top = 16 + LETTER * max((len(label) for _, label in shown), default=3), 26.0 if labels[1] else 8.0
    width, height = size[0] - left - room, size[1] - top - (46 if labels[0] else 24)
    inside, around = _frame(x, y, width, height, left, top)
    tails: list[tuple[Line, float]] = []
    averages: list[str] = []
    for line in lines:
        faint = " faint" if line.smooth is not None else ""
        path, kept = line_path(line, line.y, x, y, width, height)
        inside.append(f'<path class="line raw{faint} {line.style}" d="{path}"/>')
        last = line.y
        if line.smooth is not None:
            path, _ = line_path(line, line.smooth, x, y, width, height)
            averages.append(f'<path class="line smooth {line.style}" d="{path}"/>')
            last = line.smooth
        inside += _marks(kept, line.style, height)
        if line.name and len(kept.index):
            share = float(y.share(last[kept.index[-1:]])[0])
            tails.append((line, min(max((1 - share) * height if math.isfinite(share) else 0.0, 0.0), height)))
    for (line, _), at in zip(tails, ends([at for _, at in tails], 15, 6, height - 2), strict=True):
        short = line.name if len(line.name) <= 24 else f"…{line.name[-23:]}"
        around.append(text(left + width + 8, top + at + 4, short, f"head {line.style}"))
    inside += averages
    around.append(text(left + width / 2, top + height + 38, labels[0], "name", "middle"))
    around.append(text(0 if left < 60 else left - 50, 12, labels[1], "name"))
    box = f'x="{number(left)}" y="{number(top)}" width="{number(width)}" height="{number(height)}"'
    many = " many" if len(lines) > 1 else ""
    frame = f'<svg class="frame{many}" {box}>{"".join(inside)}</svg>'
    where = " ".join(number(side) for side in (left, top, width, height))
    return picture(*size, about, [frame, *around], style, where)
