"""The processes of one run (torchrun): who takes which rows, how gradients meet, what all agree on.

Every process holds the same batches by number; process r of n takes the r-th n-th of each. Gradients are averaged by
``DistributedDataParallel``, or weights, gradients and optimizer states are split by ``fully_shard``; ``ordered`` sums
them itself, and local updates (``local_hook``) leave each process its own. The first process writes the run folder; the
others read it and write their parts of checkpoints, so all need the same files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from inspect import signature
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from thalweg.errors import InputError, Interrupted
from thalweg.train.recipe import Recipe
from thalweg.train.tree import TreeScatter, even

__all__ = ["ACROSS_SHARDS", "SECOND_ORDER", "World", "world_of"]

ACROSS_SHARDS = ("kron", "mars")
"""Optimizers that add up over the elements of split tensors, in an order that depends on who has which."""
SECOND_ORDER = ("sophia",)
"""Optimizers that differentiate twice, which ``DistributedDataParallel`` does not average."""
T = TypeVar("T")


class World:
    """The processes of a run; without arguments this one alone.

    Args:
        rank: number of this process.
        size: processes.
        shard: split weights, gradients and optimizer states (FSDP2) instead of keeping a copy in each process.

    Attributes:
        sharded: whether they are split.
        apart: whether each process has weights of its own (``[local]`` of a recipe).
        meeting: whether the processes are at one step; ``LocalHook`` says so between rounds.
    """

    def __init__(self, rank: int = 0, size: int = 1, *, shard: bool = False) -> None:
        self.rank, self.size, self.sharded = rank, size, shard and size > 1
        self.apart, self.meeting = False, True
        self._module: nn.Module | None = None
        self._device = torch.device("cpu")

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether this process makes its updates without the others."""
        return self.size == 1 or self.apart

    def check(self, recipe: Recipe) -> None:
        """Refuses a recipe that these processes cannot share.

        Raises:
            InputError: the processes do not divide the micro-batches, or a part of the recipe needs whole weights or
                one process.
        """
        local = recipe.local_updates()
        if local and local.workers != self.size:
            raise InputError(
                f"local.workers = {local.workers} needs as many processes, not {self.size}: "
                f"torchrun --nproc-per-node {local.workers} -m thalweg train RECIPE"
            )
        if local and self.sharded:
            raise InputError("local.workers keep a model each, which --shard would split: leave out one of them")
        if self.size == 1 or local:
            return
        if recipe.micro_batches % self.size:
            raise InputError(
                f"micro_batches = {recipe.micro_batches} cannot be shared by {self.size} processes: start a number of "
                "them that divides it"
            )
        pieces = recipe.micro_batches or self.size * recipe.accumulate
        if recipe.batch % pieces:
            raise InputError(
                f"batch = {recipe.batch} in accumulate = {recipe.accumulate} parts cannot be shared by {self.size} "
                f"processes: make it a multiple of {pieces} or start another number of them"
            )
        if recipe.optimizer["name"] in SECOND_ORDER:
            raise InputError(
                f"optimizer.name = {recipe.optimizer['name']!r} differentiates twice, which processes do not share: "
                "train in one process or choose another optimizer"
            )
        summing = recipe.optimizer["name"] in ACROSS_SHARDS or "sam" in recipe.optimizer
        if self.sharded and recipe.micro_batches and summing:
            raise InputError(
                f"optimizer = {recipe.optimizer} adds up over shards, so micro_batches cannot make split processes "
                "agree bit for bit: train without sharding, or set accumulate"
            )
        if self.sharded and recipe.depth.get("name") == "stacking":
            raise InputError("depth.name = 'stacking' copies whole blocks: train it without sharding")

    def attach(self, model: nn.Module, device: torch.device, recipe: Recipe) -> None:
        """Prepares ``model`` for all processes; with sharding its parameters become DTensors, so optimizers come later.

        Args:
            model: equal in all processes; its blocks are ``model.model.layers``.
            device: where it is.
            recipe: of the run.
        """
        self._device = device
        self.apart, ordered = bool(recipe.local), bool(recipe.micro_batches)
        if self.alone or (ordered and not self.sharded):
            return
        if not self.sharded:
            where = [device.index] if device.type == "cuda" else None
            kind = nn.parallel.DistributedDataParallel
            newer = "forward_sync_buffers" in signature(kind).parameters
            own_buffers: dict[str, Any] = {"forward_sync_buffers" if newer else "broadcast_buffers": False}
            self._module = kind(model, device_ids=where, find_unused_parameters=bool(recipe.depth), **own_buffers)
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(device.type, (self.size,))
        whole = {p for p in model.parameters() if ordered and not even(p.shape, self.size)}
        for part in (*model.model.layers, model):  # type: ignore[union-attr]  # pyrefly: ignore
            # without resharding an average would be copied into what stays whole
            fully_shard(part, mesh=mesh, ignored_params=whole, reshard_after_forward=True)
            if ordered:
                part.set_custom_reduce_scatter(TreeScatter())  # type: ignore[operator]  # pyrefly: ignore

    def called(self, model: nn.Module) -> nn.Module:
        """What to call for a loss whose gradients meet."""
        return self._module or model

    def reducing(self, model: nn.Module, last: bool) -> AbstractContextManager[object]:
        """For a forward and backward pass: gradients meet at the ``last`` part of an update only."""
        if isinstance(self._module, nn.parallel.DistributedDataParallel):
            return nullcontext() if last else self._module.no_sync()
        if self.sharded:
            model.set_requires_gradient_sync(last)  # type: ignore[operator]  # pyrefly: ignore
        return nullcontext()

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over the processes; where they are apart, this one's."""
        return value if self.alone else self.total(value) / self.size

    def total(self, value: Tensor) -> Tensor:
        """The sum of a number over the processes."""
        if self.size > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
        return value

    def rows(self, value: Tensor) -> Tensor:
        """The tensors of all processes, by rank: (...) -> (size, ...)."""
        if self.size == 1:
            return value[None]
        found = [torch.empty_like(value) for _ in range(self.size)]
        dist.all_gather(found, value)
        return torch.stack(found)

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process; no, while they are apart."""
        if not self.meeting:
            return False
        return (self.size > 1 and bool(self.total(torch.tensor(float(flag), device=self._device)))) or flag

    def gather(self, value: T) -> list[T]:
        """The values of all processes, by rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def share(self, call: Callable[[], T]) -> T:
        """What ``call`` gives in the first process; it is not called in the others.

        Raises:
            InputError, Interrupted: as ``call`` does, in the first process.
            SystemExit: in the others, with the same code: the first process says why.
        """
        told: list[Any] = [None, None]
        failure: Exception | None = None
        if self.leads:
            try:
                told[1] = call()
            except (InputError, Interrupted) as error:
                failure = error
                told[0] = 2 if isinstance(error, InputError) else 130
        if self.size > 1:
            dist.broadcast_object_list(told, src=0)
        if failure is not None:
            raise failure
        if told[0] is not None:
            raise SystemExit(told[0])
        return told[1]


@contextmanager
def world_of(device: str, *, shard: bool = False) -> Iterator[tuple[World, str]]:
    """The processes that torchrun started, met while the block lasts, and the device of this one.

    Args:
        device: a type ("cuda", "cpu") gets the number of this process on its machine; "cuda:1" is refused for many.
        shard: see ``World``.

    Raises:
        InputError: the environment is not torchrun's, or the device is one for all.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield World(), device
        return
    rank, local = _number("RANK", None), _number("LOCAL_RANK", None)
    if ":" in device or device == "mps":
        raise InputError(f"device = {device!r} is one device for {size} processes: use cuda or cpu")
    where = f"cuda:{local}" if device == "cuda" else device
    if device == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", rank=rank, world_size=size)
    try:
        yield World(rank, size, shard=shard), where
    finally:
        dist.destroy_process_group()


def _number(name: str, default: int | None) -> int:
    text = os.environ.get(name, default)
    if text is None or not str(text).isdecimal():
        raise InputError(f"{name} = {text!r} in the environment is no whole number: start processes with torchrun")
    return int(text)
