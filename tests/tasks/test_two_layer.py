"""Two-layer networks against autograd, dense Hessians and every corner of a hypercube."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.landscape import measure
from thalweg.tasks import HypercubeXor, TwoLayer, generalizing, least_trace, memorizing
from thalweg.tasks.two_layer import Kind
from thalweg.tasks.two_layer_module import TwoLayerModule

KINDS = get_args(Kind)


def problem(dim: int = 10, samples: int = 40) -> HypercubeXor:
    return HypercubeXor.draw(dim=dim, samples=samples, rng=np.random.default_rng(5))


def corners(dim: int) -> np.ndarray:
    return np.array(list(product((-1.0, 1.0), repeat=dim)))


def hessian_trace(net: TwoLayer, data: HypercubeXor) -> float:
    """Of the mean squared error, second derivatives by autograd, all of them."""
    module = TwoLayerModule(net, data.inputs)
    x, y = torch.tensor(data.inputs), torch.tensor(data.targets)
    flat = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
    shapes = [(name, p.shape, p.numel()) for name, p in module.named_parameters()]

    def loss(theta: torch.Tensor) -> torch.Tensor:
        pieces = theta.split([count for _, _, count in shapes])
        named = {name: piece.view(shape) for (name, shape, _), piece in zip(shapes, pieces, strict=True)}
        return (torch.func.functional_call(module, named, (x,)) - y).square().mean()

    return float(torch.autograd.functional.hessian(loss, flat).trace())


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_of_autograd(kind: Kind) -> None:
    data = problem(5, 7)
    net = TwoLayer.draw(kind, dim=5, width=6, rng=np.random.default_rng(1))
    module = TwoLayerModule(net, data.inputs)
    outputs = module(torch.tensor(data.inputs))
    np.testing.assert_allclose(net.outputs(data.inputs), outputs.detach().numpy(), atol=1e-14)
    fresh = corners(5)
    np.testing.assert_allclose(
        net.outputs(fresh, data.inputs), module(torch.tensor(fresh)).detach().numpy(), atol=1e-14
    )
    parts = dict.fromkeys(("hidden", "output", "gain"), 0.0)
    for f in outputs:
        grads = torch.autograd.grad(f, list(module.parameters()), retain_graph=True)
        for (name, _), g in zip(module.named_parameters(), grads, strict=True):
            parts["hidden" if name in ("weight", "bias") else name] += 2 / 7 * float(g.square().sum())
    found = net.trace_parts(data.inputs)
    assert found == pytest.approx({name: parts[name] for name in found}, rel=1e-12)
    assert net.trace(data.inputs) == pytest.approx(sum(parts.values()))


@pytest.mark.parametrize("kind", ["plain", "bias", "layernorm"])
def test_hessian_trace_away_from_interpolation(kind: Kind) -> None:
    """Without a norm f is linear in each layer, so its second derivatives have an empty diagonal."""
    data, net = problem(5, 7), TwoLayer.draw(kind, dim=5, width=6, rng=np.random.default_rng(2))
    exact = hessian_trace(net, data)
    assert exact == pytest.approx(float(net.hessian_trace(data.inputs, data.targets)), rel=1e-10)
    alone = float(net.trace(data.inputs))
    assert (abs(exact - alone) > 0.1) if kind == "layernorm" else exact == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("kind", ["bias", "layernorm", "batchnorm"])
@pytest.mark.parametrize("known", [memorizing, generalizing])
def test_trace_at_interpolation_is_that_of_the_dense_hessian(kind: Kind, known: Callable[..., TwoLayer]) -> None:
    data = problem(6, 9)
    net = known(kind, data.inputs, data.targets) if known is memorizing else known(kind, data.inputs)
    np.testing.assert_allclose(net.outputs(data.inputs), data.targets, atol=1e-12)
    assert hessian_trace(net, data) == pytest.approx(float(net.trace(data.inputs)), rel=1e-10)


@pytest.mark.parametrize("eps", [0.1, 0.01])
@pytest.mark.parametrize("kind", ["bias", "layernorm", "batchnorm"])
def test_memorizing_network_knows_nothing_but_its_points(kind: Kind, eps: float) -> None:
    data, every = problem(), corners(10)
    net = memorizing(kind, data.inputs, data.targets, eps=eps)
    seen = {tuple(row) for row in data.inputs}
    said = net.outputs(every, data.inputs)
    np.testing.assert_array_equal(said != 0, [tuple(row) in seen for row in every])
    np.testing.assert_allclose(net.outputs(data.inputs), data.targets, atol=1e-11)


@pytest.mark.parametrize("kind", ["bias", "layernorm"])
def test_both_known_networks_are_as_flat_as_can_be(kind: Kind) -> None:
    data = problem()
    least = least_trace(kind, 10)
    assert least == pytest.approx(13.266499161421599 if kind == "bias" else 2)
    assert memorizing(kind, data.inputs, data.targets).trace(data.inputs) == pytest.approx(least, rel=1e-10)
    net = generalizing(kind, data.inputs)
    assert net.trace(data.inputs) == pytest.approx(least, rel=1e-12)
    every = corners(10)
    np.testing.assert_allclose(net.outputs(every), HypercubeXor.label(every), atol=1e-12)


@pytest.mark.parametrize("kind", ["bias", "layernorm"])
def test_no_interpolating_network_lies_below_the_least_trace(kind: Kind) -> None:
    """Random first layers, the output layer by least squares."""
    data, rng = problem(6, 8), np.random.default_rng(4)
    for _ in range(50):
        net = TwoLayer.draw(kind, dim=6, width=40, rng=rng).scaled(rng.uniform(1, 30))
        h = net.activations(data.inputs)
        h = h / np.linalg.norm(h, axis=1, keepdims=True) if kind == "layernorm" else h
        fitted = TwoLayer(kind, net.hidden, np.linalg.lstsq(h, data.targets, rcond=None)[0])
        np.testing.assert_allclose(fitted.outputs(data.inputs), data.targets, atol=1e-8)
        assert fitted.trace(data.inputs) >= least_trace(kind, 6)


def test_printed_scale_of_the_four_neurons_is_not_the_flattest() -> None:
    """Equation 5 of the paper has (d^2 + 1)^(1/4) where (d + 1)^(1/4) attains the bound."""
    data, net = problem(), generalizing("bias", problem().inputs)
    stretch = (101 / 11**2) ** 0.25 * 11**0.25
    printed = TwoLayer("bias", net.hidden * stretch, net.output / stretch)
    np.testing.assert_allclose(printed.outputs(data.inputs), data.targets, atol=1e-12)
    assert printed.trace(data.inputs) == pytest.approx(22.29, abs=0.005)


def test_under_batchnorm_memory_is_sharp() -> None:
    """2 (|w2|^2 + |gain|^2): 4 sqrt(n) for memory, at most 8 for the rule, which the first layer's length reaches."""
    data = problem(10, 40)
    memory = memorizing("batchnorm", data.inputs, data.targets)
    rule = generalizing("batchnorm", data.inputs).scaled(1e6)
    np.testing.assert_allclose(rule.outputs(data.inputs), data.targets, atol=1e-12)
    assert memory.trace(data.inputs) == pytest.approx(4 * 40**0.5)
    share = np.array([((data.inputs[:, :2] == q).all(1)).mean() for q in product((-1, 1), repeat=2)])
    assert rule.trace(data.inputs) == pytest.approx(4 * np.sqrt(share).sum(), rel=1e-6)
    assert rule.trace(data.inputs) <= 8 + 1e-6


