"""The closed forms of SAM on two-layer networks against ``thalweg.optim.SAM`` on the same network in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.dynamics import batch_sam, example_sam
from thalweg.errors import InputError
from thalweg.optim import SAM
from thalweg.tasks import HypercubeXor, TwoLayer
from thalweg.tasks.two_layer import Kind
from thalweg.tasks.two_layer_module import TwoLayerModule

PHASES = [(0.05, 0.3, 30), (0.02, 0.1, 20)]


def setting(kind: Kind, copies: int = 2) -> tuple[TwoLayer, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    problems = [HypercubeXor.draw(dim=6, samples=9, rng=rng) for _ in range(copies)]
    net = TwoLayer.draw(kind, dim=6, width=8, rng=rng, copies=(copies,))
    return net, np.stack([p.inputs for p in problems]), np.stack([p.targets for p in problems])


def one(net: TwoLayer, at: int) -> TwoLayer:
    return TwoLayer(net.kind, net.hidden[at], net.output[at])


def in_torch(net: TwoLayer, x: np.ndarray, y: np.ndarray, rows, *, phases=PHASES, norm=None, decay=0.0) -> TwoLayer:
    """By two backward passes a step; ``rows()`` picks the examples."""
    module = TwoLayerModule(net.scaled(norm) if norm else net)
    for lr, rho, steps in phases:
        optimizer = SAM(torch.optim.SGD(module.parameters(), lr=lr, weight_decay=decay), rho=rho)
        for _ in range(steps):
            pick = rows()
            inputs, targets = torch.tensor(x[pick]), torch.tensor(y[pick])

            def closure(inputs=inputs, targets=targets):
                loss = (module(inputs) - targets).square().mean()
                loss.backward()
                return loss

            optimizer.step(closure)
            if norm and module.bias is not None:
                with torch.no_grad():
                    length = (module.weight.square().sum() + module.bias.square().sum()).sqrt()
                    module.weight.mul_(norm / length)
                    module.bias.mul_(norm / length)
    return module.net()


@pytest.mark.parametrize(("kind", "norm"), [("plain", None), ("bias", None), ("layernorm", None), ("layernorm", 3.0)])
def test_example_sam_is_sam_of_batch_size_one(kind: Kind, norm: float | None) -> None:
    net, x, y = setting(kind)
    found = example_sam(net, x, y, phases=PHASES, rng=np.random.default_rng(3), norm=norm)
    for copy in range(2):
        rng = np.random.default_rng(3)
        order = iter(np.concatenate([rng.integers(9, size=(1024, 2))[:steps] for _, _, steps in PHASES])[:, copy])
        twin = in_torch(one(net, copy), x[copy], y[copy], lambda order=order: [next(order)], norm=norm)
        np.testing.assert_allclose(found.hidden[copy], twin.hidden, atol=1e-11)
        np.testing.assert_allclose(found.output[copy], twin.output, atol=1e-11)
    if norm:
        np.testing.assert_allclose(found.norm, norm, rtol=1e-12)


@pytest.mark.parametrize("kind", ["plain", "bias"])
@pytest.mark.parametrize("phases", [PHASES, [(0.05, 0.0, 40)]])
def test_batch_sam_is_sam_of_the_whole_batch(kind: Kind, phases) -> None:
    net, x, y = setting(kind)
    found = batch_sam(net, x, y, phases=phases, weight_decay=0.05)
    for copy in range(2):
        twin = in_torch(one(net, copy), x[copy], y[copy], lambda: slice(None), phases=phases, decay=0.05)
        np.testing.assert_allclose(found.hidden[copy], twin.hidden, atol=1e-12)
        np.testing.assert_allclose(found.output[copy], twin.output, atol=1e-12)


def test_watch_sees_what_a_shorter_run_returns() -> None:
    net, x, y = setting("bias")
    seen: dict[int, TwoLayer] = {}
    example_sam(net, x, y, phases=[(0.05, 0.1, 20)], rng=np.random.default_rng(1), every=10, watch=seen.__setitem__)
    short = example_sam(net, x, y, phases=[(0.05, 0.1, 10)], rng=np.random.default_rng(1))
    assert list(seen) == [10, 20]
    np.testing.assert_array_equal(seen[10].hidden, short.hidden)
    batches: dict[int, TwoLayer] = {}
    batch_sam(net, x, y, phases=[(0.05, 0.1, 6)], every=3, watch=batches.__setitem__)
    assert list(batches) == [3, 6]


def test_without_radius_it_is_sgd() -> None:
    net, x, y = setting("bias", copies=1)
    found = example_sam(net, x, y, phases=[(0.05, 0.0, 40)], rng=np.random.default_rng(2))
    order = iter(np.random.default_rng(2).integers(9, size=(1024, 1))[:40, 0])
    twin = in_torch(one(net, 0), x[0], y[0], lambda: [next(order)], phases=[(0.05, 0.0, 40)])
    np.testing.assert_allclose(found.hidden[0], twin.hidden, atol=1e-12)


def test_refused() -> None:
    net, x, y = setting("bias")
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="norm"):
        example_sam(net, x, y, phases=PHASES, rng=rng, norm=2.0)
    with pytest.raises(InputError, match="rho"):
        example_sam(net, x, y, phases=[(0.1, -1.0, 3)], rng=rng)
    with pytest.raises(InputError, match="steps"):
        example_sam(net, x, y, phases=[(0.1, 0.1, -3)], rng=rng)
    with pytest.raises(InputError, match="axis"):
        example_sam(one(net, 0), x[0], y[0], phases=PHASES, rng=rng)
    with pytest.raises(InputError, match="batchnorm"):
        batch_sam(TwoLayer.draw("batchnorm", dim=6, width=3, rng=rng, copies=(2,)), x, y, phases=PHASES)
    with pytest.raises(InputError, match="layernorm"):
        batch_sam(TwoLayer.draw("layernorm", dim=6, width=3, rng=rng, copies=(2,)), x, y, phases=PHASES)
