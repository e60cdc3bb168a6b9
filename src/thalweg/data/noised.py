"""Windows of text whose quality is known: a share of the bytes is the text's, the rest is noise.

Quality q ~ U(worst, 1) of a window is the probability with which each of its tokens stays; the others are drawn anew,
one by one, from all tokens of the text (so that their frequencies stay). What helps on clean text is then known.

Source: the small-scale checks of arXiv 2511.18903 and 2512.07612 in this project (ours, not the papers').
"""

from __future__ import annotations

import numpy as np

from thalweg.data.prepared import Prepared
from thalweg.errors import InputError

__all__ = ["QUALITY", "noised_windows"]

QUALITY = "quality"
"""Name of the score column."""


def noised_windows(
    tokens: np.ndarray, *, count: int, length: int, vocab_size: int, seed: int, worst: float = 0.3, first: int = 0
) -> Prepared:
    """Documents of ``length`` tokens with a column ``quality``, in memory.

    Args:
        tokens: integer array (n,), clean text.
        count: documents; different stretches of the text, chosen at random.
        length: tokens of each (>= 2).
        vocab_size: ids are below it.
        seed: of stretches, qualities and noise.
        worst: the least quality, in [0, 1].
        first: id of the first document, so that several sets can stand in one plan.

    Raises:
        InputError: a value out of range, or a text of fewer than ``count`` stretches.
    """
    tokens = np.asarray(tokens)
    if length < 2 or count < 1 or not 0 <= worst <= 1:
        raise InputError(f"length={length}, count={count}, worst={worst}: at least 2, at least 1, and in 0 … 1")
    stretches = len(tokens) // length
    if stretches < count:
        raise InputError(f"the text has {stretches} stretches of {length} tokens, fewer than count={count}")
    rng = np.random.default_rng([seed, first])
    chosen = rng.permutation(stretches)[:count]
    rows = tokens[: stretches * length].reshape(stretches, length)[chosen].copy()
    quality = rng.uniform(worst, 1.0, count)
    noise = rng.random(rows.shape) >= quality[:, None]
    rows[noise] = tokens[rng.integers(0, len(tokens), int(noise.sum()))]
    columns = {"id": np.arange(first, first + count), QUALITY: quality}
    begin = np.arange(count + 1, dtype=np.int64) * length
    name = f"noised windows {seed}"
    return Prepared(name, (rows.reshape(-1),), begin, columns, vocab_size, 0, "", f"{name} {first} {count} {worst}")
