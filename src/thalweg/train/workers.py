"""Local updates with one worker a process: the mean over processes, a common start, rounds a dead worker goes back to.

    mean    weights of all tensors in one flat vector, one all-reduce, divided by the number of workers
    store   FOLDER/round-N-of-K/worker-k, whole or not there; a round counts when every worker's part is there

Each process calls ``torch.distributed.init_process_group`` first, as under torchrun: gloo on CPU, NCCL on GPU. A worker
that dies ends its peers' all-reduce; torchrun starts all of them again, and ``Rounds.load`` puts each back to the
newest round that all have saved, with its own optimizer state.

Source: arXiv 2310.14423 and official code hmgxr128/QSR at 0ac44f1 (flat all-reduce, states stay local).
Differs: 1. weights narrower than float32 are averaged in float32. 2. the official code saves one worker.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from thalweg.errors import InputError
from thalweg.files import sync_folder
from thalweg.train.checkpoint import load_checkpoint, save_checkpoint
from thalweg.train.local_updates import LocalUpdates

__all__ = ["Rounds", "WorkerMean", "averaged", "start_alike"]


class WorkerMean:
    """Replaces tensors by their mean over the processes of a group, in place: the ``mean`` of ``LocalUpdates``.

    Args:
        group: the workers; default all processes.

    Attributes:
        calls: averages so far.
        bytes: that went into all-reduces so far.

    Raises:
        InputError: there is no process group yet.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        _check_group()
        self.group, self.calls, self.bytes = group, 0, 0

    @torch.no_grad()
    def __call__(self, tensors: Sequence[Tensor]) -> None:
        """One all-reduce for all tensors of a width and a device; every worker hands over the same shapes."""
        self.calls += 1

        def kind(tensor: Tensor) -> tuple[str, str]:
            return str(torch.promote_types(tensor.dtype, torch.float32)), str(tensor.device)

        for _, same in groupby(sorted(tensors, key=kind), key=kind):
            members = list(same)
            wide = torch.promote_types(members[0].dtype, torch.float32)
            flat = torch.cat([tensor.reshape(-1).to(wide) for tensor in members])
            dist.all_reduce(flat, group=self.group)
            flat /= dist.get_world_size(self.group)
            self.bytes += flat.numel() * flat.element_size()
            for tensor, part in zip(members, flat.split([tensor.numel() for tensor in members]), strict=True):
                tensor.copy_(part.view_as(tensor))


@contextmanager
def averaged(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Within the block ``tensors`` are their mean over all processes; after it, this worker's own again."""
    own = [tensor.detach().clone() for tensor in tensors]
    WorkerMean()(tensors)
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, kept in zip(tensors, own, strict=True):
                tensor.copy_(kept)


def _check_group() -> None:
    if not dist.is_available() or not dist.is_initialized():
        raise InputError("no process group is there: call torch.distributed.init_process_group first, under torchrun")


@torch.no_grad()
def start_alike(tensors: Sequence[Tensor], group: dist.ProcessGroup | None = None) -> None:
    """Copies the first worker's tensors to all: the common start of the first round."""
    _check_group()
    for tensor in tensors:
        dist.broadcast(tensor, src=dist.get_global_rank(group, 0) if group else 0, group=group)


class Rounds:
    """Checkpoints of local training at the ends of rounds, one part a worker.

    Args:
        folder: seen by all workers.
        keep: complete rounds that stay on disk, >= 1.
        group: the workers.

    Raises:
        InputError: keep below 1, or no process group.
    """

    def __init__(self, folder: str | Path, *, keep: int = 1, group: dist.ProcessGroup | None = None) -> None:
        _check_group()
        if keep < 1:
            raise InputError(f"keep={keep} must be at least 1 round")
        self.folder, self.keep, self.group = Path(folder), keep, group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def save(
        self, updates: LocalUpdates, model: nn.Module, optimizer: Optimizer, extra: dict[str, Any] | None = None
    ) -> None:
        """Writes this worker's part of the round that has just ended; every worker calls it.

        Args:
            updates: right after ``after_step`` returned True.
            model: with the averaged weights.
            optimizer: this worker's.
            extra: more to keep: a scheduler's state, a position in the data.

        Raises:
            InputError: within a round, where workers differ and a part would not stand for all.
        """
        if updates.left:
            raise InputError(f"a round is under way, {updates.left} steps are left: save when after_step returned True")
        home = self._home(updates.averages)
        part, final = home / f".worker-{self.rank}.part", home / f"worker-{self.rank}"
        for stale in (part, final):
            shutil.rmtree(stale, ignore_errors=True)
        part.mkdir(parents=True)
        save_checkpoint(part, model, optimizer, {"updates": updates.state_dict(), "extra": extra})
        part.rename(final)
        sync_folder(home)
        dist.barrier(self.group)
        if self.rank == 0:
            for old in self.complete()[: -self.keep]:
                shutil.rmtree(self._home(old))

    def _home(self, number: int) -> Path:
        return self.folder / f"round-{number:08d}-of-{self.size}"

    def complete(self) -> list[int]:
        """The rounds of which every worker's part is there, oldest first."""
        found = sorted(int(home.name.split("-")[1]) for home in self.folder.glob(f"round-*-of-{self.size}"))
        parts = [f"worker-{rank}" for rank in range(self.size)]
        return [n for n in found if all((self._home(n) / part).is_dir() for part in parts)]

    def load(self, updates: LocalUpdates, model: nn.Module, optimizer: Optimizer) -> dict[str, Any] | None:
        """Puts this worker back to the newest complete round; every worker calls it.

        Returns:
            What ``save`` was given as ``extra`` ({} without); None where no round is complete: start anew.

        Raises:
            InputError: all rounds are of another number of workers, or the newest is damaged.
        """
        chosen: list[Any] = [max(self.complete(), default=None)]
        dist.broadcast_object_list(
            chosen, src=dist.get_global_rank(self.group, 0) if self.group else 0, group=self.group
        )
        if chosen[0] is None:
            others = sorted(
                home.name for home in self.folder.glob("round-*") if not home.name.endswith(f"-of-{self.size}")
            )
            if others:
                raise InputError(
                    f"{self.folder} holds {others[-1]}, here are {self.size} workers: start as many as it had"
                )
            return None
        found = load_checkpoint(self._home(chosen[0]) / f"worker-{self.rank}", model, optimizer)
        updates.load_state_dict(found["updates"])
        return found["extra"] or {}
