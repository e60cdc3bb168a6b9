"""The token probe, against the bigram language whose entropies are exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.landscape import change_by_entropy, entropy, token_losses
from thalweg.nn import LanguageModel, ModelConfig


def test_entropy_of_known_laws() -> None:
    logits = torch.log(torch.tensor([[1.0, 1, 1, 1], [0.5, 0.5, 1e-30, 1e-30], [0.2, 0.3, 0.4, 0.1]]))
    wanted = [np.log(4), np.log(2), -sum(p * np.log(p) for p in (0.2, 0.3, 0.4, 0.1))]
    np.testing.assert_allclose(entropy(logits.double()).numpy(), wanted, rtol=1e-6)


def test_token_losses_are_the_cross_entropy_and_the_model_is_left_as_it_was() -> None:
    config = ModelConfig(vocab_size=32, dim=16, layers=1, heads=1, context=8)
    model = LanguageModel(config, generator=torch.Generator().manual_seed(0)).train()
    rows = torch.randint(0, 32, (5, 9), generator=torch.Generator().manual_seed(1))
    losses, entropies = token_losses(model, [rows[:3], rows[3:]])
    assert model.training
    probabilities = model(rows[:, :-1]).logits.detach().double().softmax(-1).numpy()
    picked = np.take_along_axis(probabilities, rows[:, 1:, None].numpy(), axis=2)[..., 0]
    np.testing.assert_allclose(losses, -np.log(picked), rtol=1e-5)  # the model computes in float32
    np.testing.assert_allclose(entropies, -(probabilities * np.log(probabilities)).sum(-1), rtol=1e-5)


def test_bins_are_quantiles_and_shares_add_up() -> None:
    rng = np.random.default_rng(0)
    entropies = rng.random((12, 10))
    before = rng.random((12, 10)) + 2
    after = before - 0.3 * (entropies > np.quantile(entropies, 0.75))  # only the most uncertain quarter gains
    bins = change_by_entropy(before, after, entropies, 4)
    assert [part.tokens for part in bins] == [30, 30, 30, 30]
    assert np.diff([part.entropy for part in bins]).min() > 0
    np.testing.assert_allclose([part.change for part in bins], [0, 0, 0, -0.3], atol=1e-12)
    np.testing.assert_allclose([part.share for part in bins], [0, 0, 0, 1], atol=1e-12)
    assert bins[3].before == pytest.approx(before[entropies > np.quantile(entropies, 0.75)].mean())


def test_error_counts_windows_not_tokens() -> None:
    """Tokens of a window that all change alike are one observation: the error is that of the window means."""
    rng = np.random.default_rng(2)
    per_window = rng.normal(-0.2, 0.1, 40)
    change = np.repeat(per_window[:, None], 25, axis=1)
    (only,) = change_by_entropy(np.ones_like(change), 1 + change, rng.random(change.shape), 1)
    assert only.change == pytest.approx(per_window.mean(), rel=1e-12)
    assert only.error == pytest.approx(per_window.std(ddof=1) / np.sqrt(40), rel=1e-12)
    assert only.share == pytest.approx(1.0)


def test_bad_input_is_refused() -> None:
    good = np.ones((3, 4))
    with pytest.raises(InputError, match="one shape"):
        change_by_entropy(good, good[:2], good)
    with pytest.raises(InputError, match="at least two windows"):
        change_by_entropy(good[:1], good[:1], good[:1])
    for bins in (0, 13):
        with pytest.raises(InputError, match="bins="):
            change_by_entropy(good, good, good, bins)
    assert np.isnan(change_by_entropy(good, good, good, 2)[0].share)  # nothing changed: no shares
