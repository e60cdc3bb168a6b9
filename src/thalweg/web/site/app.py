"""The application: the sections' routes behind the guard, and one way to say what went wrong."""

from __future__ import annotations

import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from thalweg.errors import InputError
from thalweg.web.site import atlas, designer, planner, runs
from thalweg.web.site.guard import BodyTooLarge, Guard
from thalweg.web.site.replies import problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from thalweg.web.site.settings import Settings

__all__ = ["build_app"]

WEB = Path(__file__).parent.parent
SECTIONS = (atlas, runs, designer, planner)


def build_app(settings: Settings) -> Starlette:
    """The ASGI application of ``thalweg web``; imports neither torch nor scipy."""
    routes = [route for section in SECTIONS for route in section.routes(settings)]
    routes += [
        Route("/static/style.css", _style),
        Mount("/static", StaticFiles(directory=WEB / "static")),
    ]
    handlers = {InputError: _refused, BodyTooLarge: _too_large, HTTPException: _missing, Exception: _broken}
    guard = [Middleware(Guard, settings=settings)]
    app = Starlette(routes=routes, middleware=guard, exception_handlers=handlers, lifespan=_life)
    app.state.settings = settings
    app.state.stopping = False
    return app


@asynccontextmanager
async def _life(app: Starlette) -> AsyncIterator[None]:
    """From the start of the server to its orderly end."""
    yield
    for close in app.state.settings.closing:
        await run_in_threadpool(close)


def _style(_: Request) -> Response:
    """The style sheet that static pages carry inside."""
    return FileResponse(WEB / "templates" / "style.css", media_type="text/css")


def _refused(request: Request, error: Exception) -> Response:
    return problem(request, str(error), status=400)


def _too_large(request: Request, error: Exception) -> Response:
    return problem(request, str(error), status=413)


def _missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: f"there is no page {request.url.path}", 405: f"{request.url.path} does not take {request.method}"}
    unsaid = error.detail == HTTPStatus(error.status_code).phrase
    sentence = words.get(error.status_code, error.detail) if unsaid else error.detail
    return problem(request, sentence, status=error.status_code)


def _broken(request: Request, error: Exception) -> Response:
    traceback.print_exception(error, file=sys.stderr)
    return problem(request, f"{type(error).__name__}: {error}; the terminal shows where", status=500)
