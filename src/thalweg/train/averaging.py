"""Weight averages over saved checkpoints: simple (SMA), exponential (EMA) and decreasing (WMA).

Source: arXiv 2511.18903 (Method, averages over the last k checkpoints).
Differs: 1. the paper's EMA has two readings; the recursion (``form="recursive"``) is the default, since with it EMA is
close to SMA, as in the paper's tables. 2. its WMA weights are reconstructed as proportional to k, k - 1, …, 1.

Weight lists run from the oldest checkpoint to the newest and sum to 1. Only floating-point tensors are averaged, in
float64; others (counters, masks) are taken from the newest. Optimizer states are never averaged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from thalweg.errors import InputError, suggest
from thalweg.files import sync_folder
from thalweg.train.online_ema import OnlineEMA
from thalweg.train.shards import SHARDS, SavedShards

__all__ = ["OnlineEMA", "average_checkpoints", "average_weights", "ema", "saved_weights", "sma", "wma"]


def _count(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"k={k!r} must be a whole number of checkpoints of at least 1")
    return k


def sma(k: int) -> tuple[float, ...]:
    """Equal weights 1/k of k checkpoints (k >= 1)."""
    return (1 / _count(k),) * k


def wma(k: int) -> tuple[float, ...]:
    """Weights proportional to k, k - 1, …, 1 from the oldest to the newest, which imitate a decay (k >= 1)."""
    _count(k)
    return tuple(2 * j / (k * (k + 1)) for j in range(k, 0, -1))


def ema(k: int, alpha: float = 0.2, *, form: Literal["recursive", "geometric"] = "recursive") -> tuple[float, ...]:
    """Exponential weights of k checkpoints, oldest to newest.

    ``recursive`` is A ← θ_1, A ← α θ_i + (1 - α) A: the oldest has (1 - α)^(k-1), the one i steps before the newest
    α (1 - α)^i. ``geometric`` has weights proportional to α^i.

    Args:
        k: number of checkpoints (>= 1).
        alpha: share of the newest, in (0, 1]; 1 takes the newest alone (geometric: below 1).
        form: which of the two.

    Raises:
        InputError: k, alpha or form out of range.
    """
    _count(k)
    if form not in ("recursive", "geometric"):
        raise InputError(f"form={form!r} is not known; {suggest(str(form), ['recursive', 'geometric'])}")
    if not 0 < alpha <= 1 or (form == "geometric" and alpha == 1):
        raise InputError(f"alpha={alpha!r} must be above 0 and {'below' if form == 'geometric' else 'at most'} 1")
    if form == "geometric":
        parts = [alpha**i for i in range(k - 1, -1, -1)]
        return tuple(part / math.fsum(parts) for part in parts)
    return ((1 - alpha) ** (k - 1), *(alpha * (1 - alpha) ** i for i in range(k - 2, -1, -1)))


def average_weights(states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """The weighted mean of model states, tensor by tensor, in float64, returned in the dtype of the newest.

    Args:
        states: ``state_dict``s with equal names and shapes, oldest first; mappings may load a tensor when it is asked
            for: at any time one tensor of each is held.
        weights: one finite weight a state; they sum to 1.

    Returns:
        New tensors, by the names of the newest state.

    Raises:
        InputError: no state, another number of weights, weights that do not sum to 1, or names or shapes that differ.
    """
    if not states or len(states) != len(weights):
        raise InputError(f"{len(states)} states and {len(weights)} weights were given; give one weight a state")
    if not math.isclose(math.fsum(weights), 1.0, abs_tol=1e-9):  # false for nan too
        raise InputError(f"the weights sum to {math.fsum(weights)!r}, not 1; divide them by their sum")
    newest = states[-1]
    for place, state in enumerate(states):
        odd = sorted(set(newest) ^ set(state))
        if odd:
            raise InputError(f"state {place + 1} of {len(states)} and the newest differ in {odd[0]!r}: other models")
    return {name: _mean([state[name] for state in states], weights, name) for name in newest}


def _mean(tensors: list[Tensor], weights: Sequence[float], name: str) -> Tensor:
    newest = tensors[-1]
    for place, tensor in enumerate(tensors):
        if tensor.shape != newest.shape:
            raise InputError(
                f"{name} has shape {tuple(tensor.shape)} in state {place + 1} of {len(tensors)} but "
                f"{tuple(newest.shape)} in the newest; average checkpoints of one model"
            )
    if not newest.is_floating_point():
        return newest.detach().clone()
    total = torch.zeros_like(newest, dtype=torch.float64)
    for tensor, weight in zip(tensors, weights, strict=True):
        total.add_(tensor.detach().to(torch.float64), alpha=weight)
    return total.to(newest.dtype)


class _Saved(Mapping[str, Tensor]):
    """The tensors of a safetensors file, each read when asked for; the file is mapped no longer than that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with safe_open(path, framework="pt") as file:
                self.names = list(file.keys())
        except FileNotFoundError as error:
            raise InputError(f"{path} does not exist; give folders with model.safetensors, or such files") from error
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is truncated or no safetensors file ({error}); leave it out") from error

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self.path, framework="pt") as file:
            return file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def saved_weights(path: Path) -> Mapping[str, Tensor]:
    """The weights in a checkpoint folder or a safetensors file, each tensor read when it is asked for.

    Raises:
        InputError: what is there is absent or damaged.
    """
    if (path / SHARDS).is_dir() and not (path / "model.safetensors").exists():
        return SavedShards(path)
    return _Saved(path / "model.safetensors" if path.is_dir() else path)


def average_checkpoints(
    paths: Sequence[str | Path], weights: Sequence[float], *, out: str | Path | None = None
) -> dict[str, Tensor]:
    """The weighted mean of saved checkpoints; memory of about two models, however many there are.

    Args:
        paths: checkpoint folders (of split weights too), or safetensors files, oldest first.
        weights: one weight a checkpoint, summing to 1: ``sma(k)``, ``ema(k)`` or ``wma(k)``.
        out: a safetensors file to write the mean to, all or nothing.

    Raises:
        InputError: a file that is absent, truncated or of another model, or weights as in ``average_weights``.
        OSError: ``out`` cannot be written; it then holds what it held before.
    """
    mean = average_weights([saved_weights(Path(path)) for path in paths], weights)
    if out is not None:
        _save(mean, Path(out))
    return mean


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes safetensors through a synced file in the same folder and a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata={"format": "pt"})
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written ({error})") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    sync_folder(path.parent)
