"""What a recipe will cost, before it starts: time, memory, disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from thalweg.nn.cost import count_parameters, flops_per_token, memory
from thalweg.optim import state_bytes
from thalweg.train.local_recipe import Local
from thalweg.train.micro import MicroBatch, micro_batches
from thalweg.train.periods import communication
from thalweg.train.recipe import Recipe
from thalweg.train.setup import build, precision, prepare

__all__ = ["estimate"]

LOG_BYTES = 120  # of one record


def estimate(recipe: Recipe, folder: Path, *, device: str = "cpu") -> dict[str, Any]:
    """Estimates a run by its formulae and by timing one forward and backward pass of one micro-batch (at most 8 rows).

    The optimizer's and the evaluations' time are left out, so small models take somewhat longer than said. Disk is that
    of the run folder at its fullest, while a checkpoint is written; the tokenized corpus lies beside it.

    Args:
        recipe: the run.
        folder: where prepared data are kept (see ``prepare``).
        device: where it will train.

    Returns:
        ``parameters``, ``tokens``, ``epochs``, ``flops`` (forward and backward, causal attention counted by half),
        ``tokens_per_second`` and ``seconds`` (measured, of one process), ``memory_bytes``, ``disk_bytes``. With
        ``[local]`` also ``averages``, ``communication`` (averages over updates: the volume relative to an all-reduce a
        step), ``longest_round`` and ``bytes_sent`` by each worker.

    Raises:
        InputError: the recipe does not fit its data or the device is absent.
    """
    data, local = prepare(recipe.data, folder), recipe.local_updates()
    workers = local.workers if local else 1
    size = recipe.batch // recipe.parts // workers
    state = build(recipe.replace(local={}), data, device=device)
    batches = data.batches(recipe)
    rows = min(8, size)
    micro = micro_batches(batches.at(0), rows, state.device)[0]
    passes = 2 if "sam" in recipe.optimizer else 1
    share = _flops(recipe) / flops_per_token(recipe.model, recipe.data.context)
    rate = rows * recipe.data.context / passes / share / _seconds(state.model, micro, recipe.precision)
    tokens = recipe.steps * recipe.tokens_per_step
    parameters = count_parameters(recipe.model).total
    bytes_per_number = 2 if recipe.precision == "bf16" else 4
    copies = state_bytes(getattr(state.optimizer, "base", state.optimizer)) / (4 * parameters) + (recipe.ema > 0)
    kept = 4 * parameters * (1 + copies if workers == 1 else workers * (1 + copies) + 1)
    made = {
        "parameters": parameters,
        "tokens": tokens,
        "epochs": batches.epochs(recipe.steps),
        "flops": passes * tokens * share * flops_per_token(recipe.model, recipe.data.context),
        "tokens_per_second": rate,
        "seconds": tokens / rate,
        "memory_bytes": memory(
            recipe.model, size, recipe.data.context, bytes_per_number=bytes_per_number, moments=copies
        ).total,
        "disk_bytes": round(_checkpoints(recipe) * kept) + recipe.steps * LOG_BYTES,
    }
    return made | (_communication(recipe, local, parameters) if local else {})


def _communication(recipe: Recipe, local: Local, parameters: int) -> dict[str, Any]:
    found = communication(local.period, recipe.rates())
    return {
        "averages": len(found.periods),
        "communication": found.fraction,
        "longest_round": int(found.periods.max()),
        "bytes_sent": found.bytes_sent(parameters, workers=local.workers),
    }


def _flops(recipe: Recipe) -> float:
    """Per token, on average over the updates where a schedule lets a part of the blocks run."""
    context, layers, depth = recipe.data.context, recipe.model.layers, recipe.depth_schedule()
    whole = flops_per_token(recipe.model, context)
    if depth is None:
        return whole
    rest = flops_per_token(recipe.model, context, layer_mask=[False] * layers)
    mean = sum(depth.expected(step) for step in range(recipe.steps)) / recipe.steps
    return rest + (whole - rest) * mean / layers


def _seconds(model: torch.nn.Module, micro: MicroBatch, precise: str) -> float:
    """The faster of two timed passes, after one that is not timed."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        with precision(precise, micro.ids.device):
            loss = model(micro.ids, targets=micro.targets, cu_seqlens=micro.cu_seqlens).loss
        loss.backward()
        float(loss.detach())
        if micro.ids.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _checkpoints(recipe: Recipe) -> int:
    """How many checkpoints are on disk at most, the one being written included."""
    plan = recipe.checkpoint
    periodic = set(range(plan.every, recipe.steps, plan.every) if plan.every else ()) | {recipe.steps}
    count = len(periodic - set(plan.at))
    return (min(count, plan.keep + 1) if plan.keep else count) + len(set(plan.at))
