"""The embedded corpus: text that every Python installation carries.

Prose is the documentation topics of ``pydoc_data.topics``, code the sources of the standard library. Left out of the
code: tests, generated tables, what was removed from later Python versions, and whatever a distribution adds.

Source: the running Python's own files (PSF licence); they are read, never copied into a package.
"""

from __future__ import annotations

import os
import platform
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from thalweg.data.document import Corpus, Document, interleaved, split_by_name
from thalweg.errors import InputError

__all__ = ["stdlib_corpus"]

SKIPPED_FOLDERS = frozenset(
    "site-packages dist-packages test tests idle_test idlelib turtledemo lib2to3 distutils ensurepip encodings "
    "pydoc_data lib-dynload __pycache__ __phello__".split()
)
SKIPPED_FILES = frozenset({"html/entities.py", "re/_casefix.py", "sitecustomize.py", "usercustomize.py"})
SKIPPED_PREFIXES = ("_sysconfigdata", "__phello__", "config-")


def stdlib_corpus() -> Corpus:
    """Prose and code of the running Python, interleaved so that every stretch holds both in the corpus's proportion.

    Raises:
        InputError: this Python carries no documentation topics or no sources as files (zipped or stripped).
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    code = [Document(name, text, domain="code") for name, text in _sources(root)]
    prose = [Document(f"topics/{name}", text, domain="prose") for name, text in _topics()]
    if not code or not prose:
        missing = "documentation topics" if code else f"sources under {root}"
        raise InputError(
            f"corpus 'stdlib': this Python ({platform.python_version()}) carries no {missing} "
            "(a zipped or stripped installation?): give the path of a text file or folder instead"
        )
    documents = split_by_name(interleaved(prose, code))
    share = _prose_share(documents)
    held_out = _prose_share([document for document in documents if document.split == "validation"])
    return Corpus(
        "stdlib",
        documents,
        (
            f"standard library of {platform.python_implementation()} {platform.python_version()}; "
            "the text differs between Python versions",
            f"{len(prose)} documentation topics ({share:.1%} of the characters) spread evenly "
            f"among {len(code)} sources",
            "validation: by hash of the document's name, the same names under every Python version; "
            f"{held_out:.1%} of its characters are prose",
        ),
    )


def _prose_share(documents: Sequence[Document]) -> float:
    sizes = [(len(document.text), document.domain == "prose") for document in documents]
    return sum(size for size, prose in sizes if prose) / max(1, sum(size for size, _ in sizes))


def _sources(root: Path) -> Iterator[tuple[str, str]]:
    """Relative name and text of each kept source, sorted by name; sources that are not UTF-8 are left out."""
    for name, path in sorted(_walk(str(root), "")):
        try:
            with open(path, encoding="utf-8") as file:  # universal newlines: the same text on every platform
                text = file.read()
        except UnicodeDecodeError:
            continue
        if text.strip():
            yield name, text


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    if not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(SKIPPED_PREFIXES) or prefix + entry.name in SKIPPED_FILES:
                continue
            if entry.is_dir():
                if entry.name not in SKIPPED_FOLDERS:
                    yield from _walk(entry.path, f"{prefix}{entry.name}/")
            elif entry.name.endswith(".py"):
                yield prefix + entry.name, entry.path


def _topics() -> list[tuple[str, str]]:
    """Documentation topics by name, without those that are mostly contained in longer ones.

    Many topics are sections of others (``while`` of ``compound``): were both kept, validation would hold text that
    training has seen.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return []
    seen: set[str] = set()
    kept = []
    for name, text in sorted(topics.items(), key=lambda item: (-len(item[1]), item[0])):
        paragraphs = {words for part in text.split("\n\n") if len(words := " ".join(part.split())) > 80}
        if 2 * sum(map(len, paragraphs & seen)) <= sum(map(len, paragraphs)) and text.strip():
            kept.append((name, text))
            seen |= paragraphs
    return sorted(kept)
