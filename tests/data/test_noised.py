"""Windows of known quality: shares of clean tokens, distinct stretches, purity, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.data.noised import QUALITY, noised_windows
from thalweg.errors import InputError

TEXT = np.arange(4096, dtype=np.uint16)


def made(**changes):
    return noised_windows(**{"tokens": TEXT, "count": 60, "length": 64, "vocab_size": 4096, "seed": 3} | changes)


def test_quality_is_the_share_of_tokens_that_stay():
    found = made()
    rows = found.parts[0].reshape(60, 64)
    start = np.array([np.bincount(np.clip(row.astype(int) - np.arange(64), 0, None)).argmax() for row in rows])
    clean = (rows == start[:, None] + np.arange(64)).mean(axis=1)
    quality = found.columns[QUALITY]
    assert np.all((quality >= 0.3) & (quality < 1))
    assert np.all(np.abs(clean - quality) < 5 * np.sqrt(quality * (1 - quality) / 64) + 1 / 64)
    assert len(set(start.tolist())) == 60
    assert np.all(start % 64 == 0)


def test_pure_function_of_its_arguments():
    first, again, other = made(), made(), made(first=10**9)
    assert np.array_equal(first.parts[0], again.parts[0])
    assert not np.array_equal(first.parts[0], other.parts[0])
    assert not set(first.ids) & set(other.ids)
    assert np.all(made(worst=1.0).parts[0].reshape(60, 64) % 64 == np.arange(64))


@pytest.mark.parametrize(
    ("change", "word"), [({"count": 65}, "fewer than"), ({"length": 1}, "length=1"), ({"worst": 2}, "worst")]
)
def test_refuses(change, word):
    with pytest.raises(InputError, match=word):
        made(**change)
