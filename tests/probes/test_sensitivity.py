"""Sensitivity against closed forms: a quadratic loss, two-layer linear nets; the inflection of a parabola."""

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.nn import LanguageModel, ModelConfig
from thalweg.probes import inflection, initial_scales, noise_sensitivity


class Two(torch.nn.Module):
    def __init__(self, value=2.0):
        super().__init__()
        self.a = torch.nn.Parameter(torch.full((50, 40), value, dtype=torch.float64))
        self.gain = torch.nn.Parameter(torch.ones(7, dtype=torch.float64))


def square(model):
    with torch.no_grad():
        return float((model.a**2).mean() + (model.gain**2).mean())


def test_a_quadratic_rises_by_the_variance():
    model = Two()
    before = {name: p.clone() for name, p in model.named_parameters()}
    found = noise_sensitivity(model, square, {"a": 0.5, "gain": 0.0}, [0.1, 1.0, 4.0], draws=16)
    for each in found:
        # E (x + s e)^2 - x^2 = s^2; 16 x 2000 draws, and 2 x s e does not average to 0 exactly
        assert abs(each.rise - (0.5 * each.scale) ** 2) < 4 * max(each.error, 1e-12)
        assert each.perturbed == pytest.approx(5 + each.rise)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    again = noise_sensitivity(model, square, {"a": 0.5, "gain": 0.0}, [0.1, 1.0, 4.0], draws=16)
    assert again == found


def test_two_layer_linear_net_has_its_closed_form():
    """0.5 |W2 W1 - A|^2 under noise of std s on both rises by s^2 d sum(s_i) + s^4 d^3 / 2 at W2 W1 = A, balanced."""
    d, s = 12, 0.05
    values = torch.tensor([3.0, 1.5, 0.8] + [0.0] * 9, dtype=torch.float64)
    model = torch.nn.Module()
    model.w1 = torch.nn.Parameter(torch.diag(values.sqrt()))
    model.w2 = torch.nn.Parameter(torch.diag(values.sqrt()))

    def loss(model):
        with torch.no_grad():
            return float(0.5 * ((model.w2 @ model.w1 - torch.diag(values)) ** 2).sum())

    (found,) = noise_sensitivity(model, loss, {"w1": 1.0, "w2": 1.0}, [s], draws=3000)
    assert abs(found.rise - (s**2 * d * 5.3 + 0.5 * s**4 * d**3)) < 4 * found.error


def test_initial_scales_of_a_language_model():
    config = ModelConfig(dim=32, layers=2, heads=2, context=16)
    scales = initial_scales(LanguageModel(config, generator=torch.Generator().manual_seed(0)))
    assert scales["model.embed_tokens.weight"] == pytest.approx(0.02, rel=0.05)
    assert scales["model.norm.weight"] == 0
    assert scales["model.layers.0.self_attn.o_proj.weight"] == pytest.approx(0.01, rel=0.1)


def test_draws_are_paired_over_checkpoints_and_levels():
    """The same noise for every λ and model: on a linear loss the rise is exactly λ times that of λ = 1."""

    def linear(model):
        with torch.no_grad():
            return float(model.a.sum())

    scales = {"a": 0.5, "gain": 0.0}
    first = noise_sensitivity(Two(2.0), linear, scales, [1.0, 3.0], draws=2, seed=7)
    other = noise_sensitivity(Two(-1.0), linear, scales, [1.0], draws=2, seed=7)
    assert first[1].rise == pytest.approx(3 * first[0].rise, rel=1e-6)  # the noise is fp32
    assert other[0].rise == pytest.approx(first[0].rise, rel=1e-6)
    noise = [torch.randn(50, 40, generator=torch.Generator().manual_seed(7 * 1_000_003 + k)).sum() for k in (0, 1)]
    assert first[0].rise == pytest.approx(0.5 * float(sum(noise)) / 2, rel=1e-4)


def test_noise_meets_bf16_weights_in_fp32():
    model = torch.nn.Linear(64, 64, bias=False, dtype=torch.bfloat16)
    weight, seen = model.weight.detach().clone(), []

    def loss(model):
        seen.append(model.weight.detach().clone())
        return 0.0

    noise_sensitivity(model, loss, {"weight": 0.1}, [1.0], draws=1)
    noise = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(seen[1], (weight.float() + 0.1 * noise).bfloat16())
    assert torch.equal(model.weight, weight)


def test_the_inflection_is_a_lagrange_parabolas():
    """Vertex of the interpolating parabola by divided differences, over random unevenly spaced points."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        t = np.sort(rng.uniform(1, 9, 3))
        y = np.array([rng.uniform(1, 2), rng.uniform(0, 1), rng.uniform(1, 2)])
        first, second = (y[1] - y[0]) / (t[1] - t[0]), (y[2] - y[1]) / (t[2] - t[1])
        bend = (second - first) / (t[2] - t[0])
        vertex = (t[0] + t[1]) / 2 - first / (2 * bend)
        assert np.log(inflection(np.exp(t), y)) == pytest.approx(vertex, rel=1e-6)


def test_groups_get_noise_alone():
    model = Two()
    only = noise_sensitivity(model, square, {"a": 0.5, "gain": 0.0}, [1.0], params="a")
    assert only[0].rise > 0
    with pytest.raises(InputError, match="matches no parameter"):
        noise_sensitivity(model, square, {"a": 0.5, "gain": 0.0}, [1.0], params="gain")
    with pytest.raises(InputError, match="'gain' has no initial scale"):
        noise_sensitivity(model, square, {"a": 0.5}, [1.0])
    with pytest.raises(InputError, match="lambdas"):
        noise_sensitivity(model, square, {"a": 0.5, "gain": 0.0}, [0.0])


def test_weights_come_back_after_an_error():
    model = Two()

    def fails(model):
        if float(model.a.detach().std()) > 0:
            raise RuntimeError("out of memory")
        return 0.0

    with pytest.raises(RuntimeError):
        noise_sensitivity(model, fails, {"a": 0.5, "gain": 0.0}, [1.0])
    assert torch.all(model.a == 2)


def test_the_inflection_of_a_parabola():
    budgets = np.geomspace(1, 100, 7)
    vertex = 13.0
    assert inflection(budgets, (np.log(budgets) - np.log(vertex)) ** 2) == pytest.approx(vertex)
    assert inflection(budgets, -budgets) is None
    assert inflection(budgets, budgets) == 1
    with pytest.raises(InputError, match="three"):
        inflection([1, 2], [1, 2])
    with pytest.raises(InputError, match="finite"):
        inflection([1, 2, 3], [1, np.nan, 2])
