"""The optimizers a recipe can name: defaults, refusals, and the update itself by hand."""

from __future__ import annotations

import inspect

import pytest
import torch

from thalweg.errors import InputError
from thalweg.optim import OPTIMIZERS, check_options, defaults, make


def group(*values: float) -> list[dict]:
    parameter = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    parameter.grad = torch.tensor([0.3, -2.0], dtype=torch.float64)
    return [{"params": [parameter]}]


def test_defaults_are_those_of_the_factories():
    assert defaults("adamw") == {"betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    assert defaults("sgd") == {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0}
    for name, factory in OPTIMIZERS.items():
        assert list(inspect.signature(factory).parameters)[:2] == ["groups", "lr"]
        check_options(name, defaults(name))


def test_two_updates_of_adamw_by_hand():
    groups = group(1.0, -1.0)
    optimizer = make("adamw", groups, lr=0.1, options={"betas": [0.8, 0.9], "eps": 1e-3, "weight_decay": 0.5})
    w, g = torch.tensor([1.0, -1.0], dtype=torch.float64), groups[0]["params"][0].grad.clone()
    m, v = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for t in (1, 2):
        optimizer.step()
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        w = w - 0.1 * (m / (1 - 0.8**t) / ((v / (1 - 0.9**t)).sqrt() + 1e-3) + 0.5 * w)
    torch.testing.assert_close(groups[0]["params"][0].detach(), w, rtol=1e-14, atol=0)  # float64 rounding


@pytest.mark.parametrize("nesterov", [False, True])
def test_two_updates_of_sgd_by_hand(nesterov):
    groups = group(1.0, -1.0)
    optimizer = make("sgd", groups, lr=0.1, options={"momentum": 0.6, "nesterov": nesterov, "weight_decay": 0.5})
    w, velocity = torch.tensor([1.0, -1.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for _ in range(2):
        optimizer.step()
        g = groups[0]["params"][0].grad + 0.5 * w
        velocity = 0.6 * velocity + g
        w = w - 0.1 * (g + 0.6 * velocity if nesterov else velocity)
    torch.testing.assert_close(groups[0]["params"][0].detach(), w, rtol=1e-14, atol=0)  # float64 rounding


def test_a_groups_own_weight_decay_wins():
    groups = [group(1.0, 1.0)[0] | {"weight_decay": 0.0}, group(1.0, 1.0)[0]]
    optimizer = make("adamw", groups, lr=0.1, options={"weight_decay": 0.5})
    optimizer.step()
    free, decayed = (entry["params"][0].detach() for entry in groups)
    torch.testing.assert_close(free - decayed, torch.full((2,), 0.05, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adamm", {}, "did you mean 'adamw'"),
        ("adamw", {"momentm": 1}, "has no option 'momentm'"),
        ("adamw", {"lr": 1}, "has no option 'lr'"),
        ("adamw", {"betas": (0.9, 2.0)}, "refuses its options"),
        ("adamw", {"eps": float("inf")}, "must be like its default"),
        ("sgd", {"momentum": "0.9"}, "must be like its default"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(InputError, match=message):
        check_options(name, options)
    with pytest.raises(InputError, match=message):
        make(name, group(1.0, 2.0), lr=0.1, options=options)
