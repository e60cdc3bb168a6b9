"""Losses, data and models that a curvature would be wrong of: refused or said, with the name of what is to blame."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape.dense import cross_entropy, gap, net
from thalweg.errors import InputError
from thalweg.landscape import measure
from thalweg.landscape.operators import fisher, ggn, hessian


@pytest.fixture
def case():
    return net()


def test_a_dropout_that_is_on_is_named_and_can_be_allowed(case):
    model = nn.Sequential(*case.model[:2], nn.Dropout(0.5), case.model[2]).train()
    hessian(model, cross_entropy, case.batches())  # evaluation mode switches it off
    with pytest.raises(InputError, match=r"it is random \(2 is a dropout that is on\)"):
        hessian(model, cross_entropy, case.batches(), training=True)

    def careless(m, batch):
        return F.cross_entropy(F.dropout(m(batch[0]), 0.5), batch[1])

    with pytest.raises(InputError, match="a dropout by function in the model or loss_fn"):
        hessian(model, careless, case.batches())
    allowed = hessian(model, careless, case.batches(), allow_random=True)
    state = torch.get_rng_state()
    assert torch.equal(allowed.dense(), allowed.dense())  # one draw
    assert torch.equal(state, torch.get_rng_state())
    assert allowed.point.findings.notes == ("the loss is random: all evaluations share one seed",)


class Attention(nn.Module):
    """Torch's own in both forms, with a dropout."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.attend, self.head = nn.MultiheadAttention(4, 2, dropout=0.3, batch_first=True), nn.Linear(4, 3)
        self.query, self.fused = nn.Linear(4, 4), fused

    def forward(self, x):
        x = torch.stack([x, x.roll(1, 0), x.roll(2, 0)], 1).float()
        if self.fused:
            return self.head(F.scaled_dot_product_attention(self.query(x), x, x, dropout_p=0.3 * self.training)[:, 0])
        return self.head(self.attend(x, x, x, need_weights=False)[0][:, 0])


