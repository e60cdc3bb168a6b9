"""The steps on record batches: each a picklable object that maps a batch to a batch, alone and without memory.

Called, a step gives the batch as the next step sees it; a step that removes documents also has ``reasons``, which names
for every document why it is removed, or nothing. They run as they are in ``ray.data``'s ``map_batches`` too.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from thalweg.data.preparing.batches import arrow, texts_of, with_column, with_texts
from thalweg.data.preparing.contamination import TestItems
from thalweg.data.preparing.statistics import STATISTICS, Measured
from thalweg.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AddScore", "Clean", "Op", "RemoveContaminated", "RemoveLow", "RemoveUnfit", "Remover", "load_function"]

CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
LINE_END = re.compile("\r\n?|[\u0085\u2028\u2029]")
BLANKS = re.compile(r"[^\S\n]+$", re.MULTILINE)
EMPTY_LINES = re.compile(r"\n{3,}")


class Op(Protocol):
    """A step on record batches."""

    @property
    def name(self) -> str:
        """In the counts."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch after the step."""


@runtime_checkable
class Remover(Protocol):
    """A step that removes documents."""

    @property
    def name(self) -> str:
        """In the counts."""

    def reasons(self, batch: pa.RecordBatch) -> list[str]:
        """Why each document is removed; empty for those kept."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The documents that are kept."""


class _Removes(ABC):
    """Gives a class with ``reasons`` the call."""

    @abstractmethod
    def reasons(self, batch: pa.RecordBatch) -> list[str]:
        """Why each document is removed; empty for those kept."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The documents that are kept."""
        return batch.filter(arrow().array([not reason for reason in self.reasons(batch)], type=arrow().bool_()))


@dataclass(frozen=True)
class Clean:
    """Normalises texts; see ``config.Normalise``."""

    form: Literal["NFC", "NFKC", "none"] = "NFC"
    whitespace: str = "lines"
    name: str = "normalise"

    def text(self, text: str) -> str:
        """One text: line ends, control characters, normal form, white space, in this order."""
        text = CONTROL.sub("", LINE_END.sub("\n", text))
        if self.form != "none" and not text.isascii():
            text = unicodedata.normalize(self.form, text)
        if self.whitespace == "collapse":
            return " ".join(text.split())
        if self.whitespace == "lines":
            return EMPTY_LINES.sub("\n\n", BLANKS.sub("", text)).strip("\n")
        return text

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with normalised texts."""
        return with_texts(batch, list(map(self.text, texts_of(batch))))


@dataclass(frozen=True)
class RemoveUnfit(_Removes):
    """Removes documents whose statistic lies outside its limits; the first such limit is the reason.

    A text without anything but white space is removed in every case, for the reason ``empty``.
    """

    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    name: str = "filters"

    def reason(self, text: str) -> str:
        """Why a text is removed, or nothing."""
        if not text or text.isspace():
            return "empty"
        measured = Measured(text)
        for name, (low, high) in self.limits.items():
            if not low <= STATISTICS[name](measured) <= high:
                return name
        return ""

    def reasons(self, batch: pa.RecordBatch) -> list[str]:
        """The first limit that each document breaks."""
        return list(map(self.reason, texts_of(batch)))


@dataclass(frozen=True)
class RemoveContaminated(_Removes):
    """Removes documents that hold at least ``share`` of a test item's runs of words; the reason is the item."""

    items: TestItems
    share: float = 0.0
    name: str = "decontaminate"

    def reasons(self, batch: pa.RecordBatch) -> list[str]:
        """For each document the item of which it holds most; the first of equals."""
        texts = texts_of(batch)
        found: list[tuple[float, str]] = [(0.0, "")] * len(texts)
        for text, item, share in zip(*self.items.overlaps(texts), strict=True):
            if share >= self.share and share > found[text][0]:
                found[text] = (float(share), self.items.names[item])
        return [name for _, name in found]


@dataclass(frozen=True)
class AddScore:
    """Adds a column: a function from a list of texts to as many numbers, or the name of a statistic."""

    name: str
    function: Callable[[Sequence[str]], Sequence[float] | np.ndarray] | str

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with one more column.

        Raises:
            InputError: the function gives another number of values, or values that are no numbers.
        """
        texts = texts_of(batch)
        if isinstance(self.function, str):
            values = [STATISTICS[self.function](Measured(text)) for text in texts]
        else:
            values = self.function(texts)
        try:
            numbers = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            numbers = np.empty(0)
        if numbers.shape != (len(texts),):
            raise InputError(f"score {self.name!r} gave no {len(texts)} numbers for {len(texts)} texts")
        return with_column(batch, self.name, numbers)


@dataclass(frozen=True)
class RemoveLow(_Removes):
    """Removes documents whose score is below ``minimum``, or is no number."""

    name: str
    minimum: float

    def reasons(self, batch: pa.RecordBatch) -> list[str]:
        """The score's name for those below."""
        values = np.asarray(batch.column(self.name), dtype=np.float64)
        return ["" if kept else self.name for kept in values >= self.minimum]


def load_function(word: str) -> Callable[[Sequence[str]], Sequence[float]]:
    """The function that ``package.module:name`` names.

    Raises:
        InputError: there is none.
    """
    module, _, name = word.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"function {word!r} cannot be loaded: {error}") from None
    if not callable(found):
        raise InputError(f"function {word!r} is a {type(found).__name__}: expected a function of a list of texts")
    return found
