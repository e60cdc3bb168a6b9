"""The page of one outcome: verdict, figure, seeds, records, and how far it is while it runs."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, StreamingResponse

from thalweg.studies.base import SCALES
from thalweg.studies.outcomes import find_outcome, read_records, read_seed
from thalweg.web.site.atlas.catalogue import figure_of, figure_reply, version
from thalweg.web.site.atlas.start import form_of
from thalweg.web.site.atlas.states import progress_of, sentence_of, state_of
from thalweg.web.site.atlas.words import address_of, record_table, row_of, seed_table
from thalweg.web.site.replies import part, reply, wants_part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from thalweg.studies.outcomes import Outcome
    from thalweg.web.site.atlas.catalogue import Catalogue
    from thalweg.web.site.atlas.worker import Worker

__all__ = ["OutcomePages"]

PAGE = 50  # records a page
KEPT_BYTES = 64 * 2**20  # of seeds' files whose records are kept between pages


class OutcomePages:
    """Endpoints for reading outcomes; they change nothing."""

    def __init__(self, catalogue: Catalogue, worker: Worker) -> None:
        self._catalogue, self._worker, self._seeds = catalogue, worker, Seeds()

    def outcome(self, request: Request) -> Response:
        """One outcome; ``?seed=&page=`` chooses the records."""
        outcome = self._find(request)
        state = state_of(outcome, self._worker)
        documents = [self._seeds.read(outcome.folder, seed) for seed in outcome.seeds]
        content = self._moving(outcome, state) | {
            "study": self._catalogue.view(outcome.slug),
            "figure": figure_of(outcome.folder / "figure.svg", f"{address_of(outcome)}/figure.svg"),
            "seeds": seed_table(documents) if documents else None,
            "about": _around(documents),
            "records": self._records(request, outcome, documents),
            "form": form_of(outcome.slug, outcome),
            "place": str(outcome.folder),
            "already": bool(request.query_params.get("already")) and state.active,
        }
        return reply(request, "site/outcome.html", **content)

    def progress(self, request: Request) -> Response:
        """How far the outcome is, for the page that asks every second; the page is loaded anew when it has ended."""
        outcome = self._find(request)
        if not wants_part(request):
            return RedirectResponse(address_of(outcome), 303)
        state = state_of(outcome, self._worker)
        answer = part("site/outcome_progress.html", **self._moving(outcome, state))
        if not state.active or request.query_params.get("state") != state.key:
            answer.headers["HX-Refresh"] = "true"
        return answer

    def figure(self, request: Request) -> Response:
        """The figure of the outcome."""
        return figure_reply(request, self._find(request).folder / "figure.svg")

    def records(self, request: Request) -> Response:
        """All records, a JSON object a line; numbers that JSON cannot hold are null."""
        outcome = self._find(request)
        name = f'attachment; filename="{outcome.slug}-{outcome.scale}.jsonl"'
        return StreamingResponse(_lines(outcome), media_type="application/jsonl", headers={"Content-Disposition": name})

    def _find(self, request: Request) -> Outcome:
        slug, name = request.path_params["slug"], request.path_params["name"]
        self._catalogue.view(slug)
        found = find_outcome(request.app.state.settings.root, slug, name)
        if found is None:
            lost = self._worker.lost.get(name)
            why = f" ({lost})" if lost else ""
            raise HTTPException(404, f"there is no outcome {name[:80]!r} of study {slug}, or no longer{why}")
        return found

    def _moving(self, outcome: Outcome, state: Any) -> dict[str, Any]:
        """What changes while it runs."""
        known = self._catalogue.view(outcome.slug)["seconds"] if outcome.scale == SCALES[1] else None
        progress = progress_of(outcome, known)
        return {"row": row_of(outcome, state), "progress": progress, "times": sentence_of(progress)}

    def _records(self, request: Request, outcome: Outcome, documents: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The page of records that was asked for, with the numbers of all pages."""
        if not documents:
            return None
        seed = _number(request, "seed", outcome.seeds[0])
        if seed not in outcome.seeds:
            raise HTTPException(404, f"seed {seed} is not done; done are {', '.join(map(str, outcome.seeds))}")
        records = documents[outcome.seeds.index(seed)].get("records") or []
        pages = max(1, math.ceil(len(records) / PAGE))
        page = min(max(_number(request, "page", 1), 1), pages)
        first = (page - 1) * PAGE
        caption = f"Records of seed {seed}, {first + 1} to {min(first + PAGE, len(records))} of {len(records)}"
        table = record_table(records[first : first + PAGE], caption) if records else None
        return {"table": table, "seed": seed, "page": page, "pages": pages, "seeds": outcome.seeds}


class Seeds:
    """Seeds' files, read once and again only where they have changed; the oldest go when there are too many bytes."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[tuple[Path, str], tuple[int, dict[str, Any]]] = OrderedDict()

    def read(self, folder: Path, seed: int) -> dict[str, Any]:
        """One seed's document.

        Raises:
            HTTPException: 404 the file is gone, 409 it is damaged.
        """
        path = folder / f"seed-{seed}.json"
        key = (path, version(path))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][1]
        document, size = None, 0
        try:
            size, document = path.stat().st_size, read_seed(folder, seed)
        except OSError:
            raise HTTPException(404, f"{path.name} of {folder.name} was removed just now") from None
        except ValueError:
            pass
        if not isinstance(document, dict):
            raise HTTPException(409, f"{path} is damaged: remove it, and starting the study again makes it anew")
        with self._lock:
            self._kept[key] = (size, document)
            while len(self._kept) > 1 and sum(kept for kept, _ in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return document


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 7 else default


def _around(documents: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What the first seed was run with."""
    around = documents[0].get("environment") or {} if documents else {}
    versions = ", ".join(f"{name} {value}" for name, value in (around.get("versions") or {}).items())
    rows = [("python", around.get("python")), ("versions", versions), ("platform", around.get("platform"))]
    rows.append(("command", around.get("command")))
    return [(name, str(value)) for name, value in rows if value]


def _lines(outcome: Outcome) -> Iterator[str]:
    for record in read_records(outcome):
        yield json.dumps(_plain(record), allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
