"""The addresses of the section and what answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Route

from thalweg.web.site.replies import part, reply, wants_part
from thalweg.web.site.runs.browse import browse
from thalweg.web.site.runs.comparison import comparison
from thalweg.web.site.runs.export import export
from thalweg.web.site.runs.live import stream
from thalweg.web.site.runs.shelf import Shelf
from thalweg.web.site.runs.show import page, plot
from thalweg.web.site.runs.sparks import Sparks
from thalweg.web.site.runs.view import ACROSS, SPANS, View, read_view, show_address

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from thalweg.web.site.settings import Settings

__all__ = ["pages"]


def pages(settings: Settings) -> list[BaseRoute]:
    """The routes; listing, logs and small curves are kept between requests."""
    shelf, sparks = Shelf(settings.root), Sparks()

    def runs(request: Request) -> Response:
        return _answer(request, "runs_list", browse(shelf, sparks, request.query_params))

    def show(request: Request) -> Response:
        path, view = request.path_params["path"], read_view(request.query_params)
        drawn = plot(shelf, path, view) | {"controls": _controls(view)}
        drawn["exact"] = _exact(show_address(path), drawn["view"])
        if wants_part(request):
            return part("site/runs_show_part.html", **drawn)
        return reply(request, "site/runs_show.html", **drawn, about=page(shelf, path))

    def compare(request: Request) -> Response:
        view = read_view(request.query_params)
        drawn = comparison(shelf, request.query_params.getlist("run"), view) | {"controls": _controls(view)}
        drawn["exact"] = _exact("/runs/compare", drawn["view"], drawn["paths"])
        return _answer(request, "runs_compare", drawn)

    def download(request: Request) -> Response:
        return export(shelf, request.query_params)

    async def live(request: Request) -> Response:
        return await stream(shelf, request)

    return [
        Route("/runs", runs),
        Route("/runs/compare", compare),
        Route("/runs/export", download),
        Route("/runs/live", live),
        Route("/runs/show/{path:path}", show),
    ]


def _answer(request: Request, name: str, content: dict[str, Any]) -> Response:
    if wants_part(request):
        return part(f"site/{name}_part.html", **content)
    return reply(request, f"site/{name}.html", **content)


def _controls(view: View) -> dict[str, Any]:
    """What the form offers."""
    spans = sorted({0.0, *SPANS, view.smooth or 0.0})
    words = [(f"{span:g}", f"{span:,g} steps" if span else "no average") for span in spans]
    return {"across": ACROSS, "spans": words}


def _exact(address: str, view: View, runs: list[str] | None = None) -> str:
    """The address of what is shown, with its move carried out."""
    query = view.query(runs or ())
    return f"{address}?{query}" if query else address
