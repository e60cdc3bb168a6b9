"""Weights that lie in shards over processes (FSDP2's DTensors): gathered for a measure, without FSDP's own hooks.

FSDP puts its sharded weights back before each forward pass, which would undo the weights that a measure sets. So each
process holds all weights once more, in the dtype of the measure, and computes as if there were no FSDP. Every process
has to measure, since gathering is collective.

Source: torch.distributed.fsdp.fully_shard, whose hooks are methods of its states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = ["gathered", "is_sharded", "without_hooks"]


def is_sharded(model: nn.Module) -> bool:
    """Whether a parameter is a DTensor."""
    return any(hasattr(p, "full_tensor") for p in model.parameters())


def gathered(tensor: Tensor) -> Tensor:
    """The whole tensor of a shard, collectively; any other tensor as it is."""
    full = getattr(tensor.detach(), "full_tensor", None)
    return full() if full is not None else tensor.detach()


def _of_fsdp(hook: Any) -> bool:
    owner = getattr(hook, "__self__", None)
    places = (getattr(hook, "__module__", "") or "", type(owner).__module__)
    return any(place.startswith("torch.distributed.fsdp") for place in places)


@contextmanager
def without_hooks(model: nn.Module) -> Iterator[None]:
    """Takes FSDP's forward hooks away and puts all hooks back, in their order."""
    held = []
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            if any(_of_fsdp(hook) for hook in hooks.values()):
                held.append((hooks, dict(hooks)))
                for key, hook in list(hooks.items()):
                    if _of_fsdp(hook):
                        del hooks[key]
    try:
        yield
    finally:
        for hooks, before in held:
            hooks.clear()
            hooks.update(before)
