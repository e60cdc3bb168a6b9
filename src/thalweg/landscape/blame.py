"""Which module draws random numbers, and which writes in place where a backward pass needs what was there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from thalweg.errors import InputError
from thalweg.landscape.bound import Bound

__all__ = ["blame_random", "in_place", "in_place_error"]

_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
_DRAWS = ("rand", "randn", "rand_like", "randn_like", "randint", "randint_like", "randperm", "bernoulli", "normal")
_DRAWS += ("multinomial", "gumbel_softmax", "bernoulli_", "normal_", "uniform_", "exponential_", "random_")
_WRITES = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__")


class _Calls(TorchFunctionMode):
    """Notes the functions of torch that draw random numbers or write in place, with the module that called them."""

    def __init__(self, inside: list[str]) -> None:
        super().__init__()
        self.inside = inside
        self.random: list[tuple[str, str]] = []
        self.writes: list[tuple[str, str]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, where = getattr(func, "__name__", ""), self.inside[-1] if self.inside else ""
        if _draws(func, name, args, kwargs):
            self.random.append((name, where))
        if name in _WRITES or (name.endswith("_") and not name.endswith("__")):
            self.writes.append((name, where))
        return func(*args, **kwargs)


def _draws(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if func is F.scaled_dot_product_attention:
        return (args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)) > 0
    if func is F.multi_head_attention_forward:
        return kwargs.get("training", True) and args[10] > 0
    if name in _DROPOUTS:
        p = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
        on = args[2] if len(args) > 2 else kwargs.get("training", name == "dropout")
        return bool(on) and p > 0
    return name in _DRAWS


@contextmanager
def _watched(model: nn.Module) -> Iterator[_Calls]:
    """Notes calls together with the name of the innermost module that is running."""
    inside: list[str] = []
    handles = []

    def leave(module: nn.Module, words: Any, out: Any) -> None:
        inside.pop()

    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda _, words, n=name: inside.append(n)))
        handles.append(module.register_forward_hook(leave))
    try:
        with _Calls(inside) as calls:
            yield calls
    finally:
        for handle in handles:
            handle.remove()


def blame_random(bound: Bound, batch: Any) -> str:
    """What makes the loss of a batch random; call it inside ``bound.quiet()``."""
    buffers = [(name.removeprefix("model."), tensor, tensor._version) for name, tensor in bound.constants()]
    with torch.no_grad(), _watched(bound.model) as calls:
        bound.loss(bound.theta, batch)
    if calls.random:
        name, where = calls.random[0]
        if isinstance(bound.model.get_submodule(where), nn.modules.dropout._DropoutNd):
            return f"{where or 'the model'} is a dropout that is on"
        kind = "a dropout by function" if name in _DROPOUTS else name
        kind = f"{name} with a dropout" if "attention" in name else kind
        return f"{kind} in {f'module {where}' if where else 'the model or loss_fn'}"
    written = [name for name, tensor, version in buffers if tensor._version != version]
    if written:
        return f"each evaluation writes to the buffer {written[0]}"
    return "none of torch's random functions was seen: random numbers of Python or NumPy, or a state that loss_fn keeps"


def in_place_error(bound: Bound, batch: Any, which: str) -> InputError:
    """The sentence on an operation in place that breaks "the" (or "the second") pass; call it inside ``quiet``."""
    with torch.no_grad(), _watched(bound.model) as calls:
        found = in_place(bound.model, lambda: bound.loss(bound.theta, batch))
    if not found:
        found = list(dict.fromkeys(f"{where} ({name})" for name, where in calls.writes if where))
    where = f"module {', '.join(found[:3])}" if found else "none is in a module's forward: look in loss_fn and backward"
    return InputError(f"an operation in place breaks {which} backward pass ({where}): write it without")


def in_place(model: nn.Module, run: Callable[[], object]) -> list[str]:
    """The modules that write to their inputs, or whose outputs are written to later, while ``run`` evaluates the model.

    Args:
        model: is called by ``run``.
        run: one forward pass.
    """
    found: list[str] = []
    outputs: list[tuple[str, Tensor, int]] = []
    inputs: dict[str, list[tuple[Tensor, int]]] = {}
    handles = []

    def before(name: str, words: tuple[Any, ...]) -> None:
        inputs[name] = [(t, t._version) for t in words if isinstance(t, Tensor)]

    def after(name: str, output: Any) -> None:
        found.extend(name for t, version in inputs[name] if t._version != version)
        if isinstance(output, Tensor):
            outputs.append((name, output, output._version))

    for name, module in model.named_modules():
        if not list(module.children()):
            handles.append(module.register_forward_pre_hook(lambda _, words, n=name: before(n, words)))
            handles.append(module.register_forward_hook(lambda _, words, out, n=name: after(n, out)))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    later = [f"{name} (its output is changed later)" for name, t, version in outputs if t._version != version]
    return list(dict.fromkeys([*found, *later]))
