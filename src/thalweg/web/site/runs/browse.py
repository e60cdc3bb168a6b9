"""The list: filter by words and status, sort, leaf through, choose several to compare. All of it is in the address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from thalweg.errors import InputError, suggest
from thalweg.runs.index import RunSummary
from thalweg.web.site.runs.series import said
from thalweg.web.site.runs.view import MOST_RUNS, show_address
from thalweg.web.words import whole

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from thalweg.web.site.runs.shelf import Shelf
    from thalweg.web.site.runs.sparks import Sparks

__all__ = ["PAGE", "browse"]

PAGE = 50
STATUSES = ("running", "done", "interrupted", "failed", "new", "unreadable")
SORTS = {
    "created": ("Newest first", lambda run: run.created, True),
    "oldest": ("Oldest first", lambda run: run.created, False),
    "name": ("Name", lambda run: run.path.casefold(), False),
    "loss": ("Lowest loss first", lambda run: _by_loss(run.loss), False),
    "steps": ("Most steps first", lambda run: run.steps_done, True),
    "status": ("Status", lambda run: STATUSES.index(run.status), False),
}


def _by_loss(loss: float | None) -> tuple[int, float]:
    """Numbers by size, then nan, then runs without any."""
    return (2, 0.0) if loss is None else (1, 0.0) if loss != loss else (0, loss)


@dataclass(frozen=True, slots=True)
class _Asked:
    words: str
    status: str
    sort: str
    page: int
    chosen: tuple[str, ...]

    def address(self, **changes: Any) -> str:
        asked = {"words": self.words, "status": self.status, "sort": self.sort, "page": self.page} | changes
        defaults = {"words": "", "status": "", "sort": "created", "page": 1}
        pairs = [(name, value) for name, value in asked.items() if value != defaults[name]]
        query = urlencode([*pairs, *(("run", path) for path in self.chosen)])
        return f"/runs?{query}" if query else "/runs"


def _read(query: QueryParams) -> _Asked:
    status, sort, page = query.get("status", ""), query.get("sort") or "created", query.get("page") or "1"
    if status and status not in STATUSES:
        raise InputError(f"status = {status!r} is not known: {suggest(status, STATUSES)}")
    if sort not in SORTS:
        raise InputError(f"sort = {sort!r} is not known: {suggest(sort, SORTS)}")
    if not (page.isascii() and page.isdigit() and len(page) < 9):
        raise InputError(f"page = {page!r} must be a whole number from 1")
    return _Asked(query.get("words", ""), status, sort, int(page), tuple(dict.fromkeys(query.getlist("run"))))


def browse(shelf: Shelf, sparks: Sparks, query: QueryParams) -> dict[str, Any]:
    """What the page of the list shows.

    Raises:
        InputError: an unknown status or order, a page that is no number.
    """
    asked = _read(query)
    runs = shelf.runs()
    found = [run for run in runs if _matches(run, asked.words.casefold().split())]
    counts = Counter(run.status for run in found)
    if asked.status:
        found = [run for run in found if run.status == asked.status]
    _, key, falling = SORTS[asked.sort]
    found.sort(key=key, reverse=falling)
    pages = max(1, -(-len(found) // PAGE))
    page = min(max(asked.page, 1), pages)
    shown = found[PAGE * (page - 1) : PAGE * page]
    here = {run.path for run in shown}
    return {
        "asked": asked,
        "root": shelf.root,
        "most": MOST_RUNS,
        "exists": shelf.root.is_dir(),
        "total": len(runs),
        "found": len(found),
        "rows": [_row(run, shelf, sparks) for run in shown],
        "elsewhere": [path for path in asked.chosen if path not in here],
        "statuses": [(status, counts[status]) for status in STATUSES],
        "sorts": [(name, words) for name, (words, _, _) in SORTS.items()],
        "page": page,
        "pages": pages,
        "numbers": _numbers(page, pages),
        "first": PAGE * (page - 1) + 1,
        "last": PAGE * (page - 1) + len(shown),
        "address": asked.address(page=page),
        "live": any(run.status == "running" for run in shown),
    }


def _matches(run: RunSummary, words: Sequence[str]) -> bool:
    text = f"{run.path} {run.name} {run.recipe} {run.problem}".casefold() if words else ""
    return all(word in text for word in words)


def _row(run: RunSummary, shelf: Shelf, sparks: Sparks) -> dict[str, Any]:
    try:
        log = shelf.file(shelf.root / run.path, "log.jsonl") if run.steps_done > 1 else None
    except InputError:
        log = None
    return {
        "run": run,
        "address": show_address(run.path),
        "loss": "" if run.loss is None else said(run.loss),
        "done": whole(run.steps_done),
        "steps": "" if run.steps == run.steps_done else f" of {'?' if run.steps is None else whole(run.steps)}",
        "share": min(1.0, run.steps_done / run.steps) if run.steps else None,
        "created": run.created[:16].replace("T", " "),
        "spark": sparks.path(log) if log else "",
    }


def _numbers(page: int, pages: int) -> list[int]:
    """Pages to name: the first, the last, and those around this one; 0 for a gap."""
    near = sorted({1, pages, *range(max(1, page - 2), min(pages, page + 2) + 1)})
    return [n for a, b in zip([0, *near], near, strict=False) for n in ([0, b] if b - a > 1 else [b])]
