"""A model, a loss closure and weights as one pure function: theta, batch -> loss.

``loss_fn(model, batch)`` may do with the model what it likes; the weights it sees are those of theta. The model itself
is not changed: its mode is back after each evaluation and theta is a copy made at the start.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from thalweg.errors import InputError, suggest
from thalweg.landscape.batches import map_tensors
from thalweg.landscape.layout import Layout
from thalweg.landscape.sharded import gathered, is_sharded, without_hooks

__all__ = ["Bound", "LossFn", "choose"]

LossFn = Callable[[Any, Any], Tensor]
"""Takes the model and a batch, returns the mean loss of the batch, a scalar."""


class _Closure(nn.Module):
    """The closure as a module, so that ``functional_call`` reaches the model's weights wherever it uses them."""

    def __init__(self, model: nn.Module, loss_fn: LossFn) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, batch: Any) -> Tensor:
        return self.loss_fn(self.model, batch)


def choose(model: nn.Module, params: str | Sequence[str]) -> dict[str, nn.Parameter]:
    """The parameters that need a gradient and whose names match a pattern, tied ones once.

    Args:
        model: any module.
        params: one pattern or several, as in file names: "*", "*.weight", "layers.0.*".

    Raises:
        InputError: a pattern that matches none of them.
    """
    patterns = [params] if isinstance(params, str) else list(params)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in named):
            more = f" and {len(named) - 3} more" if len(named) > 3 else ""
            near = suggest(pattern, named)
            known = near if near.startswith("did") else f"known: {', '.join(list(named)[:3])}{more}"
            raise InputError(f"params={pattern!r} matches no parameter that needs a gradient: {known}")
    return {name: p for name, p in named.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}


class Bound:
    """The loss as a function of a tuple of tensors.

    Args:
        model: its weights at this moment are the point.
        loss_fn: the closure.
        params: patterns of the parameters that vary; all others are constants.
        dtype: of the computation, None for the model's own; floating tensors of batches are cast too.
        training: leave modules in the mode they have (batch statistics of batch norms, dropout) instead of evaluation.
        seed: of the random numbers drawn inside the loss, each evaluation anew; None leaves the generator alone.

    Attributes:
        layout: names and shapes of the weights that vary.
        theta: their values, copies.
        device: where they are.
        dtype: in which is computed.
        sharded: whether the model's own weights lie in shards over processes.

    Raises:
        InputError: a pattern matches nothing, weights are nan or infinite or a buffer is nan (named).
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn,
        *,
        params: str | Sequence[str] = "*",
        dtype: torch.dtype | None = None,
        training: bool = False,
        seed: int | None = None,
    ) -> None:
        chosen = choose(model, params)
        whole = {name: gathered(p) for name, p in model.named_parameters()}
        odd = [name for name, p in whole.items() if not bool(p.isfinite().all())]
        if odd:
            raise InputError(f"{odd[0]} holds nan or infinite weights: measure a checkpoint from before it diverged")
        odd = [name for name, b in model.named_buffers() if b.is_floating_point() and bool(b.isnan().any())]
        if odd:
            raise InputError(f"the buffer {odd[0]} holds nan: measure a checkpoint from before it diverged")
        first = next(iter(chosen.values()))
        self.model, self.training, self.seed = model, training, seed
        self.device, self.dtype = first.device, dtype or first.dtype
        self.layout = Layout(tuple(chosen), tuple(p.shape for p in chosen.values()))
        self.sharded = is_sharded(model)
        self.theta = tuple(self._number(whole[name]).clone() for name in chosen)
        rest = {name: p for name, p in whole.items() if name not in chosen}
        buffers = {name: b for name, b in model.named_buffers() if b is not None}
        self._fixed = {f"model.{name}": self._number(t).clone() for name, t in {**rest, **buffers}.items()}
        self._closure = _Closure(model, loss_fn)

    def _number(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self.dtype) if tensor.is_floating_point() else tensor.detach()

    def constants(self) -> Iterator[tuple[str, Tensor]]:
        """Buffers and parameters that do not vary, by name."""
        yield from self._fixed.items()

    def batch(self, batch: Any) -> Any:
        """The batch on the device of the weights, floating tensors in the dtype of the computation."""
        return map_tensors(batch, lambda tensor: self._number(tensor).to(self.device))

    def loss(self, theta: Sequence[Tensor], batch: Any) -> Tensor:
        """The closure's loss at weights ``theta``, a scalar; call it inside ``quiet``."""
        if self.seed is not None:
            torch.manual_seed(self.seed)
        weights = {f"model.{name}": tensor for name, tensor in zip(self.layout.names, theta, strict=True)}
        fixed = self._fixed
        if self.training:  # batch norms write to their statistics
            fixed = {name: tensor.clone() for name, tensor in fixed.items()}
        return functional_call(self._closure, {**fixed, **weights}, (batch,))

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Evaluation mode, gradients on, attention by the kernel that can be differentiated twice; all back after."""
        modes = [(module, module.training) for module in self.model.modules()]
        devices = [self.device] if self.seed is not None and self.device.type == "cuda" else []
        with torch.random.fork_rng(devices, enabled=self.seed is not None), torch.enable_grad():
            try:
                if not self.training:
                    self.model.eval()
                with without_hooks(self.model), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
                    warnings.filterwarnings("ignore", ".*torch.jit.script. is deprecated", DeprecationWarning)
                    yield  # torch's own forward mode uses what torch deprecates
            finally:
                for module, mode in modes:
                    module.training = mode
