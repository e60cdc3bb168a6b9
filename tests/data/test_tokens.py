from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data import (
    TOKENIZERS,
    BPETokenizer,
    ByteTokenizer,
    Corpus,
    Document,
    Tokenizer,
    corpus,
    tokenize,
    tokenizer,
    tokens,
    train_bpe,
)
from thalweg.errors import InputError, MissingExtra

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def bpe() -> BPETokenizer:
    pytest.importorskip("tokenizers")
    return train_bpe((d.text for d in corpus("stdlib").split("validation")[:12]), vocab_size=600)


@given(text=TEXTS)
def test_bytes_are_utf8_and_come_back(text: str):
    ids = ByteTokenizer().encode(text)
    assert ids.dtype == np.uint16
    assert bytes(ids.tolist()) == text.encode()
    assert ByteTokenizer().decode(ids) == text


def test_bytes_that_are_no_text_still_decode():
    assert ByteTokenizer().decode([104, 105, 0xFF, 0xC3]) == "hi\ufffd\ufffd"
    with pytest.raises(InputError, match="lone surrogate at character 1"):
        ByteTokenizer().encode("a\ud800")


@given(text=TEXTS)
def test_bpe_comes_back(bpe: BPETokenizer, text: str):
    assert bpe.decode(bpe.encode(text)) == text


def test_bpe_shortens_and_keeps_the_end_token_to_itself(bpe: BPETokenizer):
    text = corpus("stdlib").split("validation")[0].text
    ids = bpe.encode(text)
    assert ids.dtype == np.uint16
    assert ids.max() < bpe.vocab_size == 600
    assert len(ids) < 0.65 * len(text.encode())
    spoof = bpe.encode("a<|end|>b")
    assert bpe.end not in spoof
    assert bpe.decode(spoof) == "a<|end|>b"


def test_bpe_merges_the_most_frequent_pair_first():
    pytest.importorskip("tokenizers")
    trained = train_bpe(["qz qz qz ab"], vocab_size=258)
    assert trained.vocab_size == 258
    assert [len(trained.encode(word)) for word in ("qz", "ab")] == [1, 2]


def test_bpe_training_is_deterministic_and_saved_exactly(bpe: BPETokenizer, tmp_path: Path):
    again = train_bpe((d.text for d in corpus("stdlib").split("validation")[:12]), vocab_size=600)
    assert again.fingerprint == bpe.fingerprint
    path = bpe.save(tmp_path / "tokenizer.json")
    for other in (tokenizer(path), pickle.loads(pickle.dumps(bpe))):
        assert (other.fingerprint, other.end, other.vocab_size) == (bpe.fingerprint, bpe.end, bpe.vocab_size)
        assert np.array_equal(other.encode("def f(x):\n"), bpe.encode("def f(x):\n"))


def test_saved_file_is_read_by_its_own_library(bpe: BPETokenizer, tmp_path: Path):
    library = pytest.importorskip("tokenizers")
    theirs = library.Tokenizer.from_file(str(bpe.save(tmp_path / "tokenizer.json")))
    assert theirs.encode("import os, sys").ids == bpe.encode("import os, sys").tolist()
    assert theirs.token_to_id("<|end|>") == bpe.end


def test_byte_tokenizer_by_name_and_file(tmp_path: Path):
    path = ByteTokenizer().save(tmp_path / "t.json")
    assert json.loads(path.read_text()) == {"thalweg": "byte"}
    for found in (tokenizer("byte"), tokenizer(path)):
        assert found.fingerprint == ByteTokenizer.fingerprint


def test_documents_end_with_the_end_token(bpe: BPETokenizer):
    documents = (Document("a", "one"), Document("b", "two", "validation"), Document("c", "three"))
    made = Corpus("x", documents)
    assert tokenize(made, ByteTokenizer(), "train").tolist() == [*b"one", 0, *b"three", 0]
    ends = np.flatnonzero(tokenize(made, bpe, "train") == bpe.end)
    assert len(ends) == 2
    assert len(tokenize(Corpus("x", ()), ByteTokenizer(), "train")) == 0


@pytest.mark.parametrize("content", ["not json", "{}", '{"thalweg": "word"}', "[1]"])
def test_files_that_are_no_tokenizer(tmp_path: Path, content: str):
    pytest.importorskip("tokenizers")
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(InputError, match=r"tokenizer .*t\.json"):
        tokenizer(tmp_path / "t.json")


def test_unknown_name_and_foreign_end_token(bpe: BPETokenizer, tmp_path: Path):
    with pytest.raises(InputError, match="did you mean 'byte'"):
        tokenizer("bytes")
    with pytest.raises(InputError, match="has no token '</s>'"):
        tokenizer(bpe.save(tmp_path / "t.json"), end="</s>")
    with pytest.raises(InputError, match="vocab_size is 256"):
        train_bpe(["a"], vocab_size=256)


def test_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtra, match=r"thalweg\[data\]"):
        train_bpe(["a"], vocab_size=300)


def test_every_kind_keeps_the_protocol(bpe: BPETokenizer):
    made: list[Tokenizer] = [ByteTokenizer(), bpe]
    assert {one.name: type(one) for one in made} == dict(TOKENIZERS)
    for one in made:
        assert 0 <= one.end < one.vocab_size
        assert len(one.fingerprint) == 64


def test_encoding_many_at_once_is_encoding_each(monkeypatch: pytest.MonkeyPatch):
    texts = ["one text", "", "naïve <|end|> text", "x" * 50, *map(str, range(40))]
    learnt = train_bpe(texts, vocab_size=300)
    monkeypatch.setattr(tokens, "BATCH_CHARACTERS", 30)
    for kind in (learnt, ByteTokenizer()):
        found = list(tokens.encode_all(iter(texts), kind))
        assert [ids.dtype for ids in found] == [np.uint16] * len(texts)
        assert [ids.tolist() for ids in found] == [kind.encode(text).tolist() for text in texts]
