from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preparing_parts import story, write_lines
from thalweg.data import prepare
from thalweg.data.preparing.contamination import index_test_items
from thalweg.errors import InputError

TEXTS = st.lists(st.sampled_from("abc"), max_size=12).map(" ".join)


def runs(text: str, words: int) -> set[tuple[str, ...]]:
    found = text.split()
    return {tuple(found[i : i + words]) for i in range(len(found) - words + 1)}


@given(items=st.lists(TEXTS, min_size=1, max_size=4), texts=st.lists(TEXTS, max_size=5), words=st.integers(1, 4))
def test_overlaps_are_those_of_sets_of_words(items: list[str], texts: list[str], words: int):
    if not any(runs(item, words) for item in items):
        with pytest.raises(InputError, match=f"no test item has {words} words"):
            index_test_items([str(i) for i in range(len(items))], items, words)
        return
    index = index_test_items([str(i) for i in range(len(items))], items, words)
    found = {(int(t), int(i)): s for t, i, s in zip(*index.overlaps(texts), strict=True)}
    wanted = {}
    for t, text in enumerate(texts):
        for i, item in enumerate(items):
            both = runs(text, words) & runs(item, words)
            if both:
                wanted[t, i] = len(both) / len(runs(item, words))
    assert found == pytest.approx(wanted)


def test_documents_with_test_items_are_removed_and_the_items_named(tmp_path: Path):
    stories = [story(i) for i in range(5)]
    items = write_lines(tmp_path / "tests.jsonl", [{"text": story(90)}, {"text": " ".join(stories[2].split()[3:30])}])
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "item.txt").write_text(" ".join(stories[4].upper().split()[:13]))
    path = write_lines(tmp_path / "a.jsonl", [{"text": text} for text in stories])
    asked = {"inputs": [{"path": str(path)}], "decontaminate": {"tests": [str(items), str(folder)]}}
    made = prepare(asked, tmp_path / "out")
    second = len(json.dumps({"text": story(90)})) + 1
    assert made.manifest["documents"] == 3
    assert made.manifest["steps"][-1]["removed"] == {f"tests.jsonl@{second}": 1, "item.txt": 1}
    asked["decontaminate"]["tests"] = [str(tmp_path / "absent")]
    with pytest.raises(InputError, match="absent is neither a file or folder"):
        prepare(asked, tmp_path / "other")


def test_share_counts_the_item_and_not_the_document(tmp_path: Path):
    words = story(7, 100).split()
    items = write_lines(tmp_path / "tests.jsonl", [{"text": " ".join(words)}])  # 88 runs of 13 words
    texts = [" ".join(words[:count]) + " " + story(8, 400) for count in (13, 56, 57)]
    texts.append(story(9))
    path = write_lines(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    left = {}
    for share in (0.0, 0.5, 1.0):
        step = {"tests": [str(items)], "share": share}
        made = prepare({"inputs": [{"path": str(path)}], "decontaminate": step}, tmp_path / str(share))
        left[share] = made.manifest["documents"]
    assert left == {0.0: 1, 0.5: 2, 1.0: 4}


def test_sizes_count_distinct_runs():
    index = index_test_items(["a", "b"], ["x y x y x y", "x y z"], 2)
    assert index.sizes.tolist() == [2, 2]
    assert np.all(np.diff(index.hashes.astype(object)) >= 0)
