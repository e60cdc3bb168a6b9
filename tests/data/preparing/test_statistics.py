from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.preparing.statistics import PRESETS, STATISTICS, Measured

TEXTS = st.lists(st.sampled_from(["a", "bb", "ccc", "é", "."]), max_size=30).map(" ".join)


def value(name: str, text: str) -> float:
    return STATISTICS[name](Measured(text))


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("characters", "naïve", 5),
        ("words", " a b\nc ", 3),
        ("mean_word_length", "a bbb", 2),
        ("symbols_per_word", "# a … b c ...", 0.5),
        ("letter_share", "ab 1! é", 3 / 5),
        ("alphabetic_words", "a 1 -- b2", 0.5),
        ("stop_words", "The cat, and the dog with that.", 4),
        ("unique_words", "a b a a", 0.5),
        ("bullet_lines", "- a\nb\n\n• c\nd", 0.5),
        ("ellipsis_lines", "a...\nb…\nc\nd", 0.5),
        ("ended_lines", 'A.\nb\n"C?"\nd', 0.5),
        ("sentences", 'One. Two! "Three?" four', 3),
        ("curly_brackets", "{ {", 2),
        ("lorem_ipsum", "Lorem Ipsum dolor", 1),
        ("javascript_lines", "enable JavaScript\nb", 0.5),
        ("repeated_lines", "a\nb\na\na", 0.5),
        ("repeated_line_characters", "aaa\nb\naaa", 3 / 7),
        ("repeated_paragraphs", "a\nb\n\nc\n\na\nb\n\nd", 0.25),
        ("repeated_paragraph_characters", "aaa\n\nb\n\naaa", 3 / 7),
        ("top_2gram", "a b a b c", 4 / 5),
        ("repeated_5grams", "a b c d e x a b c d e", 10 / 11),
        ("repeated_5grams", "a b c d e f g", 0),
    ],
)
def test_by_hand(name: str, text: str, wanted: float):
    assert value(name, text) == pytest.approx(wanted)


@given(text=TEXTS, length=st.integers(2, 10))
def test_repeated_runs_by_their_definition(text: str, length: int):
    words = text.split()
    total = sum(map(len, words))
    runs = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    counts = Counter(runs)
    if length <= 4:
        most = max(counts.values(), default=0)
        longest = max((sum(map(len, run)) for run in counts if counts[run] == most), default=0)
        wanted = min(1.0, most * longest / total) if most > 1 else 0.0
        assert value(f"top_{length}gram", text) == pytest.approx(wanted)
    else:
        inside = {i + j for i, run in enumerate(runs) if counts[run] > 1 for j in range(length)}
        wanted = sum(len(words[i]) for i in inside) / max(1, total)
        assert value(f"repeated_{length}grams", text) == pytest.approx(wanted)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("text", ["", " \n ", "a", "🙂"])
def test_every_statistic_takes_every_text(name: str, text: str):
    assert 0 <= value(name, text) < 100  # zlib makes short texts longer


def test_presets_name_statistics_and_keep_the_published_limits():
    for limits in PRESETS.values():
        assert set(limits) <= set(STATISTICS)
        assert all(low <= high for low, high in limits.values())
    gopher = PRESETS["gopher"]
    assert gopher["words"] == (50, 100_000)
    assert [round(gopher[f"repeated_{n}grams"][1], 2) for n in range(5, 11)] == [0.15, 0.14, 0.13, 0.12, 0.11, 0.10]
    assert [gopher[f"top_{n}gram"][1] for n in (2, 3, 4)] == [0.2, 0.18, 0.16]
