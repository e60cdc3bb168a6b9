from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import ChinchillaSize, SizeTable

TRUTH = ChinchillaSize(1.69, 406.4, 0.34, 410.7, 0.28)  # arXiv 2203.15556, equation 10


def runs(noise=0.0, count=40):
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(7, 10, count), 10 ** rng.uniform(8.5, 11.5, count)
    return SizeTable(n, d, TRUTH.predict(n, d) * np.exp(noise * rng.standard_normal(count)))


@pytest.mark.parametrize("method", ["linear", "hoffmann"])
def test_recovers_exact_data(method):
    law = ChinchillaSize.fit(runs(), method=method)
    for name in ("E", "A", "alpha", "B", "beta"):
        assert getattr(law, name) == pytest.approx(getattr(TRUTH, name), rel=1e-5)


@pytest.mark.parametrize("method", ["linear", "hoffmann"])
def test_an_outlier_moves_the_floor_little(method):
    clean = runs(1e-3)
    losses = clean.losses.copy()
    losses[5] *= 1.2
    law = ChinchillaSize.fit(SizeTable(clean.sizes, clean.tokens, losses), method=method)
    assert law.E == pytest.approx(TRUTH.E, rel=0.03)


def test_best_split_beats_its_neighbours():
    flops = 5.76e23  # Chinchilla's and Gopher's budget
    size, tokens = TRUTH.best_split(flops)
    assert 6 * size * tokens == pytest.approx(flops)
    best = TRUTH.predict(size, tokens)
    for factor in (0.7, 0.95, 1.05, 1.4):
        assert best < TRUTH.predict(size * factor, tokens / factor)


def test_json_is_exact():
    law = ChinchillaSize.fit(runs(1e-2))
    assert ChinchillaSize.from_json(law.to_json()) == law
    for text in ("{", "[]", "{}", '{"law": "multi-power", "format": 1}'):
        with pytest.raises(InputError):
            ChinchillaSize.from_json(text)


def test_bad_tables():
    good = runs()
    with pytest.raises(InputError, match="losses of run 0 is nan"):
        SizeTable([1.0], [1.0], [np.nan])
    with pytest.raises(InputError, match="1 sizes, 2 tokens"):
        SizeTable([1.0], [1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="needs at least 6"):
        ChinchillaSize.fit(SizeTable([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]))
    with pytest.raises(InputError, match="all sizes are equal"):
        ChinchillaSize.fit(SizeTable(np.ones(40), good.tokens, good.losses))
    with pytest.raises(InputError, match="did you mean 'hoffmann'"):
        ChinchillaSize.fit(good, method="hofmann")
    with pytest.raises(InputError, match="flops is 0"):
        TRUTH.best_split(0)
