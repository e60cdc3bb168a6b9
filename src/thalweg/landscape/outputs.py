"""The loss cut in two at the outputs of a module: weights -> outputs, and outputs -> loss.

The outputs are what a module returns, the model itself unless another is named, so that any closure works: one run
notes them, another puts others in their place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.landscape.bound import Bound
from thalweg.landscape.products import Tensors

__all__ = ["Split", "find_split"]


class Split:
    """Cuts the loss at the outputs of a module.

    Args:
        bound: model, closure and weights.
        module: name of the module, "" for the model; it may be called more than once a batch.

    Raises:
        InputError: no module has this name.
    """

    def __init__(self, bound: Bound, module: str = "") -> None:
        self.bound, self.name = bound, module
        try:
            self._module = bound.model.get_submodule(module)
        except AttributeError:
            raise InputError(f"split={module!r} is no module of the model: see model.named_modules()") from None

    def outputs(self, theta: Tensors, batch: Any) -> Tensors:
        """z, one tensor for each call of the module."""
        found: list[Tensor] = []
        self._run(theta, batch, lambda out: found.append(_logits(out, self.name)))
        if not found:
            raise InputError(
                f"loss_fn does not call {self.name or 'the model'}: name the module that gives the outputs"
            )
        return tuple(found)

    def loss(self, outputs: Tensors, batch: Any) -> Tensor:
        """L(z), the weights constant."""
        pending = iter(outputs)
        return self._run(self.bound.theta, batch, lambda out: _with_logits(out, next(pending)))

    def _run(self, theta: Tensors, batch: Any, change: Callable[[Any], Any]) -> Tensor:
        handle = self._module.register_forward_hook(lambda _, words, out: change(out))
        try:
            return self.bound.loss(theta, batch)
        finally:
            handle.remove()


def _logits(out: Any, name: str) -> Tensor:
    if isinstance(out, Tensor):
        return out
    logits = getattr(out, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    if isinstance(out, tuple) and out and isinstance(out[0], Tensor):
        return out[0]
    raise InputError(
        f"{name or 'the model'} returns a {type(out).__name__} without logits: name with split= a module that returns "
        "a tensor from which the loss is computed"
    )


def _with_logits(out: Any, logits: Tensor) -> Any:
    if isinstance(out, Tensor):
        return logits
    if isinstance(out, tuple) and not hasattr(out, "_fields"):
        return (logits, *out[1:])
    if hasattr(out, "_replace"):
        return out._replace(logits=logits)
    if is_dataclass(out) and not isinstance(out, type):
        return replace(out, logits=logits)
    raise InputError(
        f"the logits of a {type(out).__name__} cannot be replaced: name with split= the module that makes them"
    )


def find_split(bound: Bound, batch: Any, module: str | None = None) -> Split:
    """The split that works: the named module, else the model, else the output embeddings of a model of transformers.

    Args:
        bound: model, closure and weights.
        batch: the first one.
        module: None looks for one.

    Raises:
        InputError: the loss does not depend on those outputs.
    """
    names = [module] if module is not None else ["", *_heads(bound.model)]
    with bound.quiet():
        for name in names:
            split = Split(bound, name)
            try:
                outputs = split.outputs(bound.theta, batch)
            except InputError:
                if name == names[-1]:
                    raise
                continue
            leaves = tuple(z.detach().requires_grad_() for z in outputs)
            loss = split.loss(leaves, batch)
            if loss.requires_grad and any(g is not None for g in torch.autograd.grad(loss, leaves, allow_unused=True)):
                return split
    raise InputError(
        f"the loss does not depend on the outputs of {names[-1] or 'the model'} (it is computed inside the model): "
        "compute it from the logits in loss_fn, or name with split= the module that gives the logits"
    )


def _heads(model: nn.Module) -> list[str]:
    getter = getattr(model, "get_output_embeddings", None)
    head = getter() if callable(getter) else None
    return [name for name, module in model.named_modules() if head is not None and module is head]
