"""Plans in torch: a batch sampler, an iterable data set and a loader, all of whose state is one number.

The state is that of the last batch that was consumed, never of what workers have read ahead, and counts windows of all
ranks together: it fits any number of ranks and workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from thalweg.data.plan.order import Order
from thalweg.data.plan.rows import TokenDataset
from thalweg.data.plan.state import read_state, share, state_of
from thalweg.errors import InputError

__all__ = ["PlanLoader", "PlanSampler", "PlanStream"]


class PlanSampler:
    """The batches of one rank as lists of indices, the ``batch_sampler`` of a ``DataLoader`` over a ``TokenDataset``.

    Args:
        order: the plan made concrete, or the number of its windows.
        batch: windows of a batch over all ranks.
        rank: this one.
        world: number of ranks; divides ``batch``.
        start: windows consumed before.

    Raises:
        InputError: ``world`` does not divide ``batch``, or a number out of range.
    """

    def __init__(self, order: Order | int, batch: int, rank: int = 0, world: int = 1, start: int = 0) -> None:
        self.count = order if isinstance(order, int) else len(order)
        self.batch, self.rank, self.world, self.start = batch, rank, world, start
        share(0, batch=batch, rank=rank, world=world, start=start)

    def __len__(self) -> int:
        return max(0, self.count - self.start) // self.batch

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(len(self)):
            yield share(step, batch=self.batch, rank=self.rank, world=self.world, start=self.start).tolist()


class PlanStream(IterableDataset[dict[str, Any]]):
    """The windows of one rank, one after another; for ``DataLoader(stream, batch_size=stream.rows, num_workers=…)``.

    A loader's workers each take whole batches in turn, so batches come in the same order for any number of them. A
    last batch that is not full is left out.

    Args:
        order: the plan made concrete.
        batch: windows of a batch over all ranks.
        rank: this one.
        world: number of ranks; divides ``batch``.
        start: windows consumed before.

    Raises:
        InputError: ``world`` does not divide ``batch``, or a number out of range.
    """

    def __init__(self, order: Order, *, batch: int, rank: int = 0, world: int = 1, start: int = 0) -> None:
        share(0, batch=batch, rank=rank, world=world, start=start)
        self.dataset = TokenDataset(order)
        self.batch, self.rank, self.world, self.start = batch, rank, world, start
        self.rows = batch // world
        self._sample = start
        self._turn: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        first = number
        if self._turn is not None:  # the state of this very worker: its next batch is ``count`` further
            if self._turn != (number, count):
                raise InputError(f"the state is of worker {self._turn[0]} of {self._turn[1]}: keep num_workers")
            first = count - 1
        start = self._sample
        steps = max(0, len(self.dataset) - start) // self.batch
        for step in range(first, steps, count):
            index = share(step, batch=self.batch, rank=self.rank, world=self.world, start=start)
            items = self.dataset.__getitems__(index.tolist())
            for place, item in enumerate(items):
                if place == len(items) - 1:
                    self._sample = start + (step + 1) * self.batch
                    self._turn = (number, count) if worker else None
                yield item

    def state_dict(self) -> dict[str, Any]:
        """Where this copy of the stream stands: after the last whole batch that was taken from it."""
        turn = {"worker": list(self._turn)} if self._turn else {}
        return state_of(self.dataset.order, self._sample) | turn

    def load_state_dict(self, state: Mapping[str, Any], *, override: bool = False) -> None:
        """Goes on where ``state`` was taken.

        Raises:
            InputError: the plan or a file is another one and ``override`` is not set.
        """
        self._sample = read_state(self.dataset.order, state, override=override)
        self._turn = tuple(state["worker"]) if "worker" in state else None


class PlanLoader:
    """Batches of one rank as dicts of tensors, read ahead by workers; iterating goes on where it stopped.

    Args:
        order: the plan made concrete.
        batch: windows of a batch over all ranks.
        rank: this one.
        world: number of ranks; divides ``batch``.
        workers: processes that read ahead; 0 reads in this one.

    Raises:
        InputError: ``world`` does not divide ``batch``, or a number out of range.
    """

    def __init__(self, order: Order, *, batch: int, rank: int = 0, world: int = 1, workers: int = 0) -> None:
        share(0, batch=batch, rank=rank, world=world)
        self.order, self.batch, self.rank, self.world, self.workers = order, batch, rank, world, workers
        self.sample = 0

    def __len__(self) -> int:
        return max(0, len(self.order) - self.sample) // self.batch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        stream = PlanStream(self.order, batch=self.batch, rank=self.rank, world=self.world, start=self.sample)
        for batch in DataLoader(stream, batch_size=stream.rows, num_workers=self.workers):
            self.sample += self.batch
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The state after the batch that was handed out last."""
        return state_of(self.order, self.sample)

    def load_state_dict(self, state: Mapping[str, Any], *, override: bool = False) -> None:
        """Goes on where ``state`` was taken, with any number of ranks and workers.

        Raises:
            InputError: the plan or a file is another one and ``override`` is not set.
        """
        self.sample = read_state(self.order, state, override=override)
