"""A configuration as a sequence of text and number tokens, for language models.

``name: `` + number + newline for every field with a number, ``name: word`` + newline for the others, and the name of
the target at the end, from whose last token the target is predicted. A number is one placeholder token that carries a
real value.

Source: arXiv 2602.10300; zhqwqwq/Configuration-to-Performance-Scaling-Law at 4f6e64b0, generate_dataset.py.
Differs: 1. ``numbers="log"`` (the default) carries log(v * factor) / 3, -log(1 - v) / 3 of decays and
log(1 + v * factor) / 3 of what may be 0, and makes every number a token; ``official`` has the code's factors and leaves
decays and epsilons in the text, ``text`` makes every number text. 2. The target never enters a sequence, and a point of
a loss curve is a sequence of its own with ``frac`` in front of the target; the code strings a run's points together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from thalweg.errors import InputError, MissingExtra, suggest
from thalweg.laws.configuration.fields import FIELDS
from thalweg.laws.configuration.table import ConfigTable, Value

__all__ = ["Bytes", "FromFolder", "Numbers", "Pieces", "Tokens", "Words", "pack", "sequence"]

Numbers = Literal["log", "official", "text"]
Pieces = list[str | float]
FINAL, POINT = "final loss: ", "loss: "


def sequence(config: Mapping[str, Value], *, numbers: Numbers = "log") -> Pieces:
    """The pieces of one configuration: text, and numbers as their tokens carry them.

    Args:
        config: numbers and words by field; with ``frac`` below 1 or at 1 the target is a point of the curve.
        numbers: ``log``, ``official`` or ``text``.
    """
    if numbers not in ("log", "official", "text"):
        raise InputError(f"numbers {numbers!r} is unknown; {suggest(numbers, ('log', 'official', 'text'))}")
    pieces: Pieces = []
    for name, field in FIELDS.items():
        if name not in config:
            continue
        value = config[name]
        if isinstance(value, str):
            pieces.append(f"{field.label}: {value}\n")
        elif numbers == "text" or (numbers == "official" and field.factor is None):
            shown = value * field.factor if field.role == "scale" and field.factor else value
            pieces.append(f"{field.label}: {shown:g}\n")
        else:
            pieces += [f"{field.label}: ", _carried(value, name) if numbers == "log" else value * (field.factor or 1.0)]
            pieces.append("\n")
    return [*pieces, POINT if "frac" in config else FINAL]


def _carried(value: float, name: str) -> float:
    field = FIELDS[name]
    if field.scale == "log":
        return math.log(value * (field.factor or 1.0)) / 3
    if field.scale == "gap":
        return -math.log1p(-value) / 3
    return math.log1p(value * (field.factor or 1.0)) / 3


class Tokens(Protocol):
    """Text to token ids."""

    size: int

    def ids(self, text: str) -> list[int]:
        """The token ids of a text, without special ones."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""


class Words:
    """A token for every piece of text that the fitted table has: names of fields, and words with them.

    Args:
        pieces: the known texts.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = list(dict.fromkeys(pieces))
        self.size = len(self.pieces) + 1  # 0 is the placeholder
        self._ids = {piece: k + 1 for k, piece in enumerate(self.pieces)}

    def ids(self, text: str) -> list[int]:
        """The one token of a piece.

        Raises:
            InputError: the fitted table had no such piece.
        """
        if text not in self._ids:
            raise InputError(f"no fitted run has {text.strip()!r}: {suggest(text, self._ids)}")
        return [self._ids[text]]

    def to_dict(self) -> dict[str, Any]:
        """Its pieces."""
        return {"kind": "words", "pieces": self.pieces}


class Bytes:
    """UTF-8 bytes, for a model that comes without a tokenizer."""

    size = 256

    def ids(self, text: str) -> list[int]:
        """The bytes."""
        return list(text.encode())

    def to_dict(self) -> dict[str, Any]:
        """Nothing but its kind."""
        return {"kind": "bytes"}


class FromFolder:
    """The tokenizer that lies with a model of transformers.

    Args:
        folder: with tokenizer files.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise MissingExtra("transformers", "hf") from None
        self.folder = str(folder)
        tokenizer: Any = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        self._tokenizer, self.size = tokenizer, len(tokenizer)

    def ids(self, text: str) -> list[int]:
        """Its tokens, none added."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def to_dict(self) -> dict[str, Any]:
        """Where it lies."""
        return {"kind": "folder", "folder": self.folder}


def tokens_of(content: Mapping[str, Any]) -> Tokens:
    """What ``to_dict`` gave."""
    if content["kind"] == "words":
        return Words(content["pieces"])
    return Bytes() if content["kind"] == "bytes" else FromFolder(content["folder"])


def tokens_in(folder: str | Path) -> Tokens:
    """The tokenizer of a model's folder; bytes where it has none and the vocabulary holds them.

    Raises:
        InputError: no tokenizer, and a vocabulary below 256.
    """
    folder = Path(folder)
    if any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json")):
        return FromFolder(folder)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    if size < 256:
        raise InputError(f"{folder} has no tokenizer and a vocabulary of {size}: bytes need 256")
    return Bytes()


def pack(
    table: ConfigTable, tokens: Tokens, *, numbers: Numbers = "log"
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sequences of a table's rows, padded on the right with id 0.

    Returns:
        Token ids (n, t), values at the placeholders and 0 elsewhere (n, t), the mask of placeholders (n, t), and each
        row's last position (n,).
    """
    rows = []
    for row in range(len(table)):
        ids, values, mask = [], [], []
        for piece in sequence(table.config(row), numbers=numbers):
            found = tokens.ids(piece) if isinstance(piece, str) else [0]
            ids += found
            values += [0.0 if isinstance(piece, str) else piece] * len(found)
            mask += [not isinstance(piece, str)] * len(found)
        rows.append((ids, values, mask))
    longest = max(len(ids) for ids, _, _ in rows)

    def padded(column: int, kind: type) -> np.ndarray:
        return np.array([row[column] + [0] * (longest - len(row[0])) for row in rows]).astype(kind)

    return padded(0, np.int64), padded(1, np.float32), padded(2, bool), np.array([len(row[0]) - 1 for row in rows])
