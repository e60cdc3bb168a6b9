"""A plot with everything around it: the picture for wide and narrow pages, its numbers, what a script reads out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from thalweg.web.site.runs.axes import Axis, axis_of
from thalweg.web.site.runs.chart import Line, chart, styles
from thalweg.web.site.runs.series import Series, title
from thalweg.web.site.runs.smoothing import smoothed
from thalweg.web.site.runs.thinning import bounds, thin
from thalweg.web.site.runs.view import ACROSS, View
from thalweg.web.words import significant, whole

__all__ = ["Named", "figure", "small"]

SIZES = {"wide": (840.0, 380.0), "narrow": (360.0, 300.0)}
READ = 380  # columns of the numbers that the script reads out
STRETCHES = 24  # rows of the table


@dataclass(frozen=True, slots=True)
class Named:
    """A series to draw: its name, its colour and dash by number, and its values."""

    name: str
    number: int
    series: Series


def figure(drawn: Sequence[Named], view: View, *, labels: bool) -> dict[str, Any]:
    """What the templates show of a plot.

    Args:
        drawn: the curves.
        view: metric and axes; a move of the range is carried out.
        labels: whether each curve is named at its end.

    Returns:
        ``svg``; ``view`` with its move carried out; ``low`` and ``high`` of the range; ``points`` as JSON for the
        script; ``rows`` and ``columns`` of the table; ``notes``, sentences on what is not drawn as a line; ``empty``.
    """
    usable = [_on_axis(item, view.logx) for item in drawn]
    across = _across(usable, view)
    moved = view.moved(across.low, across.high)
    across = _across(usable, moved)
    lines = [_line(item, moved, labels) for item in usable]
    up = axis_of([shown for line in lines for shown in _inside(line, across)], log=view.logy, pad=0.05)
    about = _spoken(usable, view)
    names = (ACROSS[view.x], title(view.metric))
    svgs = [
        chart(lines if style == "wide" else _numbered(lines), across, up, size=size, labels=names, about=about,
              style=f"chart curves {style}")
        for style, size in SIZES.items()
    ]  # fmt: skip
    return {
        "svg": Markup("".join(svgs)),
        "view": moved,
        "low": f"{across.low:.12g}",
        "high": f"{across.high:.12g}",
        "points": _points(lines, usable, across, view),
        "columns": _columns(drawn, view, labels),
        "rows": _table(usable, across, labels),
        "notes": _notes(drawn, usable, across, view),
        "empty": not any(np.isfinite(item.series.y).any() for item in usable),
        "several": labels,
    }


def small(item: Named, metric: str) -> Markup:
    """A small picture of a whole curve."""
    line = Line("", styles(item.number), item.series.x, item.series.y)
    across, up = axis_of([line.x], log=False), axis_of([line.y], log=False, pad=0.06)
    about = _spoken([item], View(metric))
    return Markup(
        chart([line], across, up, size=(300.0, 150.0), labels=("", ""), about=about, style="chart curves small")
    )


def _on_axis(item: Named, log: bool) -> Named:
    """Without the records that a logarithmic axis across cannot show."""
    series = item.series
    keep = series.x > 0 if log else np.isfinite(series.x)
    return item if keep.all() else replace(item, series=Series(series.x[keep], series.y[keep], series.steps[keep]))


def _across(drawn: Sequence[Named], view: View) -> Axis:
    found = axis_of([item.series.x[[0, -1]] for item in drawn if len(item.series.x)], log=view.logx)
    low = found.low if view.low is None or (view.logx and view.low <= 0) else view.low
    high = found.high if view.high is None else view.high
    if not low < high or (low > 0 and high / low < 1 + 1e-12):
        return Axis(low, low * 1.1 if view.logx else low + max(1.0, 1e-6 * abs(low)), view.logx)
    return Axis(low, high, view.logx)


def _line(item: Named, view: View, labels: bool) -> Line:
    series = item.series
    smooth = smoothed(series.steps, series.y, view.smooth) if view.smooth else None
    return Line(item.name if labels else "", styles(item.number), series.x, series.y, smooth)


def _numbered(lines: Sequence[Line]) -> list[Line]:
    """On a phone a curve is named by its number in the list below."""
    return [replace(line, name=str(k + 1) if line.name else "") for k, line in enumerate(lines)]


def _inside(line: Line, across: Axis) -> list[np.ndarray]:
    """What of a curve and of its average lies in the range."""
    first, last = np.searchsorted(line.x, across.low, "left"), np.searchsorted(line.x, across.high, "right")
    return [values[first:last] for values in (line.y, line.smooth) if values is not None]


def _points(lines: Sequence[Line], drawn: Sequence[Named], across: Axis, view: View) -> str:
    """The points that the script reads out: the same M4 as is drawn, in fewer columns."""
    told = []
    low, high = across.ends
    for line, item in zip(lines, drawn, strict=True):
        kept = thin(across.place(line.x), line.y, low, high, READ).index
        kept = kept[(line.x[kept] >= across.low) & (line.x[kept] <= across.high)]
        entry = {
            "name": item.name,
            "x": _brief(line.x[kept], 12),
            "y": _brief(line.y[kept], 7),
            "step": item.series.steps[kept].tolist(),
        }
        told.append(entry | ({"smooth": _brief(line.smooth[kept], 7)} if line.smooth is not None else {}))
    units = {"across": ACROSS[view.x], "low": across.low, "high": across.high, "log": view.logx}
    return json.dumps(units | {"lines": told}, separators=(",", ":"))


def _brief(values: np.ndarray, digits: int) -> list[float | None]:
    return [float(f"{value:.{digits}g}") if value - value == 0 else None for value in values.tolist()]


def _columns(drawn: Sequence[Named], view: View, labels: bool) -> list[str]:
    head = f"{ACROSS[view.x]}, from"
    return [head, *(item.name for item in drawn)] if labels else [head, "records", "first", "lowest", "highest", "last"]


def _table(drawn: Sequence[Named], across: Axis, labels: bool) -> list[list[str]]:
    """Of equal stretches of the range: for one curve first, lowest, highest, last; for several the last of each."""
    low, high = across.ends
    starts = np.linspace(low, high, STRETCHES + 1)
    edges = [bounds(across.place(item.series.x), low, high, STRETCHES) for item in drawn]
    rows = []
    for k in range(STRETCHES):
        pieces = [item.series.y[edge[k] : edge[k + 1]] for item, edge in zip(drawn, edges, strict=True)]
        if any(len(piece) for piece in pieces):
            start = significant(float(10 ** starts[k] if across.log else starts[k]), 6)
            rows.append([start, *(map(_last, pieces) if labels else _extent(pieces[0]))])
    return rows


def _last(piece: np.ndarray) -> str:
    finite = piece[np.isfinite(piece)]
    return significant(float(finite[-1]), 5) if len(finite) else ""


def _extent(piece: np.ndarray) -> list[str]:
    finite = piece[np.isfinite(piece)]
    if not len(finite):
        return [whole(len(piece)), "", "", "", ""]
    four = (finite[0], finite.min(), finite.max(), finite[-1])
    return [whole(len(piece)), *(significant(float(value), 5) for value in four)]


def _notes(drawn: Sequence[Named], usable: Sequence[Named], across: Axis, view: View) -> list[str]:
    found = []
    for whole_item, item in zip(drawn, usable, strict=True):
        start = f"{item.name}: " if len(drawn) > 1 else ""
        y = whole_item.series.y
        bad = {"nan": int(np.isnan(y).sum()), "infinite": int(np.isinf(y).sum())}
        if sum(bad.values()):
            first = int(whole_item.series.steps[np.flatnonzero(~np.isfinite(y))[0]])
            said = " and ".join(f"{whole(count)} {kind}" for kind, count in bad.items() if count)
            found.append(
                f"{start}{said} of {whole(len(y))} values, the first at step {whole(first)}; marked at the frame"
            )
        if view.logx and (left := len(whole_item.series.x) - len(item.series.x)):
            found.append(
                f"{start}{_records(left)} at or below 0 {ACROSS[view.x]}, where a logarithmic axis has no place"
            )
        if view.logy and (below := int((item.series.y <= 0).sum())):
            found.append(f"{start}{_records(below)} not above 0, marked as falling out of a logarithmic axis")
    return found


def _records(count: int) -> str:
    return f"{whole(count)} record{'' if count == 1 else 's'}"


def _spoken(drawn: Sequence[Named], view: View) -> str:
    said = []
    for item in drawn:
        x, y = item.series.x, item.series.y
        finite = np.isfinite(y)
        if finite.any():
            first, last = int(finite.argmax()), len(y) - 1 - int(finite[::-1].argmax())
            low, high = y.min(where=finite, initial=np.inf), y.max(where=finite, initial=-np.inf)
            ends = f"from {significant(float(y[first]))} at {significant(float(x[first]), 6)}"
            ends += f" to {significant(float(y[last]))} at {significant(float(x[last]), 6)}"
            said.append(f"{item.name} {ends}, lowest {significant(float(low))}, highest {significant(float(high))}")
    words = f"{title(view.metric)} against {ACROSS[view.x]}: "
    return words + ("; ".join(said) if said else "no finite value") + "."