class Noisy(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls.add_(1.0)
        return x * self.calls.clone()


def test_what_is_random_is_named_whatever_it_is(case):
    said = {
        "multi_head_attention_forward with a dropout in module attend": Attention(fused=False),
        "scaled_dot_product_attention with a dropout in the model": Attention(fused=True),
        r"randn_like in module 1\)": nn.Sequential(case.model[0], Noisy(), *case.model[1:]),
    }
    for message, model in said.items():
        with pytest.raises(InputError, match=message):
            hessian(model.train(), cross_entropy, case.batches(), training=True)
    with pytest.raises(InputError, match=r"each evaluation writes to the buffer 1\.calls"):
        hessian(nn.Sequential(case.model[0], Counter(), *case.model[1:]), cross_entropy, case.batches())
    calls = iter(range(100))

    def stateful(m, batch):
        return cross_entropy(m, batch) * (2 + next(calls))

    with pytest.raises(InputError, match="none of torch's random functions was seen"):
        hessian(case.model, stateful, case.batches())
    with pytest.raises(InputError, match=r"random even with one seed .* can hold only torch's own"):
        hessian(case.model, stateful, case.batches(), allow_random=True)


@pytest.mark.parametrize("fused", [False, True])
def test_attention_in_any_form_is_said_and_has_its_second_derivative(case, fused):
    torch.manual_seed(0)
    model = Attention(fused).eval()
    operator = hessian(model, cross_entropy, case.batches())
    vectors = torch.randn(operator.n, 2, generator=torch.Generator().manual_seed(0))
    slow = hessian(model, cross_entropy, case.batches(), back_end="finite-difference")
    assert gap(operator @ vectors, slow @ vectors) < 1e-2  # differences in float32
    assert operator.back_end == "rev-rev"
    assert "attention runs on the MATH kernel" in operator.point.findings.notes[-1]


def test_batches_that_are_not_finite_are_named(case):
    inputs = case.inputs.clone()
    inputs[-1, 0] = float("nan")
    data = case._replace(inputs=inputs).batches((5, 10))
    for word in ("loss", "gradient_norm", "trace", "average", "noise"):
        with pytest.raises(InputError, match="the loss of batch 3 is nan: leave it out"):
            measure(case.model, cross_entropy, data, [word])
    spoilt = nn.Sequential(*case.model[:2], nn.BatchNorm1d(5).double(), case.model[2]).eval()
    spoilt[2].running_mean[0] = float("nan")
    with pytest.raises(InputError, match=r"the buffer 2.running_mean holds nan"):
        hessian(spoilt, cross_entropy, case.batches())


def test_a_loss_without_a_gradient(case):
    def counted(m, batch):
        return (m(batch[0]).argmax(-1) == batch[1]).double().mean()

    with pytest.raises(InputError, match="remove detach, no_grad, argmax"):
        hessian(case.model, counted, case.batches())
    with pytest.raises(InputError, match=r"loss_fn returned shape \(20,\)"):
        hessian(case.model, lambda m, b: F.cross_entropy(m(b[0]), b[1], reduction="none"), case.batches())
    with pytest.raises(InputError, match="the loss of the first batch is nan"):
        hessian(case.model, lambda m, b: m(b[0]).mean() * float("nan"), case.batches())


def test_parameters_without_influence_are_named(case):
    model = case.model
    model.add_module("spare", nn.Linear(2, 2).double())

    def partial(m, batch):
        return F.cross_entropy(m[2](m[1](m[0](batch[0]))), batch[1])

    operator = hessian(model, partial, case.batches())
    assert operator.point.findings.unused == ("spare.weight", "spare.bias")
    assert "the loss does not depend on spare.weight, spare.bias" in operator.point.findings.notes[0]
    assert gap(operator.dense()[:43, :43], net().hessian()) < 1e-12
    assert not operator.dense()[43:].any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(case, value):
    with torch.no_grad():
        case.model[2].bias[0] = value
    with pytest.raises(InputError, match=r"2.bias holds nan or infinite weights"):
        hessian(case.model, cross_entropy, case.batches())


def test_an_operation_in_place_is_named(case):
    class Halves(nn.Module):
        def forward(self, x):
            return x.mul_(0.5)

    broken = nn.Sequential(case.model[0], nn.Sigmoid(), Halves(), case.model[2])
    with pytest.raises(
        InputError, match=r"in place breaks the backward pass \(module 2, 1 \(its output is changed later\)\)"
    ):
        hessian(broken, cross_entropy, case.batches())


def test_an_operation_in_place_inside_a_module_with_children(case):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = case.model[0]

        def forward(self, x):
            return torch.sigmoid(self.inner(x)).mul_(0.5)

    with pytest.raises(InputError, match=r"in place breaks the backward pass \(module 0 \(mul_\)\)"):
        hessian(nn.Sequential(Block(), case.model[2]), cross_entropy, case.batches())


def test_data_that_change_or_end(case):
    with pytest.raises(InputError, match="used up after one pass"):
        hessian(case.model, cross_entropy, iter(case.batches()))
    with pytest.raises(InputError, match="holds no batch"):
        hessian(case.model, cross_entropy, [])
    data = torch.utils.data.TensorDataset(case.inputs, case.targets)
    with pytest.raises(InputError, match="differs between two readings"):
        hessian(case.model, cross_entropy, torch.utils.data.DataLoader(data, batch_size=5, shuffle=True))
    loader = torch.utils.data.DataLoader(data, batch_size=7)
    assert gap(hessian(case.model, cross_entropy, loader).dense(), case.hessian()) < 1e-12
    with pytest.raises(InputError, match="give a list of batches"):
        hessian(case.model, cross_entropy, case.inputs)


def test_a_custom_function_takes_the_way_that_suits_it(case):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, upstream):
            (x,) = ctx.saved_tensors
            return 2 * x * upstream

    class Layer(nn.Module):
        def __init__(self, custom):
            super().__init__()
            self.custom = custom

        def forward(self, x):
            return Square.apply(x) if self.custom else x * x

    plain, custom = (nn.Sequential(case.model[0], Layer(use), case.model[2]) for use in (False, True))
    operator = hessian(custom, cross_entropy, case.batches())
    assert gap(operator.dense(), hessian(plain, cross_entropy, case.batches()).dense()) < 1e-12
    assert operator.back_end == "rev-rev"
    batched = hessian(custom, cross_entropy, case.batches(), back_end="graph")
    assert gap(batched.dense(), operator.dense()) < 1e-12


def test_what_has_one_derivative_only_takes_differences(case):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.tanh(x)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, upstream):
            (x,) = ctx.saved_tensors
            return upstream * (1 - torch.tanh(x) ** 2)

    class Layer(nn.Module):
        def forward(self, x):
            return Once.apply(x)

    operator = hessian(nn.Sequential(case.model[0], Layer(), case.model[2]), cross_entropy, case.batches())
    assert gap(operator.dense(), case.hessian()) < 1e-8
    assert operator.back_end == "finite-difference"


def test_unknown_words(case):
    with pytest.raises(InputError, match="back_end='cahced' is not known for hessian: did you mean 'cached'"):
        hessian(case.model, cross_entropy, case.batches(), back_end="cahced")
    with pytest.raises(TypeError, match="chnk"):
        hessian(case.model, cross_entropy, case.batches(), chnk=3)
    with pytest.raises(InputError, match="chunk=0"):
        hessian(case.model, cross_entropy, case.batches(), chunk=0)
    with pytest.raises(InputError, match=r"split='head' is no module"):
        ggn(case.model, cross_entropy, case.batches(), split="head")
    with pytest.raises(InputError, match=r"shards=True needs torch\.distributed"):
        fisher(case.model, cross_entropy, case.batches(), shards=True)
