"""Starting and stopping a study from its page; only where the server was started with ``--write``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from thalweg.errors import InputError, suggest
from thalweg.studies.base import SCALES
from thalweg.studies.outcomes import REQUEST, find_outcome
from thalweg.web.site.atlas.words import address_of
from thalweg.web.site.atlas.worker import Job

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from thalweg.studies.outcomes import Outcome
    from thalweg.web.site.atlas.catalogue import Catalogue
    from thalweg.web.site.atlas.worker import Worker

__all__ = ["StartPages", "form_of"]

MOST_SEEDS = 64
READ_ONLY = "this server only reads: start it with thalweg web --write"


class StartPages:
    """Endpoints that start and stop."""

    def __init__(self, catalogue: Catalogue, worker: Worker) -> None:
        self._catalogue, self._worker = catalogue, worker

    async def start(self, request: Request) -> Response:
        """Puts the study into the line and leads to its page; one that runs or waits already is shown as it is."""
        slug = request.path_params["slug"]
        self._catalogue.view(slug)
        _may_write(request)
        form = await request.form()
        scale = str(form.get("scale", "smoke"))
        if scale not in SCALES:
            raise InputError(f"scale {scale[:40]!r} is not known: {suggest(scale[:40], SCALES)}")
        job = Job(slug, scale, _whole(form, "seeds", MOST_SEEDS), _whole(form, "jobs", most_jobs()))
        new = await run_in_threadpool(self._worker.submit, job)
        return RedirectResponse(f"/studies/{slug}/outcomes/{job.name}" + ("" if new else "?already=1"), 303)

    async def stop(self, request: Request) -> Response:
        """Takes the study out of the line or interrupts its process."""
        slug, name = request.path_params["slug"], request.path_params["name"]
        self._catalogue.view(slug)
        _may_write(request)
        outcome = await run_in_threadpool(find_outcome, request.app.state.settings.root, slug, name)
        if outcome is None:
            raise HTTPException(404, f"there is no outcome {name[:80]!r} of study {slug}, or no longer")
        await run_in_threadpool(self._stop, outcome)
        return RedirectResponse(address_of(outcome), 303)

    def _stop(self, outcome: Outcome) -> None:
        from thalweg.runs.state import write_json

        times = int(outcome.request.get("stops") or 0) if outcome.request.get("state") == "running" else 0
        running = self._worker.place(outcome.name) is None
        if running and outcome.request.get("state") == "running":
            write_json(outcome.folder / REQUEST, outcome.request | {"stops": times + 1})
        self._worker.stop(outcome.name, times)


def form_of(slug: str, outcome: Outcome | None = None) -> dict[str, Any]:
    """What the form shows: where it sends, what it offers, what is filled in."""
    request = outcome.request if outcome else {}
    return {
        "address": f"/studies/{slug}/start",
        "scales": SCALES,
        "scale": outcome.scale if outcome else "smoke",
        "seeds": request.get("seeds") or max(3, len(outcome.seeds) if outcome else 3),
        "jobs": request.get("jobs") or 1,
        "most_seeds": MOST_SEEDS,
        "most_jobs": most_jobs(),
        "refusal": READ_ONLY,
    }


def most_jobs() -> int:
    """Seeds that may run at the same time on this machine."""
    return max(1, min(16, os.cpu_count() or 1))


def _may_write(request: Request) -> None:
    if not request.app.state.settings.write:
        raise HTTPException(403, READ_ONLY)


def _whole(form: Any, name: str, most: int) -> int:
    """A number of the form.

    Raises:
        InputError: it is none, or out of bounds.
    """
    given = str(form.get(name, "1")).strip()
    if not (given.isascii() and given.isdigit() and len(given) < 7 and 1 <= int(given) <= most):
        raise InputError(f"{name} = {given[:40]!r} must be a whole number from 1 to {most}")
    return int(given)
