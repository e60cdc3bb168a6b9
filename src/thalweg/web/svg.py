"""Small charts as inline SVG: text in the page's font, colours from the page's style sheet, so they follow dark mode.

A figure is drawn twice, for wide and for narrow pages, and the style sheet shows one: text keeps its size on a phone.
Coordinates are rounded to a tenth of a pixel, and the same input gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

__all__ = ["Panel", "ends", "picture", "text", "ticks"]

LETTER = 6.4  # pixels a letter takes at the charts' 12 px, on average


def ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers (1, 2 or 5 times a power of ten apart) within [low, high], low < high."""
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * 0.7)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """The same number of decimals for all: as many as the step between them needs."""
    step = values[1] - values[0] if len(values) > 1 else max(abs(values[0]), 1.0) if values else 1.0
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{value:,.{places}f}".replace("-", "\N{MINUS SIGN}") for value in values]


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, content: str, style: str = "", anchor: str = "start") -> str:
    """A line of text at (x, y) pixels; ``content`` is escaped, ``style`` is a list of CSS classes."""
    place = f'x="{number(x)}" y="{number(y)}"'
    return f'<text {place} class="{style}" text-anchor="{anchor}">{escape(content)}</text>'


def picture(width: float, height: float, title: str, parts: Sequence[str], style: str, frame: str = "") -> str:
    """The whole SVG element; ``title`` says to those who cannot see it what it shows.

    ``frame`` tells scripts where the axes lie: left, top, width and height, pixels.
    """
    told = f' data-frame="{escape(frame)}"' if frame else ""
    size = f'viewBox="0 0 {number(width)} {number(height)}"'
    return f'<svg class="{style}" {size} role="img" aria-label="{escape(title)}"{told}>{"".join(parts)}</svg>'


def ends(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights of labels as near to ``wanted`` as a distance of ``gap`` pixels and the frame [low, high] allow."""
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    placed = [0.0] * len(wanted)
    least = low
    for k in order:
        placed[k] = least = max(wanted[k], least)
        least += gap
    most = high
    for k in reversed(order):
        placed[k] = most = min(placed[k], most)
        most -= gap
    return placed


@dataclass(slots=True)
class Panel:
    """One pair of axes: a frame in pixels, the data range it shows, and what has been drawn in it.

    Args:
        left: pixels from the left edge of the picture to the frame.
        top: pixels from the upper edge to the frame.
        width: of the frame, pixels.
        height: of the frame, pixels.
        x: smallest and largest value shown.
        y: smallest and largest value shown.
    """

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    inside: list[str] = field(default_factory=list)
    around: list[str] = field(default_factory=list)

    def px(self, value: float) -> float:
        """Pixels from the left edge of the frame."""
        return (value - self.x[0]) / (self.x[1] - self.x[0]) * self.width

    def py(self, value: float) -> float:
        """Pixels from the upper edge of the frame."""
        return (self.y[1] - value) / (self.y[1] - self.y[0]) * self.height

    def _points(self, xs: Sequence[float], ys: Sequence[float]) -> list[str]:
        pairs = ((self.px(x), self.py(y)) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y))
        near = ((x, y) for x, y in pairs if abs(y) < 50 * self.height and abs(x) < 50 * self.width)
        return list(dict.fromkeys(f"{number(x)} {number(y)}" for x, y in near))

    def line(self, xs: Sequence[float], ys: Sequence[float], style: str) -> None:
        """A line through the points; what is not finite or far outside is left out."""
        if points := self._points(xs, ys):
            self.inside.append(f'<path class="line {style}" d="M{"L".join(points)}"/>')

    def dots(self, xs: Sequence[float], ys: Sequence[float], style: str) -> None:
        """A dot at each point."""
        if points := self._points(xs, ys):
            self.inside.append(f'<path class="dots {style}" d="{"".join(f"M{point}h0" for point in points)}"/>')

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], style: str) -> None:
        """The area between two lines."""
        if lower := self._points(xs, low):
            outline = lower + self._points(xs, high)[::-1]
            self.inside.append(f'<path class="band {style}" d="M{"L".join(outline)}Z"/>')

    def upright(self, x: float, style: str) -> None:
        """A line across the frame at ``x``."""
        self.inside.append(f'<path class="{style}" d="M{number(self.px(x))} 0V{number(self.height)}"/>')

    def level(self, y: float, style: str) -> None:
        """A line across the frame at ``y``."""
        self.inside.append(f'<path class="{style}" d="M0 {number(self.py(y))}H{number(self.width)}"/>')

    def note(self, x: float, y: float, content: str, style: str = "", anchor: str = "start") -> None:
        """Text at (x, y) pixels from the frame's upper left corner."""
        self.around.append(text(self.left + x, self.top + y, content, style, anchor))

    def axes(self, *, x_label: str = "", y_label: str = "", x_ticks: bool = True, y_ticks: bool = True) -> None:
        """Grid, numbers and names of the axes; a name is left out where it is empty."""
        down = ticks(*self.y, max(3, round(self.height / 38)))
        for value, label in zip(down, tick_labels(down), strict=True):
            self.inside.insert(0, f'<path class="grid" d="M0 {number(self.py(value))}H{number(self.width)}"/>')
            if y_ticks:
                self.note(-7, self.py(value) + 4, label, "tick", "end")
        across = ticks(*self.x, max(2, round(self.width / 80)))
        self.inside.append(f'<path class="axis" d="M0 {number(self.height - 0.5)}H{number(self.width)}"/>')
        for value, label in zip(across, tick_labels(across), strict=True):
            if x_ticks:
                self.note(self.px(value), self.height + 16, label, "tick", "middle")
        if x_label:
            self.note(self.width / 2, self.height + 34, x_label, "name", "middle")
        if y_label:
            self.note(-7 if self.left > 20 else 0, -9, y_label, "name", "start")

    def draw(self) -> str:
        """The panel's SVG; drawings end at the frame."""
        frame = f'x="{number(self.left)}" y="{number(self.top)}"'
        frame += f' width="{number(self.width)}" height="{number(self.height)}"'
        return f"<svg {frame}>{''.join(self.inside)}</svg>{''.join(self.around)}"
