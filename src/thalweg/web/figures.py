"""The four figures of the report, each for a wide and a narrow page (see svg.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from thalweg.web.svg import LETTER, Panel, ends, picture, text
from thalweg.web.words import fixed, percent, title

__all__ = ["colour", "curves", "finals", "pilots", "schedules"]

WIDE, NARROW = 840.0, 360.0  # pixels; the style sheet changes from one to the other at 680
KEYS = {"cosine": "k0", "wsd": "k1", "designed": "k2", "constant": "k3", "two-stage": "k4"}
SETTLED = 0.15  # share of a run after which the loss is inside the frame: before it falls too steeply to be shown
FITTED = 0.3  # share of a pilot from which on residuals set the frame; before, they belong to the first descent


def colour(name: str) -> str:
    """The CSS class of a schedule's colour, the same in every figure and table."""
    return KEYS.get(name, "k5")


def _both(draw: Callable[[float], tuple[float, list[str]]], about: str) -> Markup:
    """The wide and the narrow form of a figure; ``draw(width)`` returns its height and parts."""
    shown = []
    for width, style in ((WIDE, "wide"), (NARROW, "narrow")):
        height, parts = draw(width)
        shown.append(picture(width, height, about, parts, f"chart {style}"))
    return Markup("".join(shown))


def _range(values: Sequence[float], pad: float = 0.06) -> tuple[float, float]:
    """The range of the finite values, a little widened; [0, 1] where there is none."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = pad * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room


def _after(steps: Sequence[int], values: Sequence[float], first: float) -> list[float]:
    return [value for step, value in zip(steps, values, strict=True) if step >= first]


def _key(width: float, entries: Sequence[tuple[str, str]]) -> list[str]:
    """The row above the panels that says what marks mean; entries are (mark, words)."""
    marks = {
        "dots": '<path class="dots k" d="M{x} 10h0m8 0h0m8 0h0"/>',
        "line": '<path class="line k" d="M{x} 10h18"/>',
        "band": '<path class="band k" d="M{x} 4h18v12h-18z"/>',
        "past": '<path class="past" d="M{x} 10h18"/>',
    }
    parts, x = [], 2.0
    for mark, words in entries:
        parts += [marks[mark].format(x=f"{x:.0f}"), text(x + 25, 14, words, "note")]
        x += 25 + LETTER * len(words) + (22 if width > 500 else 14)
    return parts


def _curve(
    result: Mapping[str, Any], name: str, box: tuple[float, float, float, float], y: tuple[float, float]
) -> Panel:
    """One long run in the frame ``box`` (left, top, width, height)."""
    shown, row, key = result["schedules"][name], result["table"][name], colour(name)
    axes = Panel(*box, (0, result["plan"]["horizon"]), y)
    axes.upright(result["plan"]["pilot_steps"], "past")
    axes.band(shown["steps"], shown["low"], shown["high"], key)
    if run := result["runs"].get(f"long-{name}"):
        axes.dots(run["steps"], run["losses"], key)
    axes.line(shown["steps"], shown["losses"], key)
    axes.note(axes.width - 8, 18, title(name), f"head {key}", "end")
    said = (f"predicted {fixed(row['final_loss'])}", f"measured {fixed(row['measured'])}", percent(row["error"]))
    for k, line in enumerate(said):
        axes.note(axes.width - 8, 35 + 16 * k, line, "note", "end")
    return axes


def curves(result: Mapping[str, Any]) -> Markup:
    """Validation loss of the long runs, one panel each: measured dots over the predicted line and its 90 % band."""
    names, horizon = list(result["table"]), result["plan"]["horizon"]
    seen = [
        value
        for name in names
        for source in (result["runs"].get(f"long-{name}"), result["schedules"][name])
        if source
        for value in _after(source["steps"], source["losses"], SETTLED * horizon)
    ]
    y = _range(seen)

    def draw(width: float) -> tuple[float, list[str]]:
        wide, tall = width > 500, 262.0 if width > 500 else 196.0
        each = (width - 48 - 30 * (len(names) - 1)) / len(names) if wide else width - 52
        across, down = (each + 30, 0.0) if wide else (0.0, tall + 34)
        parts = _key(width, [("dots", "measured"), ("line", "predicted"), ("band", "90 %"), ("past", "pilots end")])
        for k, name in enumerate(names):
            axes = _curve(result, name, (46 + k * across, 46 + k * down, each, tall), y)
            bottom = "optimizer step" if wide or k == len(names) - 1 else ""
            axes.axes(x_label=bottom, y_label="" if k else "validation loss (nats/token)", y_ticks=not (wide and k))
            parts.append(axes.draw())
        return 46 + tall + 42 + (len(names) - 1) * down, parts

    ended = "; ".join(
        f"{title(name)} predicted {fixed(row['final_loss'])}, measured {fixed(row['measured'])}"
        for name, row in result["table"].items()
    )
    return _both(
        draw, f"Validation loss in nats per token against optimizer step, prediction over truth. At the end: {ended}."
    )


def finals(table: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Final losses: the predicted 90 % interval as a bar with the prediction as a tick, the measured loss as a dot."""
    x = _range(
        [value for row in table.values() for value in (*row["interval"], row["measured"], row["final_loss"])], 0.08
    )

    def draw(width: float) -> tuple[float, list[str]]:
        left, row_height = 86.0, 34.0
        axes = Panel(left, 30, width - left - 14, row_height * len(table), x, (0, 1))
        for k, (name, row) in enumerate(table.items()):
            y, key = row_height * (k + 0.5), colour(name)
            low, high, predicted, measured = map(axes.px, (*row["interval"], row["final_loss"], row["measured"]))
            if math.isfinite(low + high + predicted):
                axes.inside.append(f'<path class="bar {key}" d="M{low:.1f} {y:.1f}H{high:.1f}"/>')
                axes.inside.append(f'<path class="mark {key}" d="M{predicted:.1f} {y - 10:.1f}v20"/>')
            if math.isfinite(measured):
                axes.inside.append(f'<path class="dots big" d="M{measured:.1f} {y:.1f}h0"/>')
            axes.note(-10, y + 4, title(name), f"head {key}", "end")
        axes.axes(x_label="final validation loss (nats/token)", y_ticks=False)
        axes.inside = [part for part in axes.inside if 'class="grid"' not in part]
        key = [
            '<path class="bar k" d="M2 10h18"/><path class="mark k" d="M11 2v16"/>',
            text(28, 14, "predicted, 90 % interval", "note"),
        ]
        key += ['<path class="dots big" d="M206 10h0"/>', text(216, 14, "measured", "note")]
        return 30 + axes.height + 42, [*key, axes.draw()]

    return _both(draw, "Final validation losses: " + "; ".join(_spoken(name, row) for name, row in table.items()) + ".")


