"""What pages show of a study: the same words and numbers on the local pages and in the published atlas."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.errors import InputError
from thalweg.studies.topics import OTHER, topic_of
from thalweg.web.effect_bar import effect_bar, remark
from thalweg.web.page import Column, Table
from thalweg.web.words import give_or_take, moment, significant

__all__ = ["SLUG", "STATES", "drawn_effect", "effect_text", "figure_size", "state_class", "study_view"]

STATES = {"reproduced": "\N{CHECK MARK}", "not reproduced": "\N{MULTIPLICATION SIGN}", "inconclusive": "?"}
SLUG = re.compile(r"[a-z0-9][a-z0-9_-]*")
BOX = re.compile(r'viewBox="\s*[-\d.]+[\s,]+[-\d.]+[\s,]+([\d.]+)[\s,]+([\d.]+)')
ERROR = ", standard error"
FIRST = 12  # of our numbers that stand before "more"


def state_class(state: str) -> str:
    """A verdict as a CSS class."""
    return state.replace(" ", "-")


def study_view(study: Mapping[str, Any], figure: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the templates show of a study.

    Args:
        study: what ``expected.json`` holds; see ``thalweg.web.atlas.write_atlas``.
        figure: ``address``, ``width`` and ``height`` of its picture, or None.

    Raises:
        InputError: a slug that cannot name a page, or an unknown verdict.
    """
    slug, verdict = study["slug"], study["verdict"]
    if not SLUG.fullmatch(slug):
        raise InputError(f"slug {slug!r} cannot name a page: use lower-case letters, digits, - and _")
    if verdict not in STATES:
        raise InputError(f"verdict {verdict!r} of {slug} must be one of {', '.join(STATES)}")
    effect = effect_text(study)
    topic = topic_of(slug)
    versions = (study.get("versions") or {}).items()
    about = [
        ("topic", topic if topic != OTHER else None),
        ("scale", study["scale"]),
        ("seeds", study["runs"]),
        ("cost", _cost(study.get("seconds"))),
        ("device", study.get("device")),
        ("date", moment(study["date"]) if study.get("date") else None),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions)),
    ]
    numbers, more = _numbers(study)
    return {
        **{key: study[key] for key in ("slug", "title", "arxiv", "claim", "scale", "runs", "verdict")},
        **drawn_effect(study),
        "effect": effect,
        "topic": topic,
        "seconds": study.get("seconds"),
        "cost": _cost(study.get("seconds")),
        "date": moment(study["date"]).partition(",")[0] if study.get("date") else "",
        "sign": STATES[verdict],
        "style": state_class(verdict),
        "marks": f"topic-{state_class(topic)} verdict-{state_class(verdict)}",
        "about": [(name, value) for name, value in about if value],
        "command": study.get("command", ""),
        "numbers": numbers,
        "more_numbers": more,
        "figure": figure,
        "words": " ".join([slug, study["title"], study["claim"], study["arxiv"], study["unit"], topic]).casefold(),
    }


def drawn_effect(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """``bar`` and ``remark`` of what has ``effect``, ``error``, ``verdict``, ``unit`` and perhaps ``threshold``."""
    effect, error, threshold = outcome["effect"], outcome["error"], outcome.get("threshold")
    label = f"Effect {effect_text(outcome)}"
    if threshold is not None:
        label += f"; the rule demands more than {significant(threshold)}"
    verdict = outcome["verdict"] if "threshold" in outcome else ""  # older outcomes do not say
    return {
        "bar": effect_bar(effect, error, threshold, label),
        "remark": remark(effect, error, threshold, verdict) if verdict else "",
    }


def effect_text(study: Mapping[str, Any]) -> str:
    """Effect ± error with the unit, the decimals set by the error's second digit."""
    effect, error = study["effect"], study["error"]
    if not error:
        return f"{significant(effect)} {study['unit']}"
    places = max(0, -int(f"{error:e}".partition("e")[2]) + 1)
    return f"{give_or_take(effect, error, places)} {study['unit']}"


def figure_size(svg: str) -> tuple[int, int]:
    """Width and height of an SVG by its viewBox, CSS pixels; 4:3 where it has none. The head of the text is enough."""
    found = BOX.search(svg[:2000])
    width, height = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    return (round(width), round(height)) if width >= 1 and height >= 1 else (800, 600)


def _cost(seconds: Sequence[float] | None) -> str:
    """Wall-clock seconds a seed, the least and the most."""
    if not seconds:
        return ""
    low, high = round(min(seconds)), round(max(seconds))
    return f"{low:,} s a seed" if low == high else f"{low:,} to {high:,} s a seed"


def _numbers(study: Mapping[str, Any]) -> tuple[list[Table], Table | None]:
    """The paper's numbers beside ours, and the rest of ours.

    One table where both name the same things (``what``), else one each.
    """
    paper = {entry["what"]: entry for entry in study.get("paper") or ()}
    ours = {entry["what"]: entry for entry in study.get("ours") or ()}
    errors = {what: ours.pop(what + ERROR)["value"] for what in list(ours) if what + ERROR in ours}
    own = {what: [_ours(entry.get("value"), errors.get(what)), entry.get("unit", "")] for what, entry in ours.items()}
    theirs = {
        what: {"text": significant(entry.get("value")), "note": entry.get("source", "")}
        for what, entry in paper.items()
    }
    both = [what for what in paper if what in ours]
    alone = [what for what in ours if what not in paper]
    cut = len(alone) if len(alone) <= FIRST + 4 else FIRST
    first = [[what, *own[what]] for what in alone[:cut]]
    rest = [[what, *own[what]] for what in alone[cut:]]
    columns = [Column("What"), Column("Ours"), Column("Unit")]
    tables = []
    if both:
        rows = [[what, theirs[what], *own.get(what, ["\N{EN DASH}", ""])] for what in paper]
        rows += [[what, {"text": "\N{EN DASH}", "note": ""}, *numbers] for what, *numbers in first]
        title = "The paper\N{RIGHT SINGLE QUOTATION MARK}s numbers beside ours"
        tables = [Table(title, [columns[0], Column("Paper"), *columns[1:]], rows)]
    else:
        if paper:
            rows = [[what, value] for what, value in theirs.items()]
            title = "The paper\N{RIGHT SINGLE QUOTATION MARK}s numbers"
            tables.append(Table(title, [Column("What"), Column("Paper")], rows))
        if first:
            tables.append(Table("Ours", columns, first))
    return tables, Table("More of our numbers", columns, rest) if rest else None


def _ours(value: Any, error: Any) -> str:
    """A number of ours with its standard error where it has one."""
    shown = significant(value)
    return (
        shown
        if error is None
        else f"{shown}\N{NO-BREAK SPACE}\N{PLUS-MINUS SIGN}\N{NO-BREAK SPACE}{significant(error, 2)}"
    )
