"""The designer's page: it reads the state of the address, applies an edit, and shows what the law says of it.

An edit is an address too: the state before it, and ``how`` with the fields of one form. Its answer names the address of
the state after it, to which a browser without script is sent on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse, Response

from thalweg.errors import InputError
from thalweg.web.site.designer.points import as_points, as_schedule, changed, stretched
from thalweg.web.site.designer.start import front
from thalweg.web.site.designer.state import State, taken
from thalweg.web.site.replies import part, reply, wants_part

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from thalweg.web.site.designer.desk import Desk, Fitted

__all__ = ["Bench"]

WAIT = 0.03
"""Seconds that an edit's answer waits for the schedules it is compared with; after that the page asks again."""


class Bench:
    """The pages of one law."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def page(self, request: Request) -> Response:
        """The designer, or, without a law, the way to one."""
        query = request.query_params
        if "run" in query:
            return RedirectResponse(f"/designer/curves?{request.url.query}", 303)
        if "law" not in query:
            return front(self.desk, request)
        fitted = self.desk.fitted(query["law"])
        before = State.read(_without_edit(query), fitted.law)
        state, problem = before, ""
        if how := query.get("how", ""):
            try:
                state = edited(before, how, query)
                self.desk.look(state)
            except InputError as error:
                state, problem = before, str(error)
            if not problem and not wants_part(request):
                return RedirectResponse(state.address, 303)
        style = request.headers.get("designer-style", "")
        content = self._content(fitted, state, style, wait=WAIT if wants_part(request) else None)
        content |= {"problem": problem, "typed": query if problem else {}}
        if wants_part(request):
            answer = part("site/designer_part.html", **content)
        else:
            answer = reply(request, "site/designer.html", status=400 if problem else 200, **content)
        answer.headers["Designer-Address"] = state.address.encode("ascii", "backslashreplace").decode()
        return answer

    def _content(self, fitted: Fitted, state: State, style: str, *, wait: float | None) -> dict[str, Any]:
        from thalweg.web.site.designer.outlook import Outlook
        from thalweg.web.site.designer.show import content

        own = self.desk.look(state)
        compared = self.desk.rivals(state.law, state.steps, state.frame, wait=wait)
        found = {key: one for key, one in (compared or {}).items() if isinstance(one, Outlook)}
        missing = {key: one for key, one in (compared or {}).items() if isinstance(one, str)}
        points = as_points(state.schedule, state.steps, state.schedule.rates(state.steps))
        curves: Mapping[str, Any] = {}
        if state.panel == "law" and fitted.order is not None:
            try:
                curves = self.desk.curves(fitted.order.curves)
            except InputError:
                curves = {}
        return content(fitted, state, own, found, missing, points, curves, style) | {"pending": compared is None}

    def rates(self, request: Request) -> Response:
        """The schedule's rates as CSV."""
        from thalweg.web.site.designer.export import csv_text

        query = request.query_params
        state = State.read(query, self.desk.fitted(query.get("law", "")).law)
        return _download(csv_text(state.schedule, state.steps), "schedule.csv", "text/csv")

    def law(self, request: Request) -> Response:
        """The law as ``thalweg fit --out`` writes it."""
        law = self.desk.fitted(request.query_params.get("law", "")).law
        return _download(law.to_json(), "law.json", "application/json")


def edited(state: State, how: str, query: QueryParams) -> State:
    """The state after an edit.

    Args:
        state: before it.
        how: ``points``, ``form``, ``family``, ``text``, ``frame``, ``steps`` or ``panel``.
        query: the fields of the edit's form, under names that start with ``e.``.

    Raises:
        InputError: fields that cannot be used.
    """
    from thalweg.web.site.designer import fields

    given = {key.removeprefix("e."): value for key, value in query.multi_items() if key.startswith("e.")}
    if how == "points":
        points = _points(query)
        if action := query.get("e.do", ""):
            made = changed(points, action, state.steps)
            return replace(state, schedule=as_schedule(made.steps, made.rates, state.steps))
        return replace(state, schedule=as_schedule(points.steps, points.rates, state.steps))
    if how == "form":
        schedule = fields.read(given.pop("family", ""), given)
        return replace(state, schedule=taken(str(schedule), state.steps))
    if how == "family":
        schedule = fields.begin(given.get("family", ""), state.frame, state.steps)
        return replace(state, schedule=taken(str(schedule), state.steps))
    if how == "text":
        return replace(state, schedule=taken(given.get("spec", ""), state.steps))
    if how == "steps":
        asked = dict(state.query) | {"steps": given.get("steps", "")}
        asked |= {"axis": given.get("axis", "")}
        new = State.read(asked | {"schedule": ""}, _NoLaw)  # type: ignore[arg-type]
        moved = stretched(state.schedule, state.steps, new.steps)
        return replace(new, schedule=taken(str(moved), new.steps))
    if how == "frame":
        asked = dict(state.query) | {"rise": ""} | given
        return State.read(asked, _NoLaw)  # type: ignore[arg-type]
    raise InputError(f"how is {how!r}; send one of the page's own forms")


class _NoLaw:
    """Stands in where an address says everything, so that no law is asked for defaults."""

    record = None


def _points(query: QueryParams) -> Any:
    from thalweg.web.site.designer.points import Points

    at, rates = query.getlist("e.at"), query.getlist("e.lr")
    if len(at) != len(rates):
        raise InputError(f"{len(at)} steps but {len(rates)} rates; give both for every point")
    pairs = []
    for k, (step, rate) in enumerate(zip(at, rates, strict=True), 1):
        try:
            place = float(step)
            if place != int(place):
                raise ValueError(step)
            pairs.append((int(place), float(rate)))
        except (ValueError, OverflowError):
            raise InputError(f"point {k} is {step!r}, {rate!r}; give a whole step and a learning rate") from None
    return Points(tuple(place for place, _ in pairs), tuple(rate for _, rate in pairs))


def _without_edit(query: QueryParams) -> dict[str, str]:
    return {key: value for key, value in query.items() if not key.startswith("e.") and key != "how"}


def _download(text: str, name: str, kind: str) -> Response:
    return Response(text, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