def _spoken(name: str, row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{title(name)} measured {fixed(row['measured'])}, predicted between {fixed(low)} and {fixed(high)}"


def pilots(runs: Mapping[str, Mapping[str, Any]], steps: int) -> Markup:
    """The pilots with the law's fit, and under them the residuals in per cent. ``runs`` by the pilot's name."""
    off = {
        name: [100 * (loss / fitted - 1) for loss, fitted in zip(run["losses"], run["fitted"], strict=True)]
        for name, run in runs.items()
    }
    y = _range([loss for run in runs.values() for loss in _after(run["steps"], run["losses"], SETTLED * steps)])
    late = [abs(value) for name, run in runs.items() for value in _after(run["steps"], off[name], FITTED * steps)]
    reach = 1.2 * max([value for value in late if math.isfinite(value)], default=1.0) or 1.0

    def draw(width: float) -> tuple[float, list[str]]:
        wide = width > 500
        tall, low = (230.0, 110.0) if wide else (200.0, 100.0)
        inner = width - 46 - 78
        upper = Panel(46, 46, inner, tall, (0, steps), y)
        under = Panel(46, 46 + tall + 44, inner, low, (0, steps), (-reach, reach))
        under.level(0, "zero")
        for name, run in runs.items():
            upper.dots(run["steps"], run["losses"], colour(name))
            upper.line(run["steps"], run["fitted"], colour(name))
            under.line(run["steps"], off[name], f"thin {colour(name)}")
            under.dots(run["steps"], off[name], f"small {colour(name)}")
        places = ends([upper.py(run["losses"][-1]) for run in runs.values()], 16, 8, tall - 4)
        for name, place in zip(runs, places, strict=True):
            upper.note(inner + 8, place + 4, title(name), f"head {colour(name)}")
        upper.axes(y_label="validation loss (nats/token)", x_ticks=False)
        under.axes(x_label="optimizer step", y_label="measured above the fit (%)")
        return 46 + tall + 44 + low + 42, [
            *_key(width, [("dots", "measured"), ("line", "law's fit")]),
            upper.draw(),
            under.draw(),
        ]

    return _both(
        draw, f"The pilots' validation losses with the fitted law, and the residuals in per cent: {', '.join(runs)}."
    )


def schedules(runs: Mapping[str, Mapping[str, Any]], steps: int) -> Markup:
    """Learning rate against optimizer step of the long runs; ``runs`` by the schedule's name."""
    top = max((rate for run in runs.values() for rate in run["rates"]), default=1.0) or 1.0
    power = math.floor(math.log10(top))
    scale = 10.0**-power

    def draw(width: float) -> tuple[float, list[str]]:
        tall, inner = 210.0 if width > 500 else 190.0, width - 46 - 78
        axes = Panel(46, 26, inner, tall, (0, steps), (0, 1.06 * top * scale))
        for name, run in runs.items():
            axes.line(run["rate_steps"], [rate * scale for rate in run["rates"]], f"{colour(name)} dash")
        places = ends([axes.py(run["rates"][-1] * scale) for run in runs.values()], 16, 8, tall - 4)
        for (name, _), place in zip(runs.items(), places, strict=True):
            axes.note(inner + 8, place + 4, title(name), f"head {colour(name)}")
        raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        axes.axes(x_label="optimizer step", y_label=f"learning rate (10{raised} per optimizer step)")
        return 26 + tall + 42, [axes.draw()]

    return _both(draw, f"Learning rate against optimizer step of the long runs: {', '.join(runs)}.")
