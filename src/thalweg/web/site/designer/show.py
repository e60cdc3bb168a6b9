"""What the designer's templates get: numbers as they are shown, the picture, the open panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg.web.page import Column, Table
from thalweg.web.site.designer import charts, export, fields, law_view
from thalweg.web.site.designer.points import as_schedule
from thalweg.web.site.designer.state import PANELS
from thalweg.web.words import MINUS, NBSP, fixed, whole

if TYPE_CHECKING:
    from thalweg.laws import LossCurve
    from thalweg.web.site.designer.desk import Fitted
    from thalweg.web.site.designer.outlook import Outlook
    from thalweg.web.site.designer.points import Points
    from thalweg.web.site.designer.state import State

__all__ = ["content"]


def content(
    fitted: Fitted,
    state: State,
    own: Outlook,
    rivals: Mapping[str, Outlook],
    missing: Mapping[str, str],
    points: Points,
    curves: Mapping[str, LossCurve],
    style: str = "",
) -> dict[str, Any]:
    """Everything on the page; of the picture only the ``style`` that is asked for, wide or narrow, else both."""
    law = fitted.law
    trust = own.seen.trust
    shown: dict[str, Any] = {
        "state": state,
        "law": law,
        "seen": None if law.record is None else law.record.seen,
        "final": fixed(own.seen.final_loss),
        "interval": f"{fixed(trust.interval[0])} to {fixed(trust.interval[1])}" if trust else "",
        "trust": trust,
        "reason": trust.reason.replace("+-", "\N{PLUS-MINUS SIGN}").replace(" %", f"{NBSP}%") if trust else "",
        "picture": charts.picture(state, own, rivals, points, style),
        "compared": _compared(own, rivals),
        "missing": missing,
        "panels": [(key, name, state.at(panel=key)) for key, name in PANELS.items()],
        "points": points,
        "off": _distance(fitted, state, own, points),
        "rate": charts.rate,
        "whole": whole,
        "form": [],
        "families": fields.FAMILIES,
        "family": state.schedule.name if state.schedule.name in fields.FAMILIES else "",
        "snippets": {},
        "best": rivals.get("optimum"),
        "take": "",
    }
    if state.panel == "form" and shown["family"]:
        shown["form"] = fields.form(state.schedule, state.steps)
    if state.panel == "export":
        shown["snippets"] = export.snippets(state.schedule, state.steps)
    if shown["best"] is not None:
        shown["take"] = state.at(schedule=shown["best"].schedule, panel="points")
        shown["gap"] = _signed(own.above(shown["best"])[0])
    if state.panel == "law":
        train = law.record.seen.curves if law.record else ()
        shown |= {
            "parameters": law_view.parameters(law),
            "errors": law_view.errors(law, curves, train) if curves else None,
            "facts": law_view.facts(law),
            "fit": law_view.figure(law, curves) if curves else "",
        }
    return shown


def _distance(fitted: Fitted, state: State, own: Outlook, points: Points) -> str:
    """How far the points are from the schedule they stand for; empty where they are it."""
    if not points.off or state.panel != "points":
        return ""
    theirs = as_schedule(points.steps, points.rates, state.steps)
    change = fitted.law.final_loss(theirs, state.steps) - own.seen.final_loss
    near = f"within {100 * points.off:.1g}{NBSP}% of the peak"
    return f"{near}, their final loss is {_signed(change)} from its own"


def _signed(value: float, places: int = 4) -> str:
    """With its sign, which a zero has not."""
    return f"{value:+.{places}f}".replace("-", MINUS) if round(value, places) else fixed(0.0, places)


def _compared(own: Outlook, rivals: Mapping[str, Outlook]) -> Table:
    """The final losses side by side; differences are this schedule's less the other's, over common draws."""
    columns = (
        Column("schedule"),
        Column("final loss", True),
        Column("90 % interval", True),
        Column("yours less this", True),
        Column("90 % interval", True),
        Column("trust"),
    )
    rows = []
    for key, one in ({"yours": own} | dict(rivals)).items():
        trust = one.seen.trust
        interval = f"{fixed(trust.interval[0], 3)} to {fixed(trust.interval[1], 3)}" if trust else ""
        gap, between = own.above(one)
        same = between is None or not any(round(end, 4) for end in between)
        ends = "" if same else f"{_signed(between[0])} to {_signed(between[1])}"
        level = {"level": trust.level, "reason": ""} if trust else ""
        name = {"key": charts.COLOURS[key], "name": one.name}
        against = (_signed(gap), ends) if key != "yours" else ("", "")
        rows.append((name, fixed(one.seen.final_loss), interval, *against, level))
    return Table("Predicted final losses in nats per token", columns, rows)
