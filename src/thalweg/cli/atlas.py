"""thalweg atlas: the static pages of all studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["atlas"]


def atlas(*, out: Path = Path("atlas"), json: bool = False) -> None:
    """Write a page of all studies and one for each; prints the path of the first.

    Parameters
    ----------
    out
        Folder for the pages.
    json
        Print one JSON object.
    """
    from thalweg.cli.output import emit
    from thalweg.studies import STUDIES
    from thalweg.web.atlas import in_order, write_atlas

    page = write_atlas([_read(slug) for slug in in_order(list(STUDIES))], out)
    if json:
        emit("atlas", {"page": str(page), "studies": list(STUDIES)})
        return
    print(page)


def _read(slug: str) -> dict[str, Any]:
    """A study's expected.json with its card and its figure."""
    from thalweg.studies.base import expected, folder_of

    folder = folder_of(slug)
    figure = folder / "figure.svg"
    return {
        **expected(slug),
        "card": (folder / "card.md").read_text(encoding="utf-8"),
        "figure": figure.read_text(encoding="utf-8") if figure.exists() else None,
    }
