"""The section atlas: all studies, a page of each, their outcomes in the folder of the runs, and starting one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from thalweg.web.site.atlas.catalogue import Catalogue
from thalweg.web.site.atlas.outcomes import OutcomePages
from thalweg.web.site.atlas.pages import StudyPages
from thalweg.web.site.atlas.start import StartPages
from thalweg.web.site.atlas.worker import Worker

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from thalweg.web.site.settings import Settings

__all__ = ["routes"]


def routes(settings: Settings) -> list[BaseRoute]:
    """The section's routes."""
    catalogue, worker = Catalogue(), Worker(settings.root)
    settings.closing.append(worker.close)
    studies, outcomes = StudyPages(catalogue, worker), OutcomePages(catalogue, worker)
    start = StartPages(catalogue, worker)
    place = "/studies/{slug}/outcomes/{name}"
    return [
        Route("/", studies.index),
        Route("/static/atlas.css", studies.style),
        Route("/studies/{slug}", studies.study),
        Route("/studies/{slug}/figure.svg", studies.figure),
        Route("/studies/{slug}/start", start.start, methods=["POST"]),
        Route(place, outcomes.outcome),
        Route(f"{place}/progress", outcomes.progress),
        Route(f"{place}/figure.svg", outcomes.figure),
        Route(f"{place}/records.jsonl", outcomes.records),
        Route(f"{place}/stop", start.stop, methods=["POST"]),
    ]
