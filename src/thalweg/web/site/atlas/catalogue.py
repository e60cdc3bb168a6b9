"""The studies of the package as pages show them, read once and again only where a file has changed."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

from starlette.exceptions import HTTPException

from thalweg.web.atlas import in_order
from thalweg.web.study_views import figure_size, study_view

__all__ = ["Catalogue", "figure_of", "figure_reply", "version"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""A figure may carry styles, and nothing else: it cannot run scripts even when it is opened by itself."""


class Catalogue:
    """Views of all studies; bounded by their number, shared between requests."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {}

    def views(self) -> list[dict[str, Any]]:
        """All studies in the order of the atlas."""
        from thalweg.studies import STUDIES

        return [self._view(slug) for slug in in_order(list(STUDIES))]

    def view(self, slug: str) -> dict[str, Any]:
        """One study.

        Raises:
            HTTPException: 404, there is no such study.
        """
        from thalweg.studies import STUDIES

        if slug not in STUDIES:
            raise HTTPException(404, f"there is no study {slug[:80]!r}: the atlas lists all")
        return self._view(slug)

    def card(self, slug: str) -> Any:
        """The study's card as HTML, kept with the view."""
        view = self.view(slug)
        if "card" not in view:
            from thalweg.studies import base
            from thalweg.web.markdown import to_html

            view["card"] = to_html((base.folder_of(slug) / "card.md").read_text(encoding="utf-8"))
        return view["card"]

    def figure(self, slug: str) -> Path | None:
        """Where the study's figure lies; None where it has none."""
        from thalweg.studies import base

        self.view(slug)
        path = base.folder_of(slug) / "figure.svg"
        return path if path.exists() else None

    def _view(self, slug: str) -> dict[str, Any]:
        from thalweg.studies import base

        folder = base.folder_of(slug)
        stamps = tuple(version(folder / name) for name in ("expected.json", "card.md", "figure.svg"))
        with self._lock:
            stamp, view = self._kept.get(slug, ((), {}))
        if stamp == stamps:
            return view
        view = study_view(base.expected(slug), figure_of(folder / "figure.svg", f"studies/{slug}/figure.svg"))
        with self._lock:
            self._kept[slug] = (stamps, view)
        return view


def version(path: Path) -> str:
    """Changes whenever the file does; empty where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


def figure_of(path: Path, address: str) -> dict[str, Any] | None:
    """Address, width and height of a figure for the templates; the address changes with the file."""
    stamp = version(path)
    if not stamp:
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        width, height = figure_size(file.read(2000))
    return {"address": f"{address}?v={stamp}", "width": width, "height": height}


def figure_reply(request: Any, path: Path | None) -> Any:
    """The figure as a file: kept for a year under an address with its version, asked for anew under any other."""
    from starlette.responses import FileResponse, Response

    stamp = version(path) if path else ""
    if not path or not stamp:
        raise HTTPException(404, "there is no figure")
    exact = request.query_params.get("v") == stamp
    headers = {
        "ETag": f'"{stamp}"',
        "Cache-Control": "private, max-age=31536000, immutable" if exact else "no-cache",
        "Content-Security-Policy": POLICY,
    }
    if f'"{stamp}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type="image/svg+xml", headers=headers)
