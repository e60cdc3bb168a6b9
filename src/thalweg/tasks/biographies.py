"""Synthetic biographies: people with five independent facts each, told anew at every showing (SynBio).

A name is drawn without replacement from 400 x 400 x 1000; birth date (28 x 12 x 100), birth city (200), university
(300), major (100) and employer (263) are uniform and independent: log2 of their product is 45.6 bits a person. A
biography is five sentences, one a fact, in random order, each by one of five templates at random; the value is always
the end of its sentence, so that the rest is the prompt that asks for it.

Source: arXiv 2505.18091 (appendix on SynBio; numbers of values, examples of forms, compact tuples).
Differs: 1. names and values are pronounceable inventions in the paper's numbers, not real cities, universities or
employers. 2. of the templates only the examples in the paper could be read; the others are ours. 3. birth years are
1900 to 1999: the paper gives 100 years and prints 1900 to 2099.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType

import numpy as np

from thalweg.errors import InputError

__all__ = ["ATTRIBUTES", "TEMPLATES", "Biographies", "Probe"]

ATTRIBUTES = MappingProxyType(
    {"birth_date": 33_600, "birth_city": 200, "university": 300, "major": 100, "employer": 263}
)
"""Attributes and how many values each has."""

TEMPLATES = MappingProxyType(
    {
        "birth_date": (
            "{}'s birth date is",
            "{} was born on",
            "{} celebrates each birthday since",
            "The records say that {} came into the world on",
            "The day on which {} was born is",
        ),
        "birth_city": (
            "{}'s birthplace is",
            "{} was born in the city of",
            "{} spent the first years in",
            "The city that {} comes from is",
            "{} first saw the light of day in",
        ),
        "university": (
            "{} received mentorship and guidance from faculty members at",
            "{} graduated from",
            "{} took all courses at",
            "The university that {} attended is",
            "{} is an alumnus of",
        ),
        "major": (
            "{} has a degree in",
            "{} majored in",
            "{} devoted the years of study to",
            "The field that {} studied is",
            "{} wrote a thesis in",
        ),
        "employer": (
            "{} is engaged in work at",
            "{} works for",
            "{} has a post at",
            "The company that employs {} is",
            "{} earns a living at",
        ),
    }
)
"""Five sentences an attribute; the name goes in the braces and " VALUE." behind."""

FIRST, MIDDLE, LAST = 400, 400, 1000
MONTHS = "January February March April May June July August September October November December".split()
LETTERS = MappingProxyType({"birth_date": "B", "birth_city": "C", "university": "U", "major": "M", "employer": "E"})
"""The letter before each value in a compact tuple; N is the name."""
HEADS = "b br c ch d dr f g gr h j k l m n p r s st t v w".split()
HEARTS = "a e i o u ai ea ou".split()
TAILS = "l n r s th ck m nd".split()


@dataclass(frozen=True, slots=True)
class Probe:
    """A question: the model is right if it continues ``prompt`` with exactly ``value``.

    Attributes:
        prompt: a sentence without its value and without the space before it.
        value: starts with the space.
        attribute: what is asked.
        person: of whom.
    """

    prompt: str
    value: str
    attribute: str
    person: int


@dataclass(frozen=True)
class Biographies:
    """A population.

    Args:
        people: N, 1 … 1.6e8.
        seed: of names and facts, >= 0.
    """

    people: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.people <= FIRST * MIDDLE * LAST or self.seed < 0:
            raise InputError(f"people = {self.people}, seed = {self.seed}: give 1 … 160000000 people and a seed >= 0")

    @property
    def bits(self) -> float:
        """Entropy of one person's facts."""
        return sum(math.log2(count) for count in ATTRIBUTES.values())

    @cached_property
    def facts(self) -> np.ndarray:
        """Index of each person's value of each attribute, int64 (people, 5), columns as in ATTRIBUTES."""
        rng = np.random.default_rng([self.seed, 1])
        return np.stack([rng.integers(0, count, self.people) for count in ATTRIBUTES.values()], axis=1)

    @cached_property
    def _names(self) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 0])
        return rng.choice(FIRST * MIDDLE * LAST, self.people, replace=False)

    def name(self, person: int) -> str:
        """First, middle and last name; no two people share all three."""
        rest, last = divmod(int(self._names[person]), LAST)
        first, middle = divmod(rest, MIDDLE)
        return f"{_words('first', FIRST)[first]} {_words('middle', MIDDLE)[middle]} {_words('last', LAST)[last]}"

    def value(self, person: int, attribute: str) -> str:
        """The fact in words, e.g. "August 09, 1992"."""
        index = int(self.facts[person, list(ATTRIBUTES).index(attribute)])
        if attribute == "birth_date":
            rest, day = divmod(index, 28)
            year, month = divmod(rest, 12)
            return f"{MONTHS[month]} {day + 1:02d}, {1900 + year}"
        word = _words(attribute, ATTRIBUTES[attribute])[index]
        return {"university": f"University of {word}", "employer": f"{word} Company"}.get(attribute, word)

    def sentence(self, person: int, attribute: str, template: int) -> Probe:
        """One fact by one of the five templates."""
        prompt = TEMPLATES[attribute][template].format(self.name(person))
        return Probe(prompt, f" {self.value(person, attribute)}", attribute, person)

    def render(self, person: int, rng: np.random.Generator) -> str:
        """A biography: five sentences in random order by random templates."""
        parts = []
        for k in rng.permutation(len(ATTRIBUTES)):
            told = self.sentence(person, list(ATTRIBUTES)[k], int(rng.integers(5)))
            parts.append(f"{told.prompt}{told.value}.")
        return " ".join(parts)

    def compact(self, person: int, rng: np.random.Generator) -> str:
        """The same facts as a tuple, e.g. "Bio: N <name> B <date> E <employer> ...", in random order."""
        names = [list(ATTRIBUTES)[k] for k in rng.permutation(len(ATTRIBUTES))]
        return " ".join(
            [f"Bio: N {self.name(person)}", *(f"{LETTERS[name]} {self.value(person, name)}" for name in names)]
        )

    def probes(self, persons: Sequence[int], templates: Sequence[int] = range(5)) -> list[Probe]:
        """Every question about some people, by each of the templates."""
        return [self.sentence(p, name, k) for p in persons for name in ATTRIBUTES for k in templates]


@cache
def _words(kind: str, count: int) -> tuple[str, ...]:
    """``count`` distinct invented words, the same on every machine; those of two kinds may coincide."""
    rng = np.random.default_rng(list(kind.encode()))
    found: dict[str, None] = {}
    while len(found) < count:
        heads, hearts, tails = rng.integers(0, (len(HEADS), len(HEARTS), len(TAILS)), (2, 3)).T
        word = HEADS[heads[0]] + HEARTS[hearts[0]] + HEADS[heads[1]] + HEARTS[hearts[1]] + TAILS[tails[1]]
        found[word.capitalize()] = None
    return tuple(found)
