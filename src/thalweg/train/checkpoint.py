"""A training state as two files that nothing can execute: tensors in safetensors, everything else in JSON.

``pack`` takes any nesting of dicts, lists, tuples, numbers, strings and tensors (what ``state_dict`` returns) apart
and ``unpack`` puts it together again, bit for bit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from thalweg.errors import InputError

__all__ = ["FORMAT", "load_checkpoint", "load_model", "pack", "save_checkpoint", "unpack"]

FORMAT = 1


def pack(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """Moves the tensors of ``value`` into ``tensors`` and returns the rest as plain JSON.

    Args:
        value: a nesting of dict, list, tuple, tensor, str, int, float, bool and None.
        tensors: receives each tensor under the path that leads to it.
        path: where ``value`` stands in the whole.

    Raises:
        TypeError: something else is in it (named with its path).
    """
    if isinstance(value, Tensor):
        name = path or "/"
        while name in tensors:  # the keys 1 and "1", or "a/b" and "b" under "a", lead to the same path
            name += "'"
        tensors[name] = value.detach().to("cpu").contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        odd = [key for key in value if not isinstance(key, (str, int, float, bool))]
        if odd:
            raise TypeError(f"a checkpoint's dicts have strings or numbers as keys; {path or '/'} has {odd[0]!r}")
        return {"dict": [[key, pack(item, tensors, f"{path}/{key}")] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [pack(item, tensors, f"{path}/{i}") for i, item in enumerate(value)]}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(
        f"a checkpoint holds numbers, strings, lists, dicts and tensors; {path} is a {type(value).__name__}"
    )


def unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of ``pack``."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unpack(item, tensors) for key, item in content}
    items = [unpack(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)


def save_checkpoint(folder: Path, model: nn.Module, optimizer: Optimizer, extra: dict[str, Any]) -> None:
    """Writes model.safetensors, state.safetensors and state.json into ``folder`` (which the run makes atomic).

    Args:
        folder: an existing empty folder.
        model: its ``state_dict``; a tensor that two names share is stored once.
        optimizer: its ``state_dict``.
        extra: what else resuming needs (step, scheduler, hooks), of the types ``pack`` takes.
    """
    weights: dict[str, Tensor] = {}
    seen: dict[tuple[int, torch.Size], str] = {}
    for name, tensor in model.state_dict().items():
        if seen.setdefault((tensor.data_ptr(), tensor.shape), name) == name:
            weights[name] = tensor.detach().to("cpu").contiguous()
    save_file(weights, folder / "model.safetensors")
    tensors: dict[str, Tensor] = {}
    state = pack({"optimizer": optimizer.state_dict(), "extra": extra}, tensors)
    save_file(tensors, folder / "state.safetensors")
    (folder / "state.json").write_text(json.dumps({"format": FORMAT, "state": state}), encoding="utf-8")


def load_model(folder: str | Path, model: nn.Module) -> None:
    """Copies the weights of a checkpoint into ``model``.

    Raises:
        InputError: the file is damaged, or its names or shapes are not the model's.
    """
    weights = _read(Path(folder) / "model.safetensors")
    own = model.state_dict()
    shared = {tensor.data_ptr() for name, tensor in own.items() if name in weights}
    missing = [name for name, tensor in own.items() if name not in weights and tensor.data_ptr() not in shared]
    wrong = [name for name, tensor in weights.items() if name not in own or own[name].shape != tensor.shape]
    if missing or wrong:
        raise InputError(
            f"checkpoint {folder} does not fit the model: missing {missing[:3]}, unknown or of another shape "
            f"{wrong[:3]}; use the recipe that made it"
        )
    model.load_state_dict(weights, strict=False)


def load_checkpoint(folder: str | Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Restores model and optimizer from ``folder`` and returns what was saved as ``extra``.

    Raises:
        InputError: a file is absent, truncated, damaged, of another format or of another model.
    """
    folder = Path(folder)
    try:
        document = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        found = document["format"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(folder, "state.json", error) from None
    if found != FORMAT:
        raise InputError(f"checkpoint {folder} has format {found!r}; this version reads {FORMAT}")
    try:
        state = unpack(document["state"], _read(folder / "state.safetensors"))
        load_model(folder, model)
        optimizer.load_state_dict(state["optimizer"])
        return state["extra"]
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, "state.json", error) from None


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path.parent, path.name, error) from None


def _damaged(folder: Path, name: str, error: Exception) -> InputError:
    return InputError(f"checkpoint {folder} cannot be read ({name}: {error}); delete it to resume from an older one")
