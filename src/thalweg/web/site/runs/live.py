"""A stream for a page that watches a run: says that the log grew, and why there will be no more.

The log is tailed by offset through the columns that all pages share: what was read is not read again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from thalweg.errors import InputError
from thalweg.runs.state import read_state, true_status

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from thalweg.web.site.runs.shelf import Shelf

__all__ = ["look", "stream"]

EVERY = 0.5  # seconds between looks
PULSE = 15.0  # seconds after which a silent stream sends a comment, so that both sides notice a broken connection
ENDS = {
    "done": "The run is done.",
    "interrupted": "The process of the run ended before the run did: it was stopped or killed.",
    "gone": "The folder of the run disappeared.",
}


@dataclass(frozen=True, slots=True)
class Look:
    """A run at one moment.

    Attributes:
        log: what of its log was read, as ``LogColumns.state``.
        step: last logged step, None before the first.
        end: the sentence that says why nothing more will come; empty while more may.
    """

    log: tuple[object, ...]
    step: int | None
    end: str


class _Counted(StreamingResponse):
    """A stream that is counted out however it ends."""

    def __init__(self, shelf: Shelf, content: AsyncIterator[str]) -> None:
        super().__init__(content, media_type="text/event-stream")
        self._shelf = shelf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._shelf.leave_stream()


def look(shelf: Shelf, path: str) -> Look:
    """The run as it is now, what its log gained included."""
    try:
        folder = shelf.folder(path)
        state = read_state(folder)
        status = true_status(folder, state["status"])  # before the log: what a run that ended wrote last is seen
        columns = shelf.columns(path, folder)
    except (HTTPException, InputError, OSError) as error:
        gone = not shelf.holds(shelf.root / path)
        return Look((), None, ENDS["gone"] if gone else f"The run cannot be read: {error}.")
    steps = columns.steps()
    end = "" if status in ("running", "new") else ENDS.get(status, "")
    if status == "failed":
        end = f"The run failed: {state.get('error') or 'it left no reason'}."
    return Look(columns.state, int(steps[-1]) if len(steps) else None, end)


async def stream(shelf: Shelf, request: Request) -> Response:
    """The stream of ``?run=PATH``: events ``grown`` with the last step, then one ``ended`` with the reason."""
    path = request.query_params.get("run", "")
    await run_in_threadpool(shelf.folder, path)
    if not shelf.enter_stream():
        return PlainTextResponse("as many pages as this server serves watch runs already: close one\n", 503)
    return _Counted(shelf, _events(shelf, path, request))


async def _events(shelf: Shelf, path: str, request: Request) -> AsyncIterator[str]:
    seen: tuple[object, ...] = ()
    silent = 0.0
    while not request.app.state.stopping:
        now = await run_in_threadpool(look, shelf, path)
        if now.log != seen and now.step is not None:
            seen, silent = now.log, 0.0
            yield _event("grown", {"step": now.step})
        if now.end:
            yield _event("ended", {"why": now.end})
            return
        if silent >= PULSE:
            silent = 0.0
            yield ": still here\n\n"
        await anyio.sleep(EVERY)
        silent += EVERY


def _event(name: str, content: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"
