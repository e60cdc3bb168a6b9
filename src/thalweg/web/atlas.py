"""The published atlas: a page of all studies, and one a study with card, figure, the paper's numbers beside ours.

The pages are those of ``thalweg web`` without what needs a server. They run no script: the filters are style sheet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thalweg.errors import InputError
from thalweg.files import write_atomic
from thalweg.studies.topics import OTHER, TOPICS, topic_of
from thalweg.web.atlas_filter import Selection, choices
from thalweg.web.markdown import to_html
from thalweg.web.page import render
from thalweg.web.study_views import figure_size, study_view

__all__ = ["in_order", "write_atlas"]


def in_order(slugs: Sequence[str]) -> list[str]:
    """The studies as pages show them: by topic, within a topic by name."""
    rank = {topic: place for place, topic in enumerate([*TOPICS, OTHER])}
    return sorted(slugs, key=lambda slug: (rank[topic_of(slug)], slug))


def write_atlas(studies: Sequence[Mapping[str, Any]], folder: str | Path) -> Path:
    """Writes ``index.html``, ``studies/SLUG.html`` and ``figures/SLUG.svg``; no page runs a script or loads elsewhere.

    Args:
        studies: what each ``expected.json`` holds (``slug``, ``title``, ``arxiv``, ``claim``, ``unit``, ``scale``,
            ``verdict``, ``effect``, ``error``, ``runs``, and where known ``threshold``, ``seconds``, ``command``,
            ``date``, ``device``, ``versions``, ``paper`` = [{what, value, source}], ``ours`` =
            [{what, value, unit}]) with ``card`` (Markdown) and ``figure`` (SVG text or None). Studies are shown in
            this order.
        folder: is made if absent; pages of earlier atlases are replaced.

    Returns:
        The path of ``index.html``.

    Raises:
        InputError: ``folder`` is a file; a slug that cannot name a file, or twice the same; an unknown verdict.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder for the atlas")
    twice = [slug for slug, count in Counter(study["slug"] for study in studies).items() if count > 1]
    if twice:
        raise InputError(f"slug {twice[0]!r} is used by two studies: give each its own")
    shown = [study_view(study, _figure(study)) for study in studies]
    for study, view in zip(studies, shown, strict=True):
        if study.get("figure"):
            write_atomic(folder / "figures" / f"{view['slug']}.svg", study["figure"])
        card = to_html(study["card"]) if study.get("card") else None
        page = render("study.html", site=None, study=view, card=card, root="../")
        write_atomic(folder / "studies" / f"{view['slug']}.html", page)
    buttons = choices(shown, Selection())
    page = render("atlas.html", site=None, studies=shown, choices=buttons, total=len(shown), root="")
    return write_atomic(folder / "index.html", page)


def _figure(study: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the picture lies in the atlas, from its root, and its size."""
    if not study.get("figure"):
        return None
    width, height = figure_size(study["figure"])
    return {"address": f"figures/{study['slug']}.svg", "width": width, "height": height}
