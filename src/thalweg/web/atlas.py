"""The atlas: a page of all studies, and one a study with its card, the paper's numbers beside ours, and its figure."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thalweg.errors import InputError
from thalweg.files import write_atomic
from thalweg.web.markdown import to_html
from thalweg.web.page import Column, Table, render
from thalweg.web.words import give_or_take, moment, significant

__all__ = ["write_atlas"]

STATES = {"reproduced": "\N{CHECK MARK}", "not reproduced": "\N{MULTIPLICATION SIGN}", "inconclusive": "?"}
SLUG = re.compile(r"[a-z0-9][a-z0-9_-]*")


def write_atlas(studies: Sequence[Mapping[str, Any]], folder: str | Path) -> Path:
    """Writes ``index.html`` and ``studies/SLUG.html`` for each study; every file is self-contained and runs no script.

    Args:
        studies: what each ``expected.json`` holds (``slug``, ``title``, ``arxiv``, ``claim``, ``unit``, ``scale``,
            ``verdict``, ``effect``, ``error``, ``runs``, and where known ``command``, ``date``, ``device``,
            ``versions``, ``paper`` = [{what, value, source}], ``ours`` = [{what, value, unit}]) with ``card``
            (Markdown) and ``figure`` (SVG text or None). Studies are shown in this order.
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
    shown = [_view(study) for study in studies]
    for view in shown:
        write_atomic(folder / "studies" / f"{view['slug']}.html", render("study.html", study=view))
    counts = Counter(study["verdict"] for study in studies)
    tally = [(state, _class(state), counts[state]) for state in STATES if counts[state]]
    return write_atomic(folder / "index.html", render("atlas.html", studies=shown, tally=tally))


def _class(state: str) -> str:
    return state.replace(" ", "-")


def _view(study: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates show of a study."""
    if not SLUG.fullmatch(study["slug"]):
        raise InputError(f"slug {study['slug']!r} cannot name a page: use lower-case letters, digits, - and _")
    if study["verdict"] not in STATES:
        raise InputError(f"verdict {study['verdict']!r} of {study['slug']} must be one of {', '.join(STATES)}")
    versions = (study.get("versions") or {}).items()
    about = [
        ("scale", study["scale"]),
        ("seeds", study["runs"]),
        ("device", study.get("device")),
        ("date", moment(study["date"]) if study.get("date") else None),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions)),
    ]
    return {
        **{key: study[key] for key in ("slug", "title", "arxiv", "claim", "scale", "runs", "verdict")},
        "effect": _effect(study),
        "sign": STATES[study["verdict"]],
        "style": _class(study["verdict"]),
        "about": [(name, value) for name, value in about if value],
        "command": study.get("command", ""),
        "numbers": _numbers(study),
        "card": to_html(study["card"]) if study.get("card") else None,
        "figure": _data_address(study["figure"]) if study.get("figure") else None,
    }


def _effect(study: Mapping[str, Any]) -> str:
    """Effect ± error with the unit, the decimals set by the error's second digit."""
    effect, error = study["effect"], study["error"]
    if not error:
        return f"{significant(effect)} {study['unit']}"
    places = max(0, -int(f"{error:e}".partition("e")[2]) + 1)
    return f"{give_or_take(effect, error, places)} {study['unit']}"


def _numbers(study: Mapping[str, Any]) -> Table | None:
    """The paper's numbers beside ours, matched by ``what``, in the order of the paper's."""
    paper = {entry["what"]: entry for entry in study.get("paper") or ()}
    ours = {entry["what"]: entry for entry in study.get("ours") or ()}
    rows = []
    for what in dict.fromkeys([*paper, *ours]):
        theirs, own = paper.get(what, {}), ours.get(what, {})
        source = theirs.get("source", "")
        value = {"text": significant(theirs.get("value")), "note": source}
        rows.append([what, value, significant(own.get("value")), own.get("unit", "")])
    columns = [Column("What"), Column("Paper"), Column("Ours"), Column("Unit")]
    return Table("The paper\N{RIGHT SINGLE QUOTATION MARK}s numbers beside ours", columns, rows) if rows else None


def _data_address(svg: str) -> str:
    """The figure as a data address: an image cannot run scripts, load anything or clash with the page's names."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
