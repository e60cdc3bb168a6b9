"""The linear memory: loss by its definition, gradient by autograd, probabilities, what is learned at the extremes."""

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.tasks import AssociativeMemory

SMALL = AssociativeMemory(width=5, dense=4, text=9, answers=6, seed=3)


def test_loss_is_the_expected_cross_entropy():
    weights = torch.randn(2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p = torch.from_numpy(np.stack([SMALL.probabilities(0.2), SMALL.probabilities(0.7, keep=0.5)]))
    found = SMALL.loss(weights, p)
    for memory in range(2):
        total = 0.0
        for i, (key, right) in enumerate(zip(SMALL.keys, SMALL.right, strict=True)):
            logits = np.array([5 * key @ weights[memory].numpy() @ value for value in SMALL.values])
            total += float(p[memory, i]) * (np.log(np.exp(logits).sum()) - logits[right])
        assert float(found[memory]) == pytest.approx(total, rel=1e-12)


def test_gradient_is_autograds():
    weights = torch.randn(3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    p = torch.from_numpy(np.stack([SMALL.probabilities(r) for r in (0.1, 0.5, 0.9)]))
    SMALL.loss(weights, p).sum().backward()
    torch.testing.assert_close(SMALL.gradient(weights.detach(), p), weights.grad, rtol=1e-10, atol=1e-12)


def test_probabilities_sum_to_one_and_keep_the_ratio():
    for ratio, keep in ((0.1, 1.0), (0.9, 0.5), (0.3, 0.25)):
        p = SMALL.probabilities(ratio, keep=keep)
        assert p.sum() == pytest.approx(1)
        assert p[:4].sum() == pytest.approx(ratio)
        assert (p[:4] > 0).sum() == 4 * keep
        np.testing.assert_allclose(p[4:] / p[4], np.arange(1, 10) ** -1.5)


def test_keys_and_values_have_norm_about_one_and_the_seed_decides():
    task = AssociativeMemory(width=64, seed=1)
    assert (task.keys**2).sum(1).mean() == pytest.approx(1, abs=0.02)
    assert (task.values**2).sum(1).mean() == pytest.approx(1, abs=0.1)
    assert abs(np.bincount(task.right, minlength=64) / len(task.right) - 1 / 64).max() < 0.02
    np.testing.assert_array_equal(task.keys, AssociativeMemory(width=64, seed=1).keys)
    assert (task.keys != AssociativeMemory(width=64, seed=2).keys).any()


def test_a_wide_memory_recalls_what_it_was_written():
    """Hebb's rule is exact up to interference, which 64 dimensions keep small for a dozen facts."""
    task = AssociativeMemory(width=64, dense=4, text=8)
    written = torch.from_numpy(task.keys.T @ task.values[task.right])[None]
    assert task.recalled(written).all()
    assert task.recalled(torch.stack([written[0], -written[0]])).mean(1).tolist()[1] < 0.2


def test_bad_input():
    for wrong in ({"width": 0}, {"answers": 1}, {"zipf": 0.0}, {"seed": -1}):
        with pytest.raises(InputError, match="give width"):
            AssociativeMemory(**wrong)
    for ratio, keep in ((0.0, 1.0), (0.5, 0.0), (0.5, 1.2)):
        with pytest.raises(InputError, match="ratio"):
            SMALL.probabilities(ratio, keep=keep)
