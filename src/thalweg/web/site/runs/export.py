"""Downloads: curves in the columns that fitting a law reads, and recipes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Literal

from starlette.responses import Response, StreamingResponse

from thalweg.errors import InputError, suggest
from thalweg.runs import Run
from thalweg.runs.compare import curve_table
from thalweg.toml import read_toml

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from thalweg.web.site.runs.shelf import Shelf

__all__ = ["export"]

TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8", "toml": "application/toml"}
LINES = 2000  # sent at a time


def export(shelf: Shelf, query: QueryParams) -> Response:
    """The file that an address asks for: ``run`` (repeated), ``form``, ``metric``.

    Raises:
        HTTPException: 404, there is no such run.
        InputError: no run is named, an unknown form, a run without records of the metric, a recipe that is no TOML.
    """
    paths = list(dict.fromkeys(query.getlist("run")))
    form, metric = query.get("form", "csv"), query.get("metric") or "loss"
    if not paths:
        raise InputError("run is missing: name the runs to export")
    if form not in TYPES:
        raise InputError(f"form = {form!r} is not known: {suggest(form, TYPES)}")
    folders = {path: shelf.folder(path) for path in paths}
    headers = {"Content-Disposition": f'attachment; filename="{_file_name(paths, form)}"'}
    if form == "toml":
        return Response(_recipes(shelf, paths), media_type=TYPES[form], headers=headers)
    for folder in folders.values():
        shelf.file(folder, "log.jsonl")
    runs = [Run(folder, {}) for folder in folders.values()]
    table = curve_table(runs, metric=metric, names=paths)
    kind: Literal["csv", "jsonl"] = "csv" if form == "csv" else "jsonl"
    headers["X-Left-Out"] = str(table.left_out)
    return StreamingResponse(_joined(table.lines(kind)), media_type=TYPES[form], headers=headers)


def _recipes(shelf: Shelf, paths: list[str]) -> str:
    """The recipe as it is written; of several runs one document with a table each."""
    files = {path: shelf.file(shelf.folder(path), "recipe.toml") for path in paths}
    if len(files) > 1:
        import tomli_w

        return tomli_w.dumps({path: read_toml(file, "recipe") for path, file in files.items()})
    (file,) = files.values()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {file} cannot be read ({error}): restore it from a copy") from None


def _joined(lines: Iterator[str]) -> Iterator[bytes]:
    while piece := "".join(islice(lines, LINES)):
        yield piece.encode("utf-8", "replace")


def _file_name(paths: list[str], form: str) -> str:
    """A name that every header and file system takes."""
    last = paths[0].rpartition("/")[2] if len(paths) == 1 else f"{len(paths)}-runs"
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in last)
    return f"{kept[:80].lstrip('.') or 'run'}.{form}"
