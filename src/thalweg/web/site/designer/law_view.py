"""The law itself: its parameters, its errors on the curves, what it has seen, and how it lies over its curves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from thalweg.web.page import Column, Table
from thalweg.web.site.designer.charts import rate
from thalweg.web.svg import Panel
from thalweg.web.svg import picture as svg
from thalweg.web.words import fixed, percent, significant, whole

if TYPE_CHECKING:
    from thalweg.laws import Law, LossCurve

__all__ = ["errors", "facts", "figure", "parameters"]

POINTS = 150
UNITS = {"L0": "nats per token", "warmup_share": "share", "rate_power": "exponent", "alpha": "exponent"}
UNITS |= {"beta": "exponent", "gamma": "exponent", "lambda": "per step"}


def parameters(law: Law) -> Table:
    """The parameters with their intervals."""
    columns = (Column("parameter"), Column("value", True), Column("90 % interval", True), Column("unit"))
    rows = []
    loose = law.record.identifiability.loose if law.record and law.record.identifiability else ()
    for name, value in law.params.items():
        ends = law.intervals.get(name)
        interval = f"{significant(ends[0])} to {significant(ends[1])}" if ends else "\N{EN DASH}"
        unit = UNITS.get(name, "") + (" (poorly determined)" if name in loose else "")
        rows.append(({"symbol": name}, significant(value, 5), interval, unit.strip()))
    return Table(f"Parameters of the {law.name} law", columns, rows)


def errors(law: Law, curves: Mapping[str, LossCurve], train: Collection[str]) -> Table:
    """Errors on every curve, fitted or not."""
    names = ("curve", "role", "points", "mean error", "worst error", "error at the end")
    rows = []
    for name, curve in curves.items():
        found = law.metrics(curve)
        role = "fitted" if name in train else "not fitted"
        late = curve.select(curve.steps >= 0.9 * curve.steps[-1])
        foretold = law.predict(late.rates, at=late.steps, warmup_steps=late.warmup)
        end = float(foretold.mean() / late.losses.mean()) - 1
        rows.append(
            (name, role, whole(len(curve)), fixed(found.mae, 5), percent(found.worst_e).lstrip("+"), percent(end))
        )
    columns = tuple(Column(name, k > 1) for k, name in enumerate(names))
    return Table("Errors after the warmup; mean in nats per token, the others relative", columns, rows)


def facts(law: Law) -> list[tuple[str, str]]:
    """What the law has seen, in words."""
    if law.record is None:
        return [("Seen", "unknown: the law was written down by hand")]
    seen = law.record.seen
    found = [
        ("Curves", ", ".join(seen.curves)),
        ("Points", whole(seen.points)),
        ("Longest run", f"{whole(seen.steps)} steps"),
        ("Peak", rate(seen.peak)),
        ("Least rate", rate(seen.least_rate * seen.peak)),
        ("Noise of a loss", percent(law.record.noise).lstrip("+")),
        ("Method", law.record.method),
    ]
    if law.record.backtest is not None:
        found.append(("Backtest: ends missed by at most", percent(law.record.backtest).lstrip("+")))
    return found


def figure(law: Law, curves: Mapping[str, LossCurve]) -> Markup:
    """Losses as dots, the law as lines."""
    drawn = []
    for style, width, left, height in (("wide", 872, 64, 230), ("narrow", 390, 52, 200)):
        after = {name: curve.steps >= max(curve.warmup, 0.06 * len(curve.rates)) for name, curve in curves.items()}
        shown = [curve.losses[after[name]] for name, curve in curves.items() if after[name].any()]
        if not shown:
            return Markup("")
        low, high = min(y.min() for y in shown), max(y.max() for y in shown)
        reach = float(max(len(curve.rates) for curve in curves.values()))
        pad = 0.04 * (high - low) + 1e-6
        panel = Panel(left, 26, width - left - 12, height, (0.0, reach), (float(low - pad), float(high + pad)))
        for k, (name, curve) in enumerate(curves.items()):
            keep = np.flatnonzero(after[name])
            keep = keep[:: max(1, len(keep) // POINTS)]
            panel.dots(curve.steps[keep].tolist(), curve.losses[keep].tolist(), f"small k{k % 5}")
            if len(keep):
                at = np.unique(np.linspace(curve.steps[keep[0]], curve.steps[-1], POINTS).astype(np.int64))
                line = law.predict(curve.rates, at=at, warmup_steps=curve.warmup)
                panel.line(at.tolist(), line.tolist(), f"k{k % 5}")
        panel.axes(x_label="optimizer step", y_label="loss (nats per token)")
        drawn.append(svg(width, height + 70, "Losses as dots, the law as lines", [panel.draw()], f"chart {style}"))
    return Markup("".join(drawn))
