"""Looking into a plan: the documents of a batch, and the batches of a text."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.data.plan.order import Order
from thalweg.data.plan.rows import pieces_of
from thalweg.data.plan.state import share
from thalweg.errors import InputError

__all__ = ["find_text", "look"]

PART = 2**14
"""Windows looked at together."""


def look(order: Order, step: int, *, batch: int, characters: int = 160) -> list[dict[str, Any]]:
    """What a batch holds, a piece of a document after another.

    Args:
        order: the plan made concrete.
        step: number of the batch.
        batch: windows of a batch.
        characters: of each piece's text.

    Returns:
        Dicts with ``window`` (its number), ``phase``, ``source``, ``id``, ``start`` (first token in the document),
        ``tokens`` and ``text`` (empty where the tokenizer is not at hand).

    Raises:
        InputError: the plan has no such batch.
    """
    index = share(step, batch=batch, rank=0, world=1)
    if index[-1] >= len(order):
        raise InputError(f"step {step} is beyond the plan: {len(order):,} windows are {len(order) // batch:,} batches")
    numbers = order.numbers(index)
    piece = pieces_of(order, numbers)
    library = order.library
    found = []
    for row, document, start, length, _ in zip(*(each.tolist() for each in piece), strict=True):
        source = library.names[int(library.owners[document])]
        number = int(numbers[row])
        stretch = order.stretches[int(np.searchsorted(order.firsts, number, side="right")) - 1]
        found.append(
            {
                "window": number,
                "phase": stretch.name,
                "source": source,
                "id": library.id(document),
                "start": start,
                "tokens": length,
                "text": _text(order, document, start, length)[:characters],
            }
        )
    return found


def find_text(order: Order, text: str, *, batch: int) -> list[dict[str, Any]]:
    """When documents that hold a text are seen; all documents are decoded, one by one.

    Args:
        order: the plan made concrete.
        text: what to find in a document's text, or in its id where the tokenizer is not at hand.
        batch: windows of a batch.

    Returns:
        Dicts with ``id``, ``source``, ``times`` (windows with a part of it) and ``steps`` (their batches, rising).
    """
    library = order.library
    wanted = np.zeros(len(library.lengths), dtype=bool)
    for place, name in enumerate(library.names):
        source = order.sources[name]
        for document in range(len(source)):
            number = int(library.first[place]) + document
            said = order.decoder.decode(source.tokens(document)) if order.decoder else library.id(number)
            wanted[number] = text in said or text == library.id(number)
    windows: dict[int, list[int]] = {int(number): [] for number in np.flatnonzero(wanted)}
    for first in range(0, len(order) if windows else 0, PART):
        index = np.arange(first, min(first + PART, len(order)))
        piece = pieces_of(order, order.numbers(index))
        for place in np.flatnonzero(wanted[piece.document]):
            windows[int(piece.document[place])].append(int(index[piece.row[place]]))
    return [
        {
            "id": library.id(number),
            "source": library.names[int(library.owners[number])],
            "times": len(found),
            "steps": sorted({each // batch for each in found}),
        }
        for number, found in windows.items()
    ]


def _text(order: Order, document: int, start: int, length: int) -> str:
    """A stretch of a document in one line."""
    library = order.library
    if order.decoder is None:
        return ""
    address = library.begin[document : document + 1] + start
    return " ".join(order.decoder.decode(library.gather(address, np.array([length]))).split())
