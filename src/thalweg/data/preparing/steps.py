"""From a preparation to its steps, and what identifies each: the same key means the same output."""

from __future__ import annotations

import hashlib
import inspect
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thalweg.data.preparing.batches import Row
from thalweg.data.preparing.classifier import TextClassifier, train_classifier
from thalweg.data.preparing.config import Decontaminate, Input, Preparation, Score
from thalweg.data.preparing.contamination import TestItems, index_test_items
from thalweg.data.preparing.formats import read_piece
from thalweg.data.preparing.ops import AddScore, Clean, Op, RemoveContaminated, RemoveLow, RemoveUnfit, load_function
from thalweg.data.preparing.pieces import Piece, digest, list_sources, pieces
from thalweg.errors import InputError, suggest

__all__ = ["build_steps", "fingerprint", "read_texts"]

VERSION = 1
"""Raised with every change of what a step makes of the same text."""
WHOLE = 1 << 50
"""Bytes of a part that holds any file in one piece."""

Functions = Mapping[str, Callable[[Sequence[str]], Sequence[float]]]


def fingerprint(*things: Any) -> str:
    """SHA-256 of plain values as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(things, sort_keys=True).encode()).hexdigest()


def build_steps(preparation: Preparation, functions: Functions, work: Path) -> tuple[tuple[Op, ...], str]:
    """The steps on record batches, in order, and their fingerprint.

    Args:
        preparation: which steps there are.
        functions: what ``given:NAME`` in a score stands for.
        work: folder where a classifier that is trained first is kept.

    Raises:
        InputError: a file of a step is absent or no such thing, a function cannot be found.
    """
    ops: list[Op] = []
    keys: list[Any] = [VERSION, unicodedata.unidata_version]
    if preparation.normalise is not None:
        ops.append(Clean(preparation.normalise.unicode, preparation.normalise.whitespace))
        keys.append(["normalise", preparation.normalise.unicode, preparation.normalise.whitespace])
    limits = preparation.filters.all_limits() if preparation.filters is not None else {}
    ops.append(RemoveUnfit(limits))
    keys.append(["filters", [[name, *map(str, limit)] for name, limit in limits.items()]])
    if preparation.decontaminate is not None:
        op, key = _decontamination(preparation.decontaminate)
        ops.append(op)
        keys.append(key)
    for score in preparation.scores:
        function, key = _score(score, functions, work)
        ops.append(AddScore(score.name, function))
        keys.append(["score", score.name, key, score.minimum])
        if score.minimum is not None:
            ops.append(RemoveLow(score.name, score.minimum))
    return tuple(ops), fingerprint(keys)


def read_texts(paths: Sequence[str], text: str = "text") -> tuple[list[str], list[str], str]:
    """All documents of files, folders or corpora: names, texts, and SHA-256 of the contents.

    Raises:
        InputError: something cannot be read.
    """
    names, texts, keys = [], [], []
    inputs = [Input(path=path, source=str(i), text=text) for i, path in enumerate(paths)]
    for source in list_sources(inputs):
        each = inputs[source.input]
        key, size = digest(source)
        keys.append(key)
        for piece in pieces(source, each, key, size, WHOLE):
            for row in read_piece(piece, each) if isinstance(piece, Piece) else [piece]:
                if not isinstance(row, Row):
                    raise InputError(row.message)
                names.append(source.name if source.kind == "text" else f"{source.name}@{row.at}")
                texts.append(row.text)
    return names, texts, fingerprint(keys)


def _decontamination(asked: Decontaminate) -> tuple[Op, Any]:
    names, texts, key = read_texts(asked.tests, asked.text)
    items: TestItems = index_test_items(names, texts, asked.words)
    return RemoveContaminated(items, asked.share), ["decontaminate", key, names, asked.words, asked.share, asked.text]


def _score(score: Score, functions: Functions, work: Path) -> tuple[Any, Any]:
    """The function of a score, or the name of its statistic, and what identifies it."""
    if score.statistic:
        return score.statistic, score.statistic
    if score.function:
        module, _, name = score.function.partition(":")
        if module == "given" and name not in functions:
            raise InputError(f"score {score.name!r}: no function {name!r} was given: {suggest(name, functions)}")
        function = functions[name] if module == "given" else load_function(score.function)
        return function, [score.function, _source_of(function)]
    found = TextClassifier.load(score.model) if score.model else _trained(score, work)
    return found, found.fingerprint


def _trained(score: Score, work: Path) -> TextClassifier:
    """Trains once: on resume the same weights are read back, whatever the number of threads would change in them."""
    _, positive, first = read_texts(score.positive)
    _, negative, second = read_texts(score.negative)
    path = work / f"classifier-{fingerprint(VERSION, first, second)[:32]}.npz"
    if not path.is_file():
        train_classifier(positive, negative).save(path)
    return TextClassifier.load(path)


def _source_of(function: Any) -> str:
    """SHA-256 of a function's own source text, where there is one: a changed function is another step."""
    try:
        text = inspect.getsource(function if inspect.isroutine(function) else type(function))
    except (OSError, TypeError):
        text = ""
    return hashlib.sha256(f"{getattr(function, 'fingerprint', '')} {text}".encode()).hexdigest()
