"""Answers: a whole page, the part of it that a script asked for, a sentence of refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

from thalweg.web.page import render

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["SECTIONS", "part", "problem", "reply", "wants_part"]

SECTIONS = (("atlas", "/", "Atlas"), ("runs", "/runs", "Runs"), ("designer", "/designer", "Designer"))
SECTIONS += (("planner", "/planner", "Planner"),)


def wants_part(request: Request) -> bool:
    """Whether htmx asked, for a part of the page that it will put in place."""
    return "hx-request" in request.headers


def reply(request: Request, template: str, *, status: int = 200, **content: Any) -> HTMLResponse:
    """The page ``template`` inside the frame that all pages share (navigation, style sheet, scripts)."""
    settings = request.app.state.settings
    site = {"sections": SECTIONS, "write": settings.write, "path": request.url.path}
    return HTMLResponse(_bytes(render(template, site=site, **content)), status)


def part(template: str, *, status: int = 200, **content: Any) -> HTMLResponse:
    """The template alone, for ``wants_part``."""
    return HTMLResponse(_bytes(render(template, **content)), status)


def _bytes(text: str) -> bytes:
    """UTF-8; half characters, which names of files and JSON may hold, become question marks."""
    return text.encode("utf-8", "replace")


def problem(request: Request, sentence: str, *, status: int) -> HTMLResponse:
    """What was wrong with the request, as a page or, where a script asked, as the part it put in place."""
    if wants_part(request):
        return part("site/problem_part.html", status=status, sentence=sentence)
    return reply(request, "site/problem.html", status=status, sentence=sentence, code=status)
