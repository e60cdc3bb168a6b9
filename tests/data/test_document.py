from __future__ import annotations

import hashlib

from thalweg.data.document import Corpus, Document, split_by_name


def made(*names: str) -> list[Document]:
    return [Document(name, "x") for name in names]


def held_out(documents: tuple[Document, ...]) -> set[str]:
    return {document.name for document in documents if document.split == "validation"}


def test_share_held_out_and_independence_of_the_others():
    names = [f"file{i}.txt" for i in range(5000)]
    all_out = held_out(split_by_name(made(*names)))
    assert abs(len(all_out) - 300) < 4 * (5000 * 0.06 * 0.94) ** 0.5  # binomial, four deviations
    some_out = held_out(split_by_name(made(*names[1000:3000])))
    assert some_out == all_out & set(names[1000:3000])


def test_rule_by_hand():
    digest = hashlib.sha256(b"v1:topics/calls").digest()
    assert int.from_bytes(digest[:8], "big") / 2**64 < 0.06
    assert held_out(split_by_name(made("topics/calls", "topics/compound"))) == {"topics/calls"}


def test_both_sides_hold_something():
    for count in range(2, 12):
        for start in range(0, 200, 7):
            documents = split_by_name(made(*(f"{i}" for i in range(start, start + count))))
            assert 0 < len(held_out(documents)) < count
    assert held_out(split_by_name(made("topics/calls", "topics/strings"))) in ({"topics/calls"}, {"topics/strings"})
    assert held_out(split_by_name(made("alone"))) == set()
    assert split_by_name([]) == ()


def test_fingerprint_sees_name_text_split_and_order():
    a, b = Document("a", "one"), Document("b", "two")
    same = Corpus("x", (a, b)).fingerprint
    assert Corpus("y", (a, b), ("note",)).fingerprint == same
    changed = [
        (b, a),
        (a,),
        (a, Document("b", "twp")),
        (a, Document("c", "two")),
        (a, Document("b", "two", "validation")),
    ]
    assert same not in {Corpus("x", documents).fingerprint for documents in changed}
    assert Corpus("x", (Document("ab", "c"),)).fingerprint != Corpus("x", (Document("a", "bc"),)).fingerprint


def test_description_counts_bytes():
    corpus = Corpus("x", (Document("a", "é€"), Document("b", "two", "validation", "code")), ("a note",))
    described = corpus.describe()
    assert described["sizes"] == {
        "train/text": {"documents": 1, "bytes": 5},
        "validation/code": {"documents": 1, "bytes": 3},
    }
    assert described["fingerprint"] == corpus.fingerprint
    assert described["notes"] == ["a note"]
