"""Fenced blocks of Markdown pages: found, run as a reader would, and what they print compared with what stands there.

On a page of docs/: in a ``console`` block a line after ``$ `` is a command and the others are what it printed; what a
``python`` block prints stands in the ``text`` block after it; a ``toml`` block whose first line is ``# NAME.toml`` is
that file. One line ``…`` in a block leaves out the middle. ``python tests/fenced.py PAGE`` writes what is printed now.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from thalweg.cli import main

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?(?![\w.]*\d)")
VARYING = re.compile(
    r"'[\d.]+'|\b[\d.,]+ ?(?:s|ms|min|h|(?:tokens|documents)/s)\b|\b\d+:\d\d\b|\d{4}-\d\d-\d\d[T ]?[\d:.+]*"
    r"|\b[0-9a-f]{12,}\b"
)
"""Durations, speeds, dates and fingerprints: another machine has others, and so has a recipe with a new field."""
TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its lines and where they stand in the page."""

    language: str
    text: str
    start: int
    end: int


def blocks(page: str) -> list[Block]:
    """All fenced blocks, in order."""
    return [Block(found[1], found[2], found.start(2), found.end(2)) for found in FENCE.finditer(page)]


def inline(page: str) -> list[str]:
    """All code within lines."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", page))


def parse(line: str) -> None:
    """Checks that a command and its arguments are what the program knows, without running it."""
    from thalweg.cli import build

    app, words = build(), shlex.split(line)[1:]
    chain, _, rest = app.parse_commands(words)
    assert chain[0] == words[0]
    if rest or len(chain) > 1:  # else it is the command's name only
        app.parse_args(words, exit_on_error=False, print_error=False)


def run_page(page: str, folder: Path) -> Iterator[tuple[Block, str]]:
    """Runs the blocks of a page in order, in ``folder``: each with what it should hold, or have printed."""
    names: dict[str, Any] = {"__name__": "page"}
    printed: str | None = None
    with contextlib.chdir(folder):
        for block in blocks(page):
            if printed is not None and block.language == "text":
                yield block, printed
            else:
                assert not printed, f"no text block says what this printed: {printed}"
            printed = None
            if block.language == "console":
                yield block, _console(block.text)
            elif block.language == "python":
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(compile(block.text, "page", "exec"), names)
                printed = out.getvalue()
            elif block.language == "toml" and (name := re.match(r"# ([\w./-]+\.toml)\n", block.text)):
                Path(name[1]).write_text(block.text, encoding="utf-8")
    assert not printed, f"no text block says what this printed: {printed}"


def _console(text: str) -> str:
    """A console block with what its commands print now."""
    made = []
    for line in text.splitlines():
        if line.startswith("$ "):
            made += [line, *_printed(line[2:]).splitlines()]
    return "".join(f"{line.rstrip()}\n" for line in made)


def _printed(line: str) -> str:
    words = shlex.split(line, comments=True)
    assert words[0] == "thalweg", f"only thalweg's commands are run: {line}"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(words[1:])
    assert code == 0, f"{line} ended with {code}"
    return out.getvalue()


def agree(shown: str, printed: str) -> None:
    """Checks that a block says what was printed: the same words, nearly the same numbers; durations are passed over.

    Raises:
        AssertionError: with the first two lines that differ.
    """
    lines = zip_longest(_lines(shown), _lines(_elided(shown, printed)))
    for line, now in lines:
        assert line is not None, f"printed, but not on the page: {now}"
        assert now is not None, f"on the page, but not printed: {line}"
        assert _alike(line, now), f"the page shows\n{line}\nbut printed was\n{now}"


def _lines(text: str) -> list[str]:
    """The lines of a block, a last column of seconds taken off."""
    lines = text.splitlines()
    timed = any(line.endswith("  seconds") for line in lines)
    return [re.sub(r"  [\d.]+$", "", line) for line in lines] if timed else lines


def _alike(line: str, now: str) -> bool:
    line, now = VARYING.sub("~", line), VARYING.sub("~", now)
    if NUMBER.sub("#", " ".join(line.split())) != NUMBER.sub("#", " ".join(now.split())):
        return False
    pairs = zip(NUMBER.findall(line), NUMBER.findall(now), strict=True)
    return all(_near(*pair) for pair in pairs)


def _near(shown: str, now: str) -> bool:
    """Within two per cent, or one unit of the last decimal shown."""
    digits = len(shown.partition(".")[2])
    first, second = (float(number.replace(",", "")) for number in (shown, now))
    return abs(first - second) <= max(
        TOLERANCE * abs(first), 1.01 * 10.0**-digits if digits and "e" not in shown else 0
    )


def workplace(folder: Path) -> Path:
    """A folder with the files that the pages speak of."""
    for name in ("examples", "recipes"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def renew(path: Path) -> None:
    """Writes what the blocks of a page print now; a block with ``…`` keeps as many lines before and after it."""
    page = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        found = list(run_page(page, workplace(Path(folder))))
    for block, printed in reversed(found):
        page = page[: block.start] + _elided(block.text, printed) + page[block.end :]
    path.write_text(page, encoding="utf-8")


def _elided(shown: str, printed: str) -> str:
    before, mark, after = shown.partition("…\n")
    if not mark:
        return printed
    lines = printed.splitlines(keepends=True)
    head, tail = before.count("\n"), after.count("\n")
    return "".join([*lines[:head], mark, *lines[len(lines) - tail :]])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for argument in sys.argv[1:]:
        renew(Path(argument))
