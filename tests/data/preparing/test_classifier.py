from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from preparing_parts import story
from thalweg.data import TextClassifier, corpus, prepare, train_classifier
from thalweg.data.preparing.classifier import _features
from thalweg.errors import InputError

GOOD = [story(i, 40) + " therefore" for i in range(12)]
BAD = [story(i + 100, 40) + " buy now" for i in range(30)]


def test_weights_are_those_of_logistic_regression():
    """The loss is convex: scikit-learn, asked for the same one, finds the same scores."""
    linear = pytest.importorskip("sklearn.linear_model")
    penalty, bits = 1e-3, 12
    found = train_classifier(GOOD, BAD, words=2, bits=bits, penalty=penalty)
    texts = GOOD + BAD
    buckets, offsets = _features(texts, 2, 2**bits)
    matrix = np.zeros((len(texts), 2**bits))
    for row, (begin, end) in enumerate(pairwise(offsets)):
        for bucket in buckets[begin:end]:
            matrix[row, bucket] += 1 / (end - begin)
    labels = np.array([1] * len(GOOD) + [0] * len(BAD))
    weights = np.where(labels == 1, 0.5 / len(GOOD), 0.5 / len(BAD))
    peer = linear.LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=5000).fit(matrix, labels, sample_weight=weights)
    wanted = peer.predict_proba(matrix)[:, 1]
    np.testing.assert_allclose(found.scores(texts), wanted, atol=2e-3)


def test_features_are_the_words_and_pairs_of_each_text_alone():
    alone = [_features([text], 2, 2**20)[0] for text in ("one two three", "", "four")]
    together, offsets = _features(["one two three", "", "four"], 2, 2**20)
    assert offsets.tolist() == [0, 5, 5, 6]
    for i, wanted in enumerate(alone):
        assert together[offsets[i] : offsets[i + 1]].tolist() == wanted.tolist()
    assert len(set(alone[0].tolist())) == 5


def test_prose_is_told_from_code_that_was_not_seen():
    documents = corpus("stdlib").documents
    prose, code = ([d.text for d in documents if d.domain == kind][:40] for kind in ("prose", "code"))
    found = train_classifier(prose[::2], code[::2])
    right, wrong = found.scores(prose[1::2]), found.scores(code[1::2])
    wins = (right[:, None] > wrong[None, :]).mean()  # area under the curve
    assert wins > 0.95
    assert found.scores(["", "!?"]).tolist() == [0, 0]
    assert found.scores([]).shape == (0,)


def test_saved_without_pickle_and_read_back_equal(tmp_path: Path):
    found = train_classifier(GOOD, BAD, bits=10)
    again = TextClassifier.load(found.save(tmp_path / "c.npz"))
    assert again.fingerprint == found.fingerprint
    assert (again.scores(GOOD) == found.scores(GOOD)).all()
    np.load(tmp_path / "c.npz", allow_pickle=False)["weights"]
    other = train_classifier(GOOD, BAD, bits=10).save(tmp_path / "d.npz")
    assert (tmp_path / "c.npz").read_bytes() == other.read_bytes()


@pytest.mark.parametrize("data", [b"", b"no archive", None])
def test_file_that_is_no_classifier(tmp_path: Path, data: bytes | None):
    if data is not None:
        (tmp_path / "c.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"c\.npz (is no saved text classifier|does not exist)"):
        TextClassifier.load(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"positive": []}, "the positive texts hold no word"),
        ({"negative": ["", "!!"]}, "the negative texts hold no word"),
        ({"bits": 3}, "bits = 3"),
        ({"words": 0}, "words = 0"),
        ({"penalty": 0.0}, "penalty = 0"),
    ],
)
def test_unusable_arguments_are_named(arguments: dict, words: str):
    with pytest.raises(InputError, match=words):
        train_classifier(**{"positive": GOOD, "negative": BAD, **arguments})


def test_preparation_trains_scores_and_cuts(tmp_path: Path):
    for name, texts in (("good", GOOD), ("bad", BAD), ("in", [*GOOD[:3], *BAD[:4]])):
        (tmp_path / name).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / name / f"{i:02d}.txt").write_text(text)
    score = {"name": "good", "positive": [str(tmp_path / "good")], "negative": [str(tmp_path / "bad")], "minimum": 0.5}
    made = prepare({"inputs": [{"path": str(tmp_path / "in")}], "scores": [score]}, tmp_path / "out")
    assert made.manifest["documents"] == 3
    assert made.manifest["steps"][-1]["removed"] == {"good": 4}
    model = train_classifier(GOOD, BAD).save(tmp_path / "c.npz")
    score = {"name": "good", "model": str(model), "minimum": 0.5}
    again = prepare({"inputs": [{"path": str(tmp_path / "in")}], "scores": [score]}, tmp_path / "model")
    assert again.manifest["parts"] == made.manifest["parts"]
