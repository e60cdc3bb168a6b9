"""The planner's pages: the form with its answer, the answer as JSON and as lines of a recipe, uploads of laws."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from thalweg.errors import InputError
from thalweg.web.site.designer.shelf import Memo
from thalweg.web.site.planner.laws import Laws
from thalweg.web.site.planner.query import DEFAULTS, MOST_LAWS, Ask
from thalweg.web.site.replies import part, reply, wants_part
from thalweg.web.site.uploads import one_file

if TYPE_CHECKING:
    from starlette.requests import Request

    from thalweg.laws.budget import RunPlan
    from thalweg.web.site.settings import Settings

__all__ = ["Pages"]

PART, PAGE = "site/planner_part.html", "site/planner.html"
DESIGNER_STEPS = 2_000_000


class Pages:
    """One a server."""

    def __init__(self, settings: Settings) -> None:
        self.laws, self._plans = Laws(settings), Memo(64)

    def page(self, request: Request) -> Response:
        """The form and its answer; for a script the answer alone."""
        return self._answer(request, _ask(request))

    def as_json(self, request: Request) -> Response:
        """The plan as JSON."""
        from thalweg.laws.budget.export import plan_dict

        text = json.dumps(plan_dict(self.plan(_ask(request))), indent=1, allow_nan=False) + "\n"
        return _download(text, "plan.json", "application/json")

    def as_recipe(self, request: Request) -> Response:
        """The lines of a recipe."""
        from thalweg.laws.budget.export import recipe_toml

        return _download(recipe_toml(self.plan(_ask(request))), "plan.toml", "application/toml")

    async def upload(self, request: Request) -> Response:
        """Takes a law or a table and shows the plan with it; what is refused is said above the plan as it was."""
        name, data = await one_file(request, "file")
        return await run_in_threadpool(self._taken, request, name, data)

    def _taken(self, request: Request, name: str, data: bytes) -> Response:
        ask = _ask(request)
        try:
            if len(ask.laws) >= MOST_LAWS:
                raise InputError(f"{MOST_LAWS} laws are in use already: remove one first")
            laws = (*ask.laws, self.laws.take(data, name))
            self.laws.joined(tuple(dict.fromkeys(laws)))
        except InputError as error:
            return self._answer(request, ask, said=str(error))
        return RedirectResponse(f"/planner?{ask.query(laws=tuple(dict.fromkeys(laws)))}", 303)

    def plan(self, ask: Ask) -> RunPlan:
        """The plan of a state, kept.

        Raises:
            InputError: what cannot be planned.
        """
        from thalweg.laws.budget import plan_run

        own = self.laws.joined(ask.laws)
        typed = ask.typed
        unique, context = ask.number("unique"), ask.context()
        budget, constraints = ask.budget(), ask.constraints()
        return self._plans.get(
            ask,
            lambda: plan_run(
                budget, constraints, unique=unique, own=own, sizes=typed["published"], context=context,
                shape=typed["schedule"],
            ),
        )  # fmt: skip

    def _answer(self, request: Request, ask: Ask, *, said: str = "") -> Response:
        from thalweg.laws.budget import DEVICES, SIZE_LAWS

        problem, plan = "", None
        try:
            plan = self.plan(ask)
        except InputError as error:
            problem = str(error)
        content: dict[str, Any] = {"ask": ask, "typed": ask.typed, "problem": problem, "said": said, "plan": plan}
        content |= {"kept": self._kept(ask), "query": ask.query(), "room": len(ask.laws) < MOST_LAWS}
        content |= {} if plan is None else _shown(plan, ask)
        status = 400 if problem or said else 200
        if wants_part(request):
            answer = part(PART, status=status, **content)
            answer.headers["HX-Replace-Url"] = f"/planner?{ask.query()}".rstrip("?")  # defaults left out
            return answer
        options = {"devices": DEVICES, "published": SIZE_LAWS, "defaults": DEFAULTS}
        return reply(request, PAGE, status=status, **content, **options)

    def _kept(self, ask: Ask) -> list[dict[str, str]]:
        """The laws in use, each with the address without it."""
        rows = []
        for key in ask.laws:
            try:
                words = self.laws.words(key)
            except InputError:
                words = f"{key[:12]} (not here any more)"
            rest = ask.query(laws=tuple(name for name in ask.laws if name != key))
            rows.append({"words": words, "without": f"/planner?{rest}"})
        return rows


def _ask(request: Request) -> Ask:
    return Ask.read(request.query_params, request.query_params.getlist("law"))


def _download(text: str, name: str, kind: str) -> Response:
    return Response(text, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _setting(words: str) -> Any:
    """A neighbour's words for the table; the plan's own row says that it is the plan."""
    plain = words.removesuffix(" (plan)")
    return words if plain == words else {"text": plain, "note": "the plan"}


def _shown(plan: RunPlan, ask: Ask) -> dict[str, Any]:
    """What the template needs of a plan."""
    from thalweg.laws.budget.export import recipe_toml
    from thalweg.laws.budget.words import choice_words, facts
    from thalweg.web.page import Column, Table
    from thalweg.web.site.planner.charts import epoch_chart, size_chart
    from thalweg.web.site.planner.cost_chart import cost_chart

    tables = []
    for choice, rows in choice_words(plan).items():
        basis = sorted({row[4] for row in rows})
        columns = (Column(choice), Column("loss, nats", True), Column("range", True), Column("FLOPs", True))
        cells = [[_setting(row[0]), row[1], row[2], "\N{MULTIPLICATION SIGN} " + row[3]] for row in rows]
        if all(row[3] == "1" for row in rows):
            columns, cells = columns[:3], [row[:3] for row in cells]
        if not any(row[2] for row in rows):
            columns, cells = (columns[0], columns[1]), [row[:2] for row in cells]
        tables.append((Table(choice.capitalize(), columns, cells), ", ".join(basis)))
    designer = ""
    if plan.schedule and plan.steps and 2 <= plan.steps <= DESIGNER_STEPS:
        curve = next((key for key in ask.laws if any(row.choice == "schedule" for row in plan.trade_offs)), "")
        designer = urlencode({"law": curve, "steps": plan.steps, "schedule": plan.schedule}) if curve else ""
    return {
        "facts": facts(plan, mfu=ask.mfu, device=ask.device),
        "size_chart": size_chart(plan),
        "epoch_chart": epoch_chart(plan),
        "cost_chart": cost_chart(plan),
        "tables": tables,
        "recipe": recipe_toml(plan),
        "designer": designer,
    }
