"""Sums that round alike however many processes add: a balanced binary tree over parts, in the order of the batch.

    ((g_0 + g_1) + (g_2 + g_3)) + ((g_4 + g_5) + (g_6 + g_7))

Of n processes, a power of two, process r has the parts r, r + n, r + 2n, …, so what n processes add up between them is
a subtree, and what one adds up over time is the rest. Two numbers have one sum in either order, so every process gets
the same bits. Sums from left to right, or in the order of a ring, would depend on who has which.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from thalweg.optim.sharding import local

__all__ = ["TreeScatter", "TreeSum", "even", "meet", "tree_sum"]

BLOCK = 64
"""Elements: a multiple of what any processor here computes at once, two vectors of 512 bits in a round."""


def even(shape: torch.Size, size: int) -> bool:
    """Whether a weight that ``size`` processes split by rows gives each a multiple of ``BLOCK`` elements, or none.

    Arithmetic element by element rounds otherwise in what remains after whole vectors than in them (fused kernels,
    fused multiply-add), so other weights must not be split: norms and biases above all.
    """
    rows, row = (shape[0], shape[1:].numel()) if shape else (1, 1)
    most = -(-rows // size)
    return all(min(most, max(0, rows - most * rank)) * row % BLOCK == 0 for rank in range(size))


def tree_sum(values: Tensor) -> Tensor:
    """The sum over the first dimension, a power of two, as the tree adds: (n, ...) -> (...)."""
    while len(values) > 1:
        values = values[0::2] + values[1::2]
    return values[0]


class TreeSum:
    """Gradients of the parts of an update, added up as they come; at most log2 of the parts, plus one, are held."""

    def __init__(self) -> None:
        self._open: list[list[Tensor | None]] = []
        self._count = 0

    def add(self, parts: list[Tensor | None]) -> None:
        """Takes in the next part: a tensor a parameter, None where it has no gradient; they become the sum's own."""
        done = self._count
        self._count += 1
        while done & 1:
            parts = _added(self._open.pop(), parts)
            done >>= 1
        self._open.append(parts)

    @property
    def total(self) -> list[Tensor | None]:
        """The sum of all parts, of which there are a power of two."""
        (parts,) = self._open
        return parts


def _added(first: list[Tensor | None], second: list[Tensor | None]) -> list[Tensor | None]:
    for one, other in zip(first, second, strict=True):
        if one is not None and other is not None:
            local(one).add_(local(other))
    return [other if one is None else one for one, other in zip(first, second, strict=True)]


def meet(tensors: Sequence[Tensor], rank: int, size: int) -> None:
    """Replaces tensors by their sum over all processes, in place: log2(size) exchanges with the neighbour in the tree.

    Args:
        tensors: of the same shapes and one dtype in each process.
        rank: of this process.
        size: processes, a power of two.
    """
    if size == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    other = torch.empty_like(flat)
    width = 1
    while width < size:
        pair = rank ^ width
        for work in dist.batch_isend_irecv([dist.P2POp(dist.isend, flat, pair), dist.P2POp(dist.irecv, other, pair)]):
            work.wait()
        flat += other
        width *= 2
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


class TreeScatter:
    """The reduce-scatter of ``fully_shard`` (``set_custom_reduce_scatter``): each process gets the sum of its part.

    All parts go to their process, which adds them up as the tree does; as many bytes as a ring sends. It is a sum where
    ``fully_shard`` asks for a mean.
    """

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Memory for what goes in and out."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: dist.ProcessGroup, op: object, async_op: bool = False
    ) -> None:
        """Fills ``output_tensor``, (m,), from ``input_tensor``, (processes · m,)."""
        parts = torch.empty_like(input_tensor)
        dist.all_to_all_single(parts, input_tensor, group=group)
        output_tensor.copy_(tree_sum(parts.view(-1, output_tensor.numel())))
