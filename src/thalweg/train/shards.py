"""Checkpoints of split weights: ``torch.distributed.checkpoint`` for tensors, JSON for the rest.

    state.json            as in a checkpoint of one process
    shards/               what each process holds: weights under "model/NAME", states under the paths of state.json

One process, or any number of them, reads either kind and goes on (``place_all`` puts whole tensors where they belong).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.optim import Optimizer

from thalweg.errors import InputError
from thalweg.optim.sharding import is_sharded

__all__ = ["SHARDS", "SavedShards", "likes", "place_all", "read_shards", "unique_names", "write_shards"]

SHARDS = "shards"


def write_shards(folder: Path, tensors: dict[str, Tensor], *, alone: bool) -> None:
    """Writes ``tensors`` (whole or DTensors) under ``folder``; all processes call it.

    Args:
        folder: of the checkpoint.
        tensors: by path, the same paths in each process.
        alone: this process writes everything.
    """
    with _quiet():
        dcp.save(dict(tensors), storage_writer=dcp.FileSystemWriter(folder / SHARDS), no_dist=alone)


def read_shards(folder: Path, prefix: str, like: dict[str, Tensor], *, alone: bool) -> dict[str, Tensor]:
    """The tensors under ``prefix``, each placed as its namesake in ``like``, whole where that has none.

    Args:
        folder: of the checkpoint.
        prefix: of the paths, left out of the result's.
        like: see ``likes``.
        alone: other processes do not read.

    Raises:
        InputError: files are missing or damaged.
    """
    made: dict[str, Tensor] = {}
    with _readable(folder), _quiet():
        for path, kept in dcp.FileSystemReader(folder / SHARDS).read_metadata().state_dict_metadata.items():
            if path.startswith(prefix) and isinstance(kept, TensorStorageMetadata):
                made[path] = place(torch.empty(kept.size, dtype=kept.properties.dtype), _namesake(path, like))
        dcp.load(made, storage_reader=dcp.FileSystemReader(folder / SHARDS), no_dist=alone)
    return {path.removeprefix(prefix): tensor for path, tensor in made.items()}


class SavedShards(Mapping[str, Tensor]):
    """The weights of a checkpoint of split ones, by name; each is put together when it is asked for.

    Args:
        folder: of the checkpoint.

    Raises:
        InputError: files are missing or damaged, when made and when read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _readable(folder):
            self._kept = dcp.FileSystemReader(folder / SHARDS).read_metadata().state_dict_metadata
        self._names = [path.removeprefix("model/") for path in self._kept if path.startswith("model/")]

    def __getitem__(self, name: str) -> Tensor:
        kept = self._kept[f"model/{name}"]
        assert isinstance(kept, TensorStorageMetadata)
        made = {f"model/{name}": torch.empty(kept.size, dtype=kept.properties.dtype)}
        with _readable(self.folder), _quiet():
            dcp.load(made, storage_reader=dcp.FileSystemReader(self.folder / SHARDS), no_dist=True)
        return made[f"model/{name}"]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def place(whole: Tensor, like: Tensor | None) -> Tensor:
    """A whole tensor, the same in every process, split as ``like`` is."""
    if like is None or not is_sharded(like) or whole.shape != like.shape:
        return whole
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]  # pyrefly: ignore
    return distribute_tensor(whole.to(like.device), mesh, placements, src_data_rank=None)


def likes(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Tensors placed as those of a checkpoint are to be, by the ends of their paths.

    "model/NAME" and "average/NAME" are placed as the weight, "state/KEY/NAME" as a fresh state of the optimizer.
    """
    found = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    found |= {f"average/{name}": tensor for name, tensor in model.state_dict().items()}
    base: Any = getattr(optimizer, "base", optimizer)
    members = [(p, group) for group in base.param_groups for p in group["params"]]
    for key, (p, group) in enumerate(members):
        if is_sharded(p):
            fresh = base.rules[group["rule"]].state(p, group)
            found |= {f"state/{key}/{name}": tensor for name, tensor in fresh.items()}
    return found


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """What goes wrong in readers, as one sentence."""
    try:
        yield
    except (Exception, dcp.api.CheckpointException) as error:  # that wraps what the readers raise
        raise InputError(
            f"checkpoint {folder} cannot be read ({SHARDS}: {type(error).__name__}); delete it to resume from an "
            "older one"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that one process is taken to be alone: it is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
        yield


def _namesake(path: str, like: dict[str, Tensor]) -> Tensor | None:
    parts = path.split("/")
    return like.get("/".join(parts[-3:]), like.get("/".join(parts[-2:])))


def place_all(tensors: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """``place`` for tensors by path."""
    return {path: place(tensor, _namesake(path, like)) for path, tensor in tensors.items()}


def unique_names(model: nn.Module) -> list[str]:
    """The names in the model's ``state_dict``; a parameter that two names share once."""
    once = {name for name, _ in model.named_parameters()}
    again = {name for name, _ in model.named_parameters(remove_duplicate=False)} - once
    return [name for name in model.state_dict() if name not in again]
