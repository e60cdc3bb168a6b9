"""What a corpus is made of, and which of its documents are kept for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["VALIDATION_SHARE", "Corpus", "Document", "split_by_name"]

VALIDATION_SHARE = 0.06
"""Share of documents kept for validation."""

SPLIT_SALT = "v1:"
"""Hashed in front of each name. With it the standard library's split holds long prose and code alike (3.11 to 3.14)."""

Split = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class Document:
    """One text.

    Attributes:
        name: unique in its corpus and the same on every machine, e.g. ``json/decoder.py``.
        text: the text, never empty.
        split: ``train`` or ``validation``.
        domain: what kind of text, e.g. ``prose`` or ``code``.
    """

    name: str
    text: str
    split: Split = "train"
    domain: str = "text"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents in a fixed order, each in one split; held in memory.

    Attributes:
        name: the word or path it was asked for by.
        documents: in the order in which they are tokenized.
        notes: how it was made and split, one sentence each.
    """

    name: str
    documents: tuple[Document, ...]
    notes: tuple[str, ...] = ()

    def split(self, split: Split) -> tuple[Document, ...]:
        """The documents of one split, in order."""
        return tuple(document for document in self.documents if document.split == split)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names, splits and texts, in order: equal exactly if training would see the same text."""
        digest = hashlib.sha256()
        for document in self.documents:
            text = document.text.encode("utf-8", "surrogatepass")
            digest.update(f"{document.name}\0{document.split}\0{len(text)}\0".encode())
            digest.update(text)
        return digest.hexdigest()

    def describe(self) -> dict[str, object]:
        """What to record beside a run: name, fingerprint, notes, and documents and bytes by split and domain."""
        sizes: dict[str, dict[str, int]] = {}
        for document in self.documents:
            entry = sizes.setdefault(f"{document.split}/{document.domain}", {"documents": 0, "bytes": 0})
            entry["documents"] += 1
            entry["bytes"] += len(document.text.encode("utf-8", "surrogatepass"))
        return {"name": self.name, "fingerprint": self.fingerprint, "notes": list(self.notes), "sizes": sizes}


def hashed_share(name: str) -> float:
    """A number in [0, 1) that depends on the name alone: SHA-256, first eight bytes."""
    digest = hashlib.sha256((SPLIT_SALT + name).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_by_name(documents: Sequence[Document]) -> tuple[Document, ...]:
    """Puts into validation the documents whose hashed name is below VALIDATION_SHARE, whatever else is there.

    A document keeps its split when others come, go or change. Of two or more documents at least one lands on either
    side: where the rule leaves a side empty, the one with the lowest (validation) or highest (train) hash goes there.
    """
    shares = [hashed_share(document.name) for document in documents]
    order = sorted(range(len(documents)), key=shares.__getitem__)
    held_out = {i for i in order if shares[i] < VALIDATION_SHARE}
    if len(documents) > 1:
        held_out = (held_out | {order[0]}) - {order[-1]}
    return tuple(
        replace(document, split="validation" if i in held_out else "train") for i, document in enumerate(documents)
    )


def interleaved(*groups: list[Document]) -> list[Document]:
    """Merges groups so that after any share of one group's characters about the same share of the others' has come."""
    placed = []
    for group in groups:
        total, before = sum(len(document.text) for document in group), 0
        for document in group:
            placed.append(((before + len(document.text) / 2) / total, document.name, document))
            before += len(document.text)
    return [document for *_, document in sorted(placed, key=lambda place: place[:2])]
