"""The pages of all studies and of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import FileResponse

from thalweg.studies.outcomes import find_outcomes
from thalweg.web.atlas_filter import Selection, choices, select
from thalweg.web.site.atlas.catalogue import figure_reply
from thalweg.web.site.atlas.start import form_of
from thalweg.web.site.atlas.states import state_of
from thalweg.web.site.atlas.words import row_of
from thalweg.web.site.replies import part, reply, wants_part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from thalweg.web.site.atlas.catalogue import Catalogue
    from thalweg.web.site.atlas.worker import Worker

__all__ = ["StudyPages"]

TEMPLATES = Path(__file__).parents[2] / "templates"
FILTERS = ("topic", "verdict", "word")
SHOWN = 50  # outcomes listed on a study's page


class StudyPages:
    """Endpoints for reading; they change nothing."""

    def __init__(self, catalogue: Catalogue, worker: Worker) -> None:
        self._catalogue, self._worker = catalogue, worker

    def index(self, request: Request) -> Response:
        """All studies, or those that fit ``?topic=&verdict=&word=``."""
        chosen = Selection(**{name: request.query_params.get(name, "") for name in FILTERS})
        views = self._catalogue.views()
        content = {
            "studies": select(views, chosen),
            "choices": choices(views, chosen),
            "chosen": chosen,
            "total": len(views),
            "root": "/",
        }
        if wants_part(request):
            answer = part("site/atlas_part.html", site=True, **content)
            answer.headers["HX-Replace-Url"] = _address(chosen)
            return answer
        root = request.app.state.settings.root
        active = [(outcome, state_of(outcome, self._worker)) for outcome in find_outcomes(root)]
        active = [row_of(outcome, state) for outcome, state in active if state.active]
        active.sort(key=lambda row: row["state"] == "queued")
        return reply(request, "atlas.html", active=active, **content)

    def study(self, request: Request) -> Response:
        """One study with the outcomes found in the folder of the runs."""
        slug = request.path_params["slug"]
        view = self._catalogue.view(slug)
        settings = request.app.state.settings
        found = find_outcomes(settings.root, slug)
        rows = [row_of(outcome, state_of(outcome, self._worker)) for outcome in found[:SHOWN]]
        return reply(
            request,
            "study.html",
            study=view,
            card=self._catalogue.card(slug),
            root="/",
            outcomes=rows,
            unseen=len(found) - len(rows),
            place=str(settings.root / "studies"),
            form=form_of(slug),
        )

    def figure(self, request: Request) -> Response:
        """The figure that came with the package."""
        return figure_reply(request, self._catalogue.figure(request.path_params["slug"]))

    def style(self, _: Request) -> Response:
        """The part of the style sheet that the published atlas carries inside."""
        return FileResponse(TEMPLATES / "atlas.css", media_type="text/css")


def _address(chosen: Selection) -> str:
    """The address of a selection, without what is not chosen."""
    from urllib.parse import urlencode

    query = urlencode({name: value for name in FILTERS if (value := getattr(chosen, name))})
    return f"/?{query}" if query else "/"
