"""Numbers about a text by which documents are filtered or scored: lengths, shares of symbols and letters, repetition.

Source: Gopher (arXiv 2112.11446), appendix A.1; C4 (arXiv 1910.10683), section 2.2.
Differs: 1. words are split at white space, sentences end where a word ends in ``.``, ``!`` or ``?``; 2. shares of
repeated n-grams count the characters of words, each once; 3. C4's rules on single lines judge the whole document.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from types import MappingProxyType

import numpy as np

from thalweg.data.preparing.ngrams import MULTIPLIER, ngram_hashes

__all__ = ["PRESETS", "STATISTICS", "Measured"]

STOP_WORDS = frozenset("the be to of and that have with".split())
BULLETS = ("-", "*", "•", "‣", "▪", "◦", "–", "—")  # noqa: RUF001
ENDS = (".", "!", "?", '"', "”")
CLOSING = "\"'”’)"  # noqa: RUF001
LETTER = re.compile(r"[^\W\d_]")


class Measured:
    """A text with its words and lines, split once."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> list[str]:
        """Split at white space."""
        return self.text.split()

    @cached_property
    def lines(self) -> list[str]:
        """Not empty, without outer white space."""
        return [line for part in self.text.split("\n") if (line := part.strip())]

    @cached_property
    def paragraphs(self) -> list[str]:
        """Between empty lines."""
        return [part for piece in re.split(r"\n\s*\n", self.text) if (part := piece.strip())]

    @cached_property
    def word_lengths(self) -> np.ndarray:
        """Characters of each word, int64 (words,)."""
        return np.fromiter(map(len, self.words), dtype=np.int64, count=len(self.words))

    @cached_property
    def _numbers(self) -> np.ndarray:
        """A number of 64 random-looking bits for each word, equal for equal words."""
        known: dict[str, int] = {}
        places = np.array([known.setdefault(word, len(known)) for word in self.words], dtype=np.uint64)
        numbers = (places + np.uint64(1)) * MULTIPLIER  # the finaliser of splitmix64, a bijection
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return numbers ^ (numbers >> np.uint64(31))

    def runs(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The runs of ``length`` words: the first place of each distinct one, which each is, and how often it comes."""
        whole = np.array([0, len(self.words)])
        hashes, _ = ngram_hashes(self._numbers, whole, length)
        _, first, run_of, counts = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
        return first, run_of, counts

    def share(self, test: Callable[[str], bool], of: Sequence[str]) -> float:
        """Share of ``of`` that passes; 0 of nothing."""
        return sum(map(test, of)) / len(of) if of else 0.0


def _mean_word_length(m: Measured) -> float:
    return sum(map(len, m.words)) / len(m.words) if m.words else 0.0


def _symbols(m: Measured) -> float:
    marks = m.text.count("#") + m.text.count("…") + m.text.count("...")
    return marks / len(m.words) if m.words else 0.0


def _letters(m: Measured) -> float:
    characters = sum(map(len, m.words))
    return len(LETTER.findall(m.text)) / characters if characters else 0.0


def _compression(m: Measured) -> float:
    data = m.text.encode("utf-8", "surrogatepass")
    return len(zlib.compress(data, 6)) / len(data) if data else 0.0


def _repeated(parts: list[str], *, characters: bool) -> float:
    """Share of parts, or of their characters, that have come before."""
    seen: set[str] = set()
    repeats = [part for part in parts if part in seen or seen.add(part)]
    if characters:
        return sum(map(len, repeats)) / (sum(map(len, parts)) or 1)
    return len(repeats) / (len(parts) or 1)


def _top_ngram(m: Measured, length: int) -> float:
    """Share of the words' characters in the commonest run of ``length`` words, if it comes twice; ties: the longest."""
    first, _, counts = m.runs(length)
    if not len(counts) or counts.max() < 2:
        return 0.0
    ends = np.append(0, np.cumsum(m.word_lengths))
    sizes = ends[first + length] - ends[first]
    return min(1.0, float(counts.max() * sizes[counts == counts.max()].max() / ends[-1]))


def _repeated_ngrams(m: Measured, length: int) -> float:
    """Share of the words' characters inside runs of ``length`` words that come more than once."""
    _, run_of, counts = m.runs(length)
    covered = np.zeros(len(m.words), dtype=bool)
    for offset in range(length):
        covered[offset : offset + len(run_of)] |= counts[run_of] > 1
    return float(m.word_lengths[covered].sum() / max(1, m.word_lengths.sum()))


STATISTICS: MappingProxyType[str, Callable[[Measured], float]] = MappingProxyType(
    {
        "characters": lambda m: len(m.text),
        "words": lambda m: len(m.words),
        "mean_word_length": _mean_word_length,
        "symbols_per_word": _symbols,
        "letter_share": _letters,
        "alphabetic_words": lambda m: m.share(lambda word: LETTER.search(word) is not None, m.words),
        "stop_words": lambda m: len(STOP_WORDS & {word.lower().strip(".,;:!?\"'()") for word in m.words}),
        "unique_words": lambda m: len(set(m.words)) / (len(m.words) or 1),
        "bullet_lines": lambda m: m.share(lambda line: line.startswith(BULLETS), m.lines),
        "ellipsis_lines": lambda m: m.share(lambda line: line.endswith(("…", "...")), m.lines),
        "ended_lines": lambda m: m.share(lambda line: line.endswith(ENDS), m.lines),
        "sentences": lambda m: sum(word.rstrip(CLOSING).endswith((".", "!", "?")) for word in m.words),
        "curly_brackets": lambda m: m.text.count("{"),
        "lorem_ipsum": lambda m: m.text.lower().count("lorem ipsum"),
        "javascript_lines": lambda m: m.share(lambda line: "javascript" in line.lower(), m.lines),
        "compression": _compression,
        "repeated_lines": lambda m: _repeated(m.lines, characters=False),
        "repeated_line_characters": lambda m: _repeated(m.lines, characters=True),
        "repeated_paragraphs": lambda m: _repeated(m.paragraphs, characters=False),
        "repeated_paragraph_characters": lambda m: _repeated(m.paragraphs, characters=True),
        **{f"top_{n}gram": lambda m, n=n: _top_ngram(m, n) for n in (2, 3, 4)},
        **{f"repeated_{n}grams": lambda m, n=n: _repeated_ngrams(m, n) for n in range(5, 11)},
    }
)
"""Numbers by name. Shares lie in [0, 1]; ``compression`` is zlib's size over the size in bytes."""

INFINITY = float("inf")
QUALITY: dict[str, tuple[float, float]] = {
    "words": (50, 100_000),
    "mean_word_length": (3, 10),
    "symbols_per_word": (0, 0.1),
    "bullet_lines": (0, 0.9),
    "ellipsis_lines": (0, 0.3),
    "alphabetic_words": (0.8, 1),
    "stop_words": (2, INFINITY),
}
REPETITION: dict[str, tuple[float, float]] = {
    "repeated_lines": (0, 0.3),
    "repeated_paragraphs": (0, 0.3),
    "repeated_line_characters": (0, 0.2),
    "repeated_paragraph_characters": (0, 0.2),
    **{f"top_{n}gram": (0, high) for n, high in ((2, 0.2), (3, 0.18), (4, 0.16))},
    **{f"repeated_{n}grams": (0, 0.15 - 0.01 * (n - 5)) for n in range(5, 11)},
}
PRESETS: MappingProxyType[str, dict[str, tuple[float, float]]] = MappingProxyType(
    {
        "none": {},
        "gopher": {**QUALITY, **REPETITION},
        "gopher-quality": QUALITY,
        "gopher-repetition": REPETITION,
        "c4": {
            "curly_brackets": (0, 0),
            "lorem_ipsum": (0, 0),
            "sentences": (3, INFINITY),
            "ended_lines": (0.5, 1),
            "javascript_lines": (0, 0.1),
        },
    }
)
"""Limits by name: a document whose statistic lies outside [low, high] is removed."""
