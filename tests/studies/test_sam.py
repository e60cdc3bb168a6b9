"""The study runs (SMOKE); toys are the library's SAM, measures those of dense Hessians; the rule gives each verdict."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.optim import SAM
from thalweg.optim.ascent import ascent_loss_gradient
from thalweg.studies.base import expected
from thalweg.studies.sam import network, study, toys

Records = list[dict[str, Any]]
POINT = (0.3, -0.2, 0.15, -0.4)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def only(records: Records, **wanted: object) -> Records:
    return [record for record in records if all(record.get(key) == value for key, value in wanted.items())]


def valley(x: torch.Tensor, weights: tuple[float, float] = (1.0, 1.0)) -> torch.Tensor:
    """The toy's loss, written out."""
    a, b, c, d = x
    first, second = 6 + (a - 1) ** 2 + b**2 / 2, 1 + (a + 1) ** 2 + (b - 1) ** 2 / 2
    return weights[0] * first * c**2 + weights[1] * second * d**2


def wide(point: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(point, dtype=torch.float64)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_the_toys_step_is_the_librarys_sam(weights):
    x = wide(POINT).requires_grad_()
    optimizer = SAM(torch.optim.SGD([x], lr=0.01), rho=0.1)

    def closure():
        loss = valley(x, weights)
        loss.backward()
        return loss

    point = POINT
    for _ in range(3):
        optimizer.step(closure)
        point = toys.sam_step(point, rate=0.01, rho=0.1, weights=weights)
    torch.testing.assert_close(x.detach(), wide(point), rtol=1e-12, atol=1e-14)


def test_the_toys_derivatives_are_those_of_autograd():
    x, v = wide(POINT), (0.5, -1.0, 2.0, 0.7)
    hessian = torch.autograd.functional.hessian(valley, x)
    torch.testing.assert_close(wide(toys.gradient(POINT)), torch.func.grad(valley)(x), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(wide(toys.product(POINT, v)), hessian @ wide(v), rtol=1e-12, atol=1e-14)


def test_descent_on_the_loss_up_the_gradient_is_the_librarys():
    def gradient(x):
        return torch.func.grad(valley)(x)

    x = wide(POINT)
    step = ascent_loss_gradient(gradient, lambda x, v: torch.autograd.functional.hessian(valley, x) @ v, x, rho=0.5)
    torch.testing.assert_close(
        wide(toys.ascent_loss_step(POINT, rate=0.01, rho=0.5)), x - 0.01 * step, rtol=1e-11, atol=1e-13
    )


def test_quadratic_ends_at_the_closed_form():
    record = toys.quadratic_record(1500)
    assert record["norm"] == pytest.approx(record["formula"], abs=1e-8)
    assert record["alignment"] == pytest.approx(1, abs=1e-8)


def test_limits_of_the_three_sharpnesses():
    record = toys.limits_record(200_000, seed=0)
    for kind in ("ascent", "average", "worst"):
        assert record[kind] == pytest.approx(record[f"{kind}_limit"], rel=0.01), kind  # 1 %: radius 1e-3, 2e5 draws


def test_full_batch_ends_where_the_top_eigenvalue_is_least():
    record = toys.valley_record("full batch", 0, steps=100_000, rate=0.01, rho=0.1)
    assert (record["a"], record["b"]) == pytest.approx((1, 0), abs=1e-4)
    assert record["top"] == pytest.approx(12, abs=1e-6)
    assert record["alignment"] > 0.999


def flat_loss(problem):
    """The mean squared error of all images, written out, as a function of flat weights."""
    shapes = {name: p.shape for name, p in problem.model.named_parameters()}

    def loss(weights):
        pieces = weights.split([shape.numel() for shape in shapes.values()])
        named = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
        outputs = torch.func.functional_call(problem.model, named, (problem.images,))[:, 0]
        return ((outputs - problem.targets) ** 2).mean()

    return loss


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_what_is_measured_is_that_of_the_dense_hessian_where_descent_ends(kind):
    config = study.Network(kind=kind, width=2, examples=10, settle=5)
    problem = network.Problem.make(config, seed=0, device="cpu")
    here, loss = problem.point(), flat_loss(problem)
    found = network.measure(problem, config)
    assert torch.equal(problem.point(), here)
    problem.descend(config.settle, config.descent_rate)
    there = problem.point()
    hessian = torch.autograd.functional.hessian(loss, there)
    values, vectors = torch.linalg.eigh(hessian)
    slope = torch.func.grad(loss)(here)
    assert found["loss"] == pytest.approx(loss(here).item(), rel=1e-12)
    assert found["settled"] == pytest.approx(loss(there).item(), rel=1e-12)
    assert found["top"] == pytest.approx(values[-1].item(), rel=1e-10)
    assert found["trace"] == pytest.approx(torch.trace(hessian).item(), rel=1e-10)
    assert found["alignment"] == pytest.approx(abs(torch.dot(slope / slope.norm(), vectors[:, -1])).item(), abs=1e-6)
    assert found["moved"] == pytest.approx((there - here).norm().item(), rel=1e-12)


def test_records_are_plain_json_and_all_arms_start_alike(smoke: Records) -> None:
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    assert [r["part"] for r in smoke[:5]] == ["quadratic", "limits", "valley", "valley", "valley"]
    starts = [{k: v for k, v in r.items() if k != "batch"} for r in only(smoke, part="network", step=0)]
    assert len(starts) == 3
    assert starts[0] == starts[1] == starts[2]
    steps = {(r["batch"], r["step"]) for r in only(smoke, part="network")}
    assert steps == {(batch, step) for batch in (1, 4, 0) for step in (0, *study.SMOKE.network.at)}


def test_again_the_same_numbers(smoke: Records, tmp_path: Path) -> None:
    torch.manual_seed(123)  # the generator of the process has no say
    again = [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=tmp_path)]
    assert again == smoke


def test_figure_has_its_panels(smoke: Records) -> None:
    figure = study.figure(smoke)
    assert len(figure.axes) == 4
    assert all(axes.get_title() and axes.lines for axes in figure.axes)


def made_up(**numbers: list[float]) -> Records:
    """Records of as many seeds as there are numbers, with the four measures of the rule as given."""
    records: Records = []
    for seed, (top, trace, fall, lean) in enumerate(zip(*numbers.values(), strict=True)):
        for method, high, whole in (("one example", math.exp(top), 1.0), ("full batch", 1.0, math.exp(trace))):
            records.append({"part": "valley", "method": method, "top": high, "trace": whole, "seed": seed})
        # traces e^2 -> e^1 for the full batch; 1-SAM passes that level, at the top eigenvalue that the lean demands
        for batch, path in (
            (0, [(0, 2.0, 3.0), (10, 1.0, 2.0)]),
            (1, [(0, 2.0, 3.0), (10, 0.5, 3.0 + (lean - 1) * 1.5), (20, 1.0 - fall, 0.3)]),
        ):
            rows = [{"step": n, "trace": math.exp(t), "top": math.exp(h)} for n, t, h in path]
            records += [{"part": "network", "batch": batch, "seed": seed, **row} for row in reversed(rows)]
    return records


UP, DOWN, MIXED = [0.2, 0.3, 0.25], [-0.2, -0.3, -0.25], [0.2, -0.2, 0.01]
ALL = ("top", "trace", "fall", "lean")


def test_measures_are_the_logarithms_of_the_rule():
    found = study.measures(made_up(top=[0.1], trace=[0.2], fall=[0.4], lean=[0.3]))
    wanted = {"valley top": 0.1, "valley trace": 0.2, "network trace": 0.4, "network lean": 0.3}
    assert {name: value for name, (value,) in found.items()} == pytest.approx(wanted)


def test_rule_reproduced():
    outcome = study.verdict(made_up(**dict.fromkeys(ALL, UP) | {"lean": [0.1, 0.12, 0.11]}))
    assert outcome.state == "reproduced"
    assert outcome.effect == pytest.approx(0.11)
    assert outcome.error == pytest.approx(0.01 / np.sqrt(3))


@pytest.mark.parametrize("name", ALL)
def test_rule_needs_all_four(name: str):
    assert study.verdict(made_up(**dict.fromkeys(ALL, UP) | {name: DOWN})).state == "not reproduced"
    assert study.verdict(made_up(**dict.fromkeys(ALL, UP) | {name: MIXED})).state == "inconclusive"


def test_rule_needs_more_than_one_seed():
    assert study.verdict(made_up(**{name: [0.5] for name in ALL})).state == "inconclusive"


def test_expected_numbers_are_those_of_this_study():
    known = expected(study.SLUG)
    own = (study.SLUG, study.TITLE, study.ARXIV, study.CLAIM, study.UNIT)
    assert tuple(known[key] for key in ("slug", "title", "arxiv", "claim", "unit")) == own
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