def test_length_of_the_first_layer_changes_nothing_but_the_trace_under_layernorm() -> None:
    data, net = problem(5, 7), TwoLayer.draw("layernorm", dim=5, width=6, rng=np.random.default_rng(6))
    wide = net.scaled(10 * float(net.norm))
    np.testing.assert_allclose(wide.outputs(data.inputs), net.outputs(data.inputs), atol=1e-14)
    near, far = net.trace_parts(data.inputs), wide.trace_parts(data.inputs)
    assert (far["hidden"], far["output"]) == pytest.approx((near["hidden"] / 100, 2.0))


def test_landscape_measures_the_same_trace() -> None:
    data, net = problem(6, 9), memorizing("bias", problem(6, 9).inputs, problem(6, 9).targets)
    batch = (torch.tensor(data.inputs), torch.tensor(data.targets))
    found = measure(
        TwoLayerModule(net), lambda m, b: (m(b[0]) - b[1]).square().mean(), [batch], ["trace"], products=256
    )
    assert found["trace"].value == pytest.approx(least_trace("bias", 6), rel=1e-6)


def test_module_and_arrays_round_trip() -> None:
    for kind in KINDS:
        net = TwoLayer.draw(kind, dim=3, width=4, rng=np.random.default_rng(0))
        back = TwoLayerModule(net, corners(3)).net()
        np.testing.assert_array_equal(back.hidden, net.hidden)
        np.testing.assert_array_equal(back.output, net.output)
        assert (back.gain is None) == (net.gain is None)


def test_refused() -> None:
    inputs = problem().inputs
    with pytest.raises(InputError, match="biasd"):
        TwoLayer("biasd", np.zeros((2, 3)), np.zeros(2))  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(InputError, match="hidden"):
        TwoLayer("bias", np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(InputError, match="gain"):
        TwoLayer("batchnorm", np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(InputError, match="plain"):
        memorizing("plain", inputs, inputs[:, 0])
    with pytest.raises(InputError, match="eps"):
        memorizing("bias", inputs, inputs[:, 0], eps=0.7)
    with pytest.raises(InputError, match="plain"):
        generalizing("plain", inputs)
    with pytest.raises(InputError, match="quarter"):
        generalizing("batchnorm", inputs[inputs[:, 0] > 0])
    with pytest.raises(InputError, match="plain"):
        least_trace("plain", 10)
    with pytest.raises(InputError, match="reference"):
        TwoLayerModule(generalizing("batchnorm", inputs))
    with pytest.raises(InputError, match="batchnorm"):
        generalizing("batchnorm", inputs).hessian_trace(inputs, inputs[:, 0])
    with pytest.raises(InputError, match="networks"):
        TwoLayerModule(TwoLayer.draw("bias", dim=2, width=2, rng=np.random.default_rng(0), copies=(3,)))
