"""What a recipe will cost, before it starts: time, memory, disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from thalweg.nn.cost import count_parameters, flops_per_token, memory
from thalweg.train.recipe import Recipe
from thalweg.train.setup import build, precision, prepare

__all__ = ["estimate"]

LOG_BYTES = 120  # of one record


def estimate(recipe: Recipe, folder: Path, *, device: str = "cpu") -> dict[str, Any]:
    """Estimates a run by its formulae and by timing one forward and backward pass of one micro-batch (at most 8 rows).

    The optimizer's and the evaluations' time are left out, so small models take somewhat longer than said.

    Args:
        recipe: the run.
        folder: where prepared data are kept (see ``prepare``).
        device: where it will train.

    Returns:
        ``parameters``, ``tokens``, ``epochs``, ``flops`` (forward and backward, causal attention counted by half),
        ``tokens_per_second`` and ``seconds`` (measured), ``memory_bytes``, ``disk_bytes``.

    Raises:
        InputError: the recipe does not fit its data or the device is absent.
    """
    data = prepare(recipe.data, folder)
    state = build(recipe, data, device=device)
    batches = data.batches(recipe)
    rows = min(8, recipe.batch // recipe.accumulate)
    ids = torch.from_numpy(batches.at(0)[:rows]).to(state.device)
    rate = rows * recipe.data.context / _seconds(state.model, ids, recipe.precision)
    tokens = recipe.steps * recipe.tokens_per_step
    parameters = count_parameters(recipe.model).total
    bytes_per_number = 2 if recipe.precision == "bf16" else 4
    micro = recipe.batch // recipe.accumulate
    saved = _checkpoints(recipe)
    return {
        "parameters": parameters,
        "tokens": tokens,
        "epochs": batches.epochs(recipe.steps),
        "flops": tokens * flops_per_token(recipe.model, recipe.data.context),
        "tokens_per_second": rate,
        "seconds": tokens / rate,
        "memory_bytes": memory(recipe.model, micro, recipe.data.context, bytes_per_number=bytes_per_number).total,
        "disk_bytes": saved * 12 * parameters + recipe.steps * LOG_BYTES,
    }


def _seconds(model: torch.nn.Module, ids: torch.Tensor, precise: str) -> float:
    """The faster of two timed passes, after one that is not timed."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        with precision(precise, ids.device):
            loss = model(ids[:, :-1], targets=ids[:, 1:]).loss
        loss.backward()
        float(loss.detach())
        if ids.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    model.zero_grad()
    return min(times[1:])


def _checkpoints(recipe: Recipe) -> int:
    """How many checkpoints are on disk at most, the one being written included."""
    plan = recipe.checkpoint
    periodic = recipe.steps // plan.every if plan.every else 1
    return (min(periodic, plan.keep) if plan.keep else periodic) + len(plan.at) + 1
