"""Fine-tuning on a quadratic, where one step of gradient descent is known; the model itself stays as it is."""

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.probes import FineTuned, best_rate, finetune_sensitivity


class Point(torch.nn.Module):
    def __init__(self, start):
        super().__init__()
        self.x = torch.nn.Parameter(torch.tensor([start, 1.0], dtype=torch.float64))


def step(model, rate):
    """One step on |x - (0, 1)|^2 / 2."""
    with torch.no_grad():
        model.x -= rate * (model.x - torch.tensor([0.0, 1.0]))


def losses(model):
    x = model.x.detach().numpy()
    return 0.5 * ((x - 2) ** 2).sum(), 0.5 * ((x - [0, 1]) ** 2).sum()


def test_each_rate_starts_from_the_checkpoint():
    model = Point(2.0)
    found = finetune_sensitivity(model, step, losses, [0.1, 0.5])
    assert torch.equal(model.x, Point(2.0).x)
    for each in found:
        assert each.before == 0.5
        assert each.rise == pytest.approx(0.5 * (2 * each.rate) ** 2)
        assert each.task == pytest.approx(0.5 * (2 * (1 - each.rate)) ** 2)
    assert best_rate(found).rate == 0.5


def test_a_diverged_rate_is_never_the_best():
    assert best_rate([FineTuned(1.0, 1, 1, np.nan), FineTuned(0.1, 1, 1, 2.0)]).rate == 0.1


def test_bad_input():
    with pytest.raises(InputError, match="rates"):
        finetune_sensitivity(Point(1.0), step, losses, [0.0])
    with pytest.raises(InputError, match="empty"):
        best_rate([])
