"""The section planner: a budget in, a run and what each of its choices costs out; the address holds all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from thalweg.web.site.settings import Settings

__all__ = ["routes"]


def routes(settings: Settings) -> list[BaseRoute]:
    """The section's routes."""
    from starlette.routing import Route

    from thalweg.web.site.planner.pages import Pages

    pages = Pages(settings)
    return [
        Route("/planner", pages.page),
        Route("/planner/plan.json", pages.as_json),
        Route("/planner/recipe.toml", pages.as_recipe),
        Route("/planner/law", pages.upload, methods=["POST"]),
    ]
