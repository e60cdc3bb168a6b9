"""Data, training and what is read off: accuracy on unseen points, trace by its formula, curvature by the landscape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from thalweg.dynamics import batch_sam, example_sam
from thalweg.studies.base import Record
from thalweg.tasks import HypercubeXor, TwoLayer, generalizing, least_trace, memorizing

if TYPE_CHECKING:
    from thalweg.studies.sharpness_generalization.study import Arm, Config

__all__ = ["Data", "accuracy", "arm_record", "draw", "known_records"]


class Data(NamedTuple):
    """A training set and points that are not in it."""

    inputs: np.ndarray
    targets: np.ndarray
    fresh: np.ndarray
    labels: np.ndarray


def draw(config: Config, seed: int) -> Data:
    """The data of a seed."""
    rng = np.random.default_rng([seed, 0])
    problem = HypercubeXor.draw(dim=config.dim, samples=config.samples, rng=rng)
    fresh = problem.fresh(config.test, rng)
    return Data(problem.inputs, problem.targets, fresh, problem.label(fresh))


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of right signs; an output of 0 counts half, as a coin would."""
    return float(((1 + np.sign(outputs) * labels) / 2).mean())


def known_records(data: Data) -> Iterator[Record]:
    """The two networks that are known to be flattest, with biases and under layer norm."""
    dim = data.inputs.shape[1]
    for kind in ("bias", "layernorm"):
        made = {
            "memorizing": memorizing(kind, data.inputs, data.targets),
            "generalizing": generalizing(kind, data.inputs),
        }
        for name, net in made.items():
            said = net.outputs(data.fresh)
            yield {
                "part": "known",
                "kind": kind,
                "network": name,
                "residual": float(np.abs(net.outputs(data.inputs) - data.targets).max()),
                "trace": float(net.trace(data.inputs)),
                "least": least_trace(kind, dim),
                "accuracy": accuracy(said, data.labels),
                "silent": float((said == 0).mean()),
            }


def arm_record(arm: Arm, config: Config, data: Data, seed: int) -> Record:
    """Trains one arm and looks at it on the way; curvature at the end."""
    rng = np.random.default_rng([seed, 1, *arm.name.encode()])
    net = TwoLayer.draw(arm.kind, dim=config.dim, width=config.width, rng=rng, copies=(1,))
    rows: dict[str, list[float]] = {"steps": [], "loss": [], "accuracy": [], "trace": [], "norm": []}

    def watch(step: int, net: TwoLayer) -> None:
        rows["steps"].append(step)
        rows["loss"].append(float(((net.outputs(data.inputs) - data.targets) ** 2).mean()))
        rows["accuracy"].append(accuracy(net.outputs(data.fresh)[0], data.labels))
        rows["trace"].append(float(net.trace(data.inputs)[0]))
        rows["norm"].append(float(net.norm[0]))

    steps = sum(phase[2] for phase in arm.phases)
    inputs, targets, every = data.inputs[None], data.targets[None], max(1, steps // config.looks)
    if arm.rule == "batch":
        net = batch_sam(
            net, inputs, targets, phases=arm.phases, weight_decay=arm.weight_decay, every=every, watch=watch
        )
    else:
        net = example_sam(net, inputs, targets, phases=arm.phases, rng=rng, norm=arm.norm, every=every, watch=watch)
    least = None if arm.kind == "plain" else least_trace(arm.kind, config.dim)
    return {"part": "arm", "arm": arm.name, "kind": arm.kind, "least": least, **rows, **_curvature(net, data, seed)}


def _curvature(net: TwoLayer, data: Data, seed: int) -> Record:
    """Top eigenvalue and trace of the Hessian where training ends, by the landscape, beside the formula."""
    import torch

    from thalweg.landscape import measure
    from thalweg.tasks.two_layer_module import TwoLayerModule

    one = TwoLayer(net.kind, net.hidden[0], net.output[0])
    batch = (torch.tensor(data.inputs), torch.tensor(data.targets))
    found = measure(
        TwoLayerModule(one),
        lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        [batch],
        ["lambda_max", "trace"],
        seed=seed,
    )
    parts = one.trace_parts(data.inputs)
    return {
        "top": float(found["lambda_max"].value),
        "top_residual": float(found["lambda_max"].error),
        "hessian_trace": float(found["trace"].value),
        "hessian_trace_error": float(found["trace"].error),
        "end_trace": float(one.trace(data.inputs)),
        "end_trace_hidden": float(parts["hidden"]),
    }
