"""The section runs: the list, a run with its curves, a comparison, downloads, and streams for what is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from thalweg.web.site.settings import Settings

__all__ = ["routes"]


def routes(settings: Settings) -> list[BaseRoute]:
    """The section's routes; what they share lives as long as the application."""
    from thalweg.web.site.runs.pages import pages

    return pages(settings)
