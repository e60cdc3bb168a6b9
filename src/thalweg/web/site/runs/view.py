"""What a plot shows: all of it is in the address, and read from there strictly."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from thalweg.errors import InputError, suggest

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

__all__ = ["ACROSS", "MOST_RUNS", "SPANS", "View", "read_view", "show_address"]

ACROSS = {"steps": "optimizer step", "tokens": "tokens read", "seconds": "seconds of training"}
MOST_RUNS = 12
SPANS = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0, 100000.0)  # steps to average over
MOVES = {"in": (0.25, 0.75), "out": (-0.5, 1.5), "left": (-0.5, 0.5), "right": (0.5, 1.5)}


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of a log.

    Attributes:
        metric: what goes up; empty for the log's first.
        x: what goes across, a key of ``ACROSS``.
        logx: whether the horizontal axis is logarithmic.
        logy: whether the vertical axis is.
        smooth: span of the exponential average in steps; 0 draws none, None leaves it to the page.
        low: left end, None for the first record.
        high: right end, None for the last.
        go: a move of the range that was asked for, a key of ``MOVES`` or "all", and not carried out yet.
    """

    metric: str = ""
    x: str = "steps"
    logx: bool = False
    logy: bool = False
    smooth: float | None = None
    low: float | None = None
    high: float | None = None
    go: str = ""

    def moved(self, low: float, high: float) -> View:
        """The view with its move carried out, from the range [low, high] that was shown."""
        if self.go not in MOVES:
            return replace(self, go="", **({"low": None, "high": None} if self.go == "all" else {}))
        first, last = MOVES[self.go]
        if self.logx and low > 0:
            ratio = math.log(high / low)
            ends = low * math.exp(first * ratio), low * math.exp(min(last * ratio, 700.0))
        else:
            ends = low + first * (high - low), low + last * (high - low)
        return replace(self, go="", low=_short(ends[0], high - low), high=_short(ends[1], high - low))

    def query(self, runs: Iterable[str] = (), **changes: object) -> str:
        """The view as an address holds it, after "?"; defaults are left out."""
        view = replace(self, **changes)  # type: ignore[arg-type]  # names of fields
        pairs = [("run", run) for run in runs]
        pairs += [("metric", view.metric)] * bool(view.metric) + [("x", view.x)] * (view.x != "steps")
        pairs += [("logx", "1")] * view.logx + [("logy", "1")] * view.logy
        pairs += [("smooth", f"{view.smooth:g}")] if view.smooth is not None else []
        pairs += [(name, f"{end:.12g}") for name, end in (("from", view.low), ("to", view.high)) if end is not None]
        return urlencode(pairs)


def show_address(path: str) -> str:
    """The address of a run's page."""
    return f"/runs/show/{quote(path)}"


def read_view(query: QueryParams) -> View:
    """The view that an address asks for.

    Raises:
        InputError: a number that is none, a range that is empty, an unknown axis or move.
    """
    x, go = query.get("x") or "steps", query.get("go", "")
    if x not in ACROSS:
        raise InputError(f"x = {x!r} is no axis: {suggest(x, ACROSS)}")
    if go and go != "all" and go not in MOVES:
        raise InputError(f"go = {go!r} is no move: {suggest(go, [*MOVES, 'all'])}")
    low, high = _number(query, "from"), _number(query, "to")
    smooth = _number(query, "smooth")
    if smooth is not None and smooth < 0:
        raise InputError(f"smooth = {smooth:g} must be a number of steps >= 0; 0 draws no average")
    if low is not None and high is not None and low >= high:
        raise InputError(f"from = {low:g} must lie below to = {high:g}")
    marked = {name: query.get(name, "") not in ("", "0") for name in ("logx", "logy")}
    return View(query.get("metric", ""), x, smooth=smooth, low=low, high=high, go=go, **marked)


def _number(query: QueryParams, name: str) -> float | None:
    text = query.get(name, "").strip().replace(",", "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= 1e300:
        raise InputError(f"{name} = {text!r} is no finite number")
    return value


def _short(value: float, width: float) -> float:
    """A value to a thousandth of the width that is shown."""
    places = 3 - math.floor(math.log10(width)) if width > 0 else 6
    return round(value, places)
