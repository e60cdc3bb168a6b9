"""A linear text classifier in the manner of fastText: hashed words and word pairs, averaged, one logistic output.

score(text) = σ(b + mean of w[hash] over the text's words and runs of words). fastText's classifier with two classes has
the same form: its score is a linear function of the mean of embeddings, and so the mean of one number a feature. The
loss is convex, so training has one answer: no seed, no learning rate.

Source: Joulin et al. 2016 (arXiv 1607.01759); hashed features, Weinberger et al. 2009 (arXiv 0902.2206).
Differs: 1. the weights minimise the logistic loss (both classes weigh the same) plus ``penalty``/2·|w|² by L-BFGS, not
by a fixed number of SGD epochs; 2. words are lower-cased, without punctuation, numbers are "0".
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thalweg.data.preparing.ngrams import ngram_hashes, word_hashes
from thalweg.errors import InputError
from thalweg.files import write_atomic

__all__ = ["TextClassifier", "train_classifier"]

FORMAT = "thalweg-text-classifier"


@dataclass(frozen=True, slots=True, eq=False)
class TextClassifier:
    """A trained classifier.

    Attributes:
        weights: float32 (2^bits,).
        bias: of the logistic output.
        words: longest run of words that is a feature.
    """

    weights: np.ndarray
    bias: float
    words: int

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides the scores."""
        head = f"{FORMAT} {self.words} {self.bias!r} {self.weights.dtype} ".encode()
        return hashlib.sha256(head + self.weights.tobytes()).hexdigest()

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Probability of the positive class, float64 (texts,); 0 for a text without words."""
        buckets, offsets = _features(texts, self.words, len(self.weights))
        text_of = np.repeat(np.arange(len(texts)), np.diff(offsets))
        sums = np.bincount(text_of, weights=self.weights[buckets].astype(np.float64), minlength=len(texts))
        counts = np.diff(offsets)
        margins = sums / np.maximum(counts, 1) + self.bias
        return np.where(counts > 0, 1 / (1 + np.exp(-margins)), 0.0)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """``scores``."""
        return self.scores(texts)

    def save(self, path: str | Path) -> Path:
        """Writes an .npz of arrays and a line of JSON, without pickle; equal classifiers give equal bytes."""
        head = json.dumps({"format": FORMAT, "version": 1, "bias": self.bias, "words": self.words})
        packed = io.BytesIO()
        np.savez(packed, weights=self.weights, head=np.array(head))
        return write_atomic(path, packed.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> TextClassifier:
        """Reads what ``save`` wrote.

        Raises:
            InputError: the file is absent or no classifier.
        """
        try:
            with np.load(path, allow_pickle=False) as parts:
                head, weights = json.loads(str(parts["head"])), parts["weights"]
            if head["format"] != FORMAT or weights.ndim != 1:
                raise ValueError(head["format"])
            return cls(weights, float(head["bias"]), int(head["words"]))
        except FileNotFoundError:
            raise InputError(f"classifier {path} does not exist: train and save it first") from None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is no saved text classifier ({error}): train and save it anew") from None


def train_classifier(
    positive: Sequence[str], negative: Sequence[str], *, words: int = 2, bits: int = 18, penalty: float = 1e-6
) -> TextClassifier:
    """Trains a classifier that tells ``positive`` texts (score near 1) from ``negative`` ones.

    Args:
        positive: texts as one wants them.
        negative: texts as they come.
        words: longest run of words that is a feature, 1 … 5.
        bits: features are hashed into 2^bits weights, 4 … 24.
        penalty: of half the squared norm of the weights, > 0, where the loss is the mean over each class, averaged.

    Raises:
        InputError: a class without words, or an argument out of range.
    """
    if not 1 <= words <= 5 or not 4 <= bits <= 24 or not penalty > 0:
        raise InputError(f"words = {words}, bits = {bits}, penalty = {penalty}: expected 1 to 5, 4 to 24, above 0")
    texts = [*positive, *negative]
    buckets, offsets = _features(texts, words, 2**bits)
    counts = np.diff(offsets)
    signs = np.where(np.arange(len(texts)) < len(positive), 1.0, -1.0)[counts > 0]
    for sign, name in ((1, "positive"), (-1, "negative")):
        if not (signs == sign).any():
            raise InputError(f"the {name} texts hold no word: a classifier needs texts of both kinds")
    used, columns = np.unique(buckets, return_inverse=True)
    found = _fit(columns, counts[counts > 0], signs, penalty)
    weights = np.zeros(2**bits, dtype=np.float32)
    weights[used] = found[:-1]
    return TextClassifier(weights, float(found[-1]), words)


def _features(texts: Sequence[str], words: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Buckets int64 (m,) of all runs of 1 … words words, text by text, and int64 (texts + 1,) offsets."""
    hashes, offsets = word_hashes(texts)
    runs = [ngram_hashes(hashes, offsets, length) for length in range(1, words + 1)]
    text_of = np.concatenate([np.repeat(np.arange(len(texts)), np.diff(places)) for _, places in runs])
    order = np.argsort(text_of, kind="stable")
    joined = np.concatenate([found for found, _ in runs])[order]
    joined ^= joined >> np.uint64(31)  # the low bits of a polynomial hash see only the low bits of the words
    return (joined % np.uint64(size)).astype(np.int64), np.append(
        0, np.cumsum(np.bincount(text_of, minlength=len(texts)))
    )


def _fit(columns: np.ndarray, counts: np.ndarray, signs: np.ndarray, penalty: float) -> np.ndarray:
    """Weights of the columns and the bias, float64 (columns + 1,), of least penalised loss.

    Args:
        columns: int64 (m,), column of each feature, text by text.
        counts: int64 (texts,), features of each text, >= 1.
        signs: float64 (texts,), 1 or -1.
        penalty: of half the squared weights.
    """
    from scipy.optimize import minimize
    from scipy.sparse import csr_array

    places = np.append(0, np.cumsum(counts))
    features = csr_array((np.repeat(1 / counts, counts), columns, places))
    share = np.where(signs > 0, 0.5 / (signs > 0).sum(), 0.5 / (signs < 0).sum())
    transposed = features.T.tocsr()

    def loss_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (features @ point[:-1] + point[-1])
        loss = share @ np.logaddexp(0, -margins) + penalty / 2 * point[:-1] @ point[:-1]
        pull = -share * signs / (1 + np.exp(np.minimum(margins, 700)))
        return loss, np.append(transposed @ pull + penalty * point[:-1], pull.sum())

    start = np.zeros(int(columns.max()) + 2)
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-8})
    return found.x
