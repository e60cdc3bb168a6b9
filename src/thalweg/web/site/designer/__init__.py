"""The section designer: pick curves, fit a law, draw a schedule and see what it promises while it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from thalweg.web.site.settings import Settings

__all__ = ["routes"]


def routes(settings: Settings) -> list[BaseRoute]:
    """The section's routes."""
    from starlette.routing import Route

    from thalweg.web.site.designer.bench import Bench
    from thalweg.web.site.designer.desk import Desk
    from thalweg.web.site.designer.start import Start

    desk = Desk(settings)
    bench, start = Bench(desk), Start(desk)
    return [
        Route("/designer", bench.page),
        Route("/designer/rates.csv", bench.rates),
        Route("/designer/law.json", bench.law),
        Route("/designer/curves", start.curves),
        Route("/designer/curves", start.upload, methods=["POST"]),
        Route("/designer/law", start.upload_law, methods=["POST"]),
        Route("/designer/fit", start.progress),
        Route("/designer/fit", start.fit, methods=["POST"]),
    ]
