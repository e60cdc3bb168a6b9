"""Configurations as the numbers that a regression sees: scale coordinates, centred hyperparameters, a category.

Hyperparameters are centred within their category (the optimizer and the other words), because a good rate of one
optimizer is a bad one of another, and divided by their standard deviation within categories. A field that a
configuration leaves out stands at its category's mean. Model size and data become either logarithms or the powers
N^-0.34, D^-0.28 in which a Chinchilla law is linear: powers level off beyond the fitted sizes, logarithms do not.

Source: our own; the powers are the exponents of arXiv 2203.15556, table 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.laws.configuration.baseline import EXPONENTS
from thalweg.laws.configuration.fields import FIELDS
from thalweg.laws.configuration.table import ConfigTable

__all__ = ["Coordinates", "Encoder", "Features", "category_names"]

Coordinates = Literal["log", "power"]
UNIT = {"log": (0.5, 0.8, 0.8), "power": (0.17, 0.2, 0.2)}  # size, data, frac: what counts as one
WARMUP_SHARE = "warmup share"  # log(0.02 + warmup / steps)


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """What a regression sees of n configurations.

    Attributes:
        inputs: centred and scaled hyperparameters (n, p).
        scale: coordinates of size and data (and of the share of the training, where curves were fitted), (n, 2 or 3).
        category: number of the category (n,).
    """

    inputs: np.ndarray
    scale: np.ndarray
    category: np.ndarray


@dataclass(frozen=True, slots=True)
class Encoder:
    """Centres and units of a fitted table; plain lists, so that it goes into JSON.

    Attributes:
        categories: words of each category in the order of ``words``, joined by "|".
        words: fields of words.
        means: of each field in each category, None where it has none.
        deviations: standard deviation within categories.
        middle: means of size and data.
        offset: mean of the power coordinates.
        curves: the table had ``frac``.
    """

    categories: list[str]
    words: list[str]
    means: dict[str, list[float | None]]
    deviations: dict[str, float]
    middle: list[float]
    offset: list[float]
    curves: bool

    @classmethod
    def fit(cls, table: ConfigTable) -> Self:
        """Reads centres and units off a table; fields that do not vary within a category are left out."""
        words = sorted(table.texts)
        names = category_names(table, words)
        categories = sorted(set(names))
        number = np.array([categories.index(name) for name in names])
        means, deviations = {}, {}
        for field, column in _columns(table).items():
            known = np.isfinite(column)
            inside = [column[known & (number == k)] for k in range(len(categories))]
            centre = np.array([part.mean() if len(part) else np.nan for part in inside])
            spread = (column - centre[number])[known]
            if len(spread) >= 5 and spread.std() > 1e-9:
                means[field] = [None if np.isnan(mean) else float(mean) for mean in centre]
                deviations[field] = float(spread.std())
        middle = [float(table.numbers[name].mean()) for name in ("params", "tokens")]
        powers = _powers(table, middle)
        return cls(categories, words, means, deviations, middle, powers.mean(0).tolist(), "frac" in table.numbers)

    def encode(self, table: ConfigTable, coordinates: Coordinates = "log") -> Features:
        """Features of a table.

        Raises:
            InputError: words that no fitted configuration had.
        """
        category = self.category(table)
        columns = _columns(table)
        inputs = np.zeros((len(table), len(self.means)))
        for j, (field, means) in enumerate(self.means.items()):
            centre = np.array([np.nan if mean is None else mean for mean in means])[category]
            column = _frac(table) if field == "frac" else columns.get(field, np.full(len(table), np.nan))
            inputs[:, j] = np.nan_to_num((column - centre) / self.deviations[field])
        count = 3 if self.curves else 2
        unit = np.array(UNIT[coordinates])[:count]
        if coordinates == "power":
            return Features(inputs, (_powers(table, self.middle) - self.offset)[:, :count] / unit, category)
        size, data = np.array(self.middle)
        logs = [np.log(table.numbers["params"] / size), np.log(table.numbers["tokens"] / data), np.log(_frac(table))]
        return Features(inputs, np.stack(logs, 1)[:, :count] / unit, category)

    def category(self, table: ConfigTable) -> np.ndarray:
        """Number of each row's category (n,); words left out are filled in where one category alone fits.

        Raises:
            InputError: no category or several fit.
        """
        known: dict[str, int] = {}
        found = np.zeros(len(table), dtype=np.int64)
        for row, name in enumerate(category_names(table, self.words)):
            if name not in known:
                known[name] = self._match(name)
            found[row] = known[name]
        return found

    def _match(self, name: str) -> int:
        if name in self.categories:
            return self.categories.index(name)
        asked = name.split("|")
        fits = [
            k
            for k, category in enumerate(self.categories)
            if all(not a or a == b for a, b in zip(asked, category.split("|"), strict=True))
        ]
        if len(fits) == 1:
            return fits[0]
        given = ", ".join(f"{field} {word!r}" for field, word in zip(self.words, asked, strict=True) if word)
        options = [category.replace("|", " ").strip() for category in self.categories]
        hint = suggest(" ".join(asked).strip(), options)
        if fits and not given:
            raise InputError(f"the fitted runs differ in {' and '.join(self.words)}: give {self.words[0]}=…; {hint}")
        raise InputError(f"{'several fitted kinds of run fit' if fits else 'no fitted run has'} {given}: {hint}")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        return cls(**content)


def category_names(table: ConfigTable, words: list[str]) -> list[str]:
    """The words of each row, joined by "|"."""
    return ["|".join(table.texts[w][i] if w in table.texts else "" for w in words) for i in range(len(table))]


def _columns(table: ConfigTable) -> dict[str, np.ndarray]:
    """Numbers on the scale in which a regression sees them: hyperparameters, and the share of the training."""
    found = {}
    for name, column in table.numbers.items():
        field = FIELDS[name]
        if field.role != "number" and name != "frac":
            continue
        found[name] = {"log": np.log, "gap": lambda v: np.log1p(-v), "linear": np.asarray}[field.scale](column)
    if "warmup" in table.numbers and "steps" in table.numbers:
        found[WARMUP_SHARE] = np.log(0.02 + table.numbers["warmup"] / table.numbers["steps"])
    return found


def _frac(table: ConfigTable) -> np.ndarray:
    return np.nan_to_num(table.numbers.get("frac", np.ones(len(table))), nan=1.0)


def _powers(table: ConfigTable, middle: list[float]) -> np.ndarray:
    size = (table.numbers["params"] / middle[0]) ** -EXPONENTS[0]
    data = (table.numbers["tokens"] / middle[1]) ** -EXPONENTS[1]
    return np.stack([size, data, _frac(table) ** -EXPONENTS[1]], axis=1)
