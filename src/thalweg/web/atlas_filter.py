"""Selecting studies by topic, verdict and words, with the number that each choice would leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.errors import InputError, suggest
from thalweg.studies.topics import OTHER, TOPICS
from thalweg.web.study_views import STATES, state_class

__all__ = ["Choice", "Selection", "choices", "select"]

LONGEST = 100


@dataclass(frozen=True, slots=True)
class Selection:
    """What the reader asked for; empty means any.

    Attributes:
        topic: one of ``studies.topics.TOPICS``, or "other".
        verdict: one of the three verdicts.
        word: words that must all occur in slug, title, claim, arXiv number, unit or topic, at most 100 characters.

    Raises:
        InputError: an unknown topic or verdict, or too long a text.
    """

    topic: str = ""
    verdict: str = ""
    word: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (("topic", self.topic, [*TOPICS, OTHER]), ("verdict", self.verdict, STATES)):
            if value and value not in known:
                raise InputError(f"{name} {value[:LONGEST]!r} is not known: {suggest(value[:LONGEST], known)}")
        if len(self.word) > LONGEST:
            raise InputError(f"the text to look for has {len(self.word)} characters: give at most {LONGEST}")


@dataclass(frozen=True, slots=True)
class Choice:
    """One button of a filter.

    Attributes:
        value: in the address; empty means any.
        name: its words.
        key: its id, and the class of the studies that it keeps.
        style: class of its colour.
        count: studies that it leaves beside the other filters.
        chosen: whether it is on.
    """

    value: str
    name: str
    key: str
    style: str
    count: int
    chosen: bool


def select(views: Sequence[Mapping[str, Any]], chosen: Selection, *, without: str = "") -> list[Mapping[str, Any]]:
    """The studies that fit; ``without`` names a filter that is left out."""
    wanted = chosen.word.casefold().split()
    return [
        view
        for view in views
        if (without == "topic" or not chosen.topic or view["topic"] == chosen.topic)
        and (without == "verdict" or not chosen.verdict or view["verdict"] == chosen.verdict)
        and all(word in view["words"] for word in wanted)
    ]


def choices(views: Sequence[Mapping[str, Any]], chosen: Selection) -> dict[str, list[Choice]]:
    """The buttons of both filters, each with the number of studies that it would leave beside the other filters."""
    made: dict[str, list[Choice]] = {}
    for name, values, any_name in (("topic", [*TOPICS, OTHER], "all topics"), ("verdict", STATES, "all verdicts")):
        left = select(views, chosen, without=name)
        there = [value for value in values if any(view[name] == value for view in views)]
        now = getattr(chosen, name)
        made[name] = [Choice("", any_name, f"{name}-any", "", len(left), not now)]
        made[name] += [
            Choice(
                value,
                value,
                f"{name}-{state_class(value)}",
                style,
                sum(view[name] == value for view in left),
                now == value,
            )
            for value in there
            for style in [state_class(value) if name == "verdict" else ""]
        ]
    return made
