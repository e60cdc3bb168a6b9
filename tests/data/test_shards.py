from __future__ import annotations

import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from thalweg.data import ByteTokenizer, Corpus, Document, cached_shard, open_shard, tokenize, write_shard
from thalweg.errors import InputError

TEXTS = ["one", "", "three €", "x" * 1000]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    write_shard(tmp_path / "train", TEXTS, ByteTokenizer(), corpus="abc")
    return tmp_path / "train"


def test_documents_come_back(shard: Path):
    found = open_shard(shard, verify=True)
    bounds = found.offsets.tolist()
    texts = [ByteTokenizer().decode(found.tokens[a : b - 1]) for a, b in pairwise(bounds)]
    assert texts == TEXTS
    assert [int(found.tokens[b - 1]) for b in bounds[1:]] == [0] * 4
    assert found.tokens.dtype == np.dtype("<u2")
    assert not found.tokens.flags.writeable
    header = json.loads(shard.with_name("train.json").read_text())
    assert (header["format"], header["version"], header["count"], header["documents"]) == ("thalweg-tokens", 1, 1016, 4)
    assert header["tokenizer"] == ByteTokenizer.fingerprint
    assert header["corpus"] == "abc"
    assert sorted(path.name for path in shard.parent.iterdir()) == ["train.bin", "train.json", "train.offsets.npy"]


class Wide(ByteTokenizer):
    vocab_size = 70_000

    def encode(self, text: str) -> np.ndarray:
        return np.array([65_536 + ord(c) for c in text], dtype=np.uint32)


def test_large_vocabularies_get_four_bytes(tmp_path: Path):
    found = write_shard(tmp_path / "w", ["ab"], Wide())
    assert found.tokens.dtype == np.dtype("<u4")
    assert found.tokens.tolist() == [65_633, 65_634, 0]


def test_no_documents_is_an_empty_shard(tmp_path: Path):
    found = write_shard(tmp_path / "none", [], ByteTokenizer())
    assert len(found.tokens) == 0
    assert found.offsets.tolist() == [0]


def test_memory_is_that_of_one_document(tmp_path: Path):
    tracemalloc.start()
    write_shard(tmp_path / "big", ("y" * 50_000 for _ in range(400)), ByteTokenizer())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "big.bin").stat().st_size > 40_000_000
    assert peak < 1_500_000  # a document takes 50 kB of text and a few arrays of 100 to 400 kB


@pytest.mark.parametrize(
    ("suffix", "damage", "words"),
    [
        ("bin", lambda data: data[:-2], "has 2030 bytes but its header says 2032"),
        ("bin", lambda data: data + b"..", "has 2034 bytes"),
        ("offsets.npy", lambda data: data[:-8], "does not fit its header"),
        ("offsets.npy", lambda data: b"", "does not fit its header"),
        ("json", lambda data: data[:40], "is no header of a token shard"),
        ("json", lambda data: b"[]", "is no header of a token shard"),
        ("json", lambda data: data.replace(b'"version": 1', b'"version": 2'), "version 2, this program reads"),
        ("json", lambda data: data.replace(b'"dtype"', b'"kind"'), "lacks entries"),
        ("json", lambda data: data.replace(b"<u2", b"|O"), "says dtype"),
        ("json", lambda data: data.replace(b'"documents": 4', b'"documents": 5'), "does not fit its header"),
    ],
)
def test_damage_is_named(shard: Path, suffix: str, damage, words: str):
    path = shard.with_name(f"train.{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=words):
        open_shard(shard)


def test_changed_tokens_are_found_on_request(shard: Path):
    path = shard.with_name("train.bin")
    path.write_bytes(b"z" + path.read_bytes()[1:])
    assert open_shard(shard).tokens[0] == ord("z")
    with pytest.raises(InputError, match="differs from the SHA-256"):
        open_shard(shard, verify=True)


def test_absent_shard_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="no token shard"):
        open_shard(tmp_path / "none")


def test_failure_half_way_leaves_nothing_that_opens(shard: Path):
    def texts():
        yield "new"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_shard(shard, texts(), ByteTokenizer())
    with pytest.raises(InputError, match="no token shard"):
        open_shard(shard)
    assert not [path for path in shard.parent.iterdir() if path.name.endswith(".tmp")]


def made(word: str = "alpha") -> Corpus:
    return Corpus("x", (Document("a", word * 50), Document("b", "beta", "validation")))


def test_cache_is_used_until_text_or_file_changes(tmp_path: Path):
    first = cached_shard(made(), ByteTokenizer(), "train", tmp_path)
    assert np.array_equal(first.tokens, tokenize(made(), ByteTokenizer(), "train"))
    (data,) = tmp_path.glob("train-*.bin")
    stamp = data.stat().st_mtime_ns
    cached_shard(made(), ByteTokenizer(), "train", tmp_path)
    assert data.stat().st_mtime_ns == stamp
    assert cached_shard(made("gamma"), ByteTokenizer(), "train", tmp_path).tokens[0] == ord("g")
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    again = cached_shard(made(), ByteTokenizer(), "train", tmp_path)
    assert np.array_equal(again.tokens, tokenize(made(), ByteTokenizer(), "train"))
    assert cached_shard(made(), ByteTokenizer(), "validation", tmp_path).tokens.tolist() == [*b"beta", 0]


def test_cache_asked_by_many_at_once_is_written_once(tmp_path: Path):
    encoded = []

    class Counting(ByteTokenizer):
        def encode(self, text: str) -> np.ndarray:
            encoded.append(len(text))
            return super().encode(text)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cached_shard(made(), Counting(), "train", tmp_path), range(16)))
    assert encoded == [250]
    assert all(len(shard.tokens) == 251 for shard in found)
