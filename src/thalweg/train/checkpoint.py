"""A training state as two files that nothing can execute: tensors in safetensors, everything else in JSON.

``pack`` takes any nesting of dicts, lists, tuples, numbers, strings and tensors (what ``state_dict`` returns) apart
and ``unpack`` puts it together again, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from thalweg.errors import InputError
from thalweg.optim.sharding import local
from thalweg.train.shards import SHARDS, likes, place_all, read_shards, unique_names, write_shards

if TYPE_CHECKING:
    from thalweg.train.world import World

__all__ = ["FORMAT", "load_checkpoint", "load_model", "pack", "save_checkpoint", "save_sharded", "unpack"]

FORMAT = 1


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu").contiguous().clone()


def pack(value: Any, tensors: dict[str, Tensor], path: str = "", *, take: Callable[[Tensor], Tensor] = _copied) -> Any:
    """Moves the tensors of ``value`` into ``tensors`` and returns the rest as plain JSON.

    Args:
        value: a nesting of dict, list, tuple, tensor, str, int, float, bool and None.
        tensors: receives each tensor under the path that leads to it.
        path: where ``value`` stands in the whole.
        take: makes of a tensor what is kept, a copy in main memory by default.

    Raises:
        TypeError: something else is in it (named with its path).
    """
    if isinstance(value, Tensor):
        name = path or "/"
        while name in tensors:  # the keys 1 and "1", or "a/b" and "b" under "a", lead to the same path
            name += "'"
        tensors[name] = take(value)
        return {"tensor": name}
    if isinstance(value, dict):
        odd = [key for key in value if not isinstance(key, (str, int, float, bool))]
        if odd:
            raise TypeError(f"a checkpoint's dicts have strings or numbers as keys; {path or '/'} has {odd[0]!r}")
        return {"dict": [[key, pack(item, tensors, f"{path}/{key}", take=take)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [pack(item, tensors, f"{path}/{i}", take=take) for i, item in enumerate(value)]}
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


def save_weights(folder: Path, model: nn.Module) -> None:
    """Writes model.safetensors, in which a tensor that two names share is stored once."""
    weights: dict[str, Tensor] = {}
    seen: dict[tuple[int, torch.Size], str] = {}
    for name, tensor in model.state_dict().items():
        if seen.setdefault((tensor.data_ptr(), tensor.shape), name) == name:
            weights[name] = tensor.detach().to("cpu").contiguous()
    save_file(weights, folder / "model.safetensors")


def save_checkpoint(folder: Path, model: nn.Module, optimizer: Optimizer, extra: dict[str, Any]) -> None:
    """Writes model.safetensors, state.safetensors and state.json into ``folder`` (which the run makes atomic).

    Args:
        folder: an existing empty folder.
        model: see ``save_weights``.
        optimizer: its ``state_dict``.
        extra: what else resuming needs (step, scheduler, hooks), of the types ``pack`` takes.
    """
    save_weights(folder, model)
    tensors: dict[str, Tensor] = {}
    state = pack({"optimizer": optimizer.state_dict(), "extra": extra}, tensors)
    save_file(tensors, folder / "state.safetensors")
    _write_state(folder, state)


def save_sharded(folder: Path, model: nn.Module, optimizer: Optimizer, extra: dict[str, Any], world: World) -> None:
    """Writes state.json and shards/ into ``folder``; all processes call it, each writes the tensors it holds.

    Args:
        folder: the same in all; the first process makes it and its run makes it atomic.
        model: split by ``world.attach``.
        optimizer: of its parameters.
        extra: see ``save_checkpoint``; its tensors are those of the model, split alike, or equal in all processes.
        world: the processes.
    """
    tensors: dict[str, Tensor] = {}
    state = pack({"optimizer": optimizer.state_dict(), "extra": extra}, tensors, take=Tensor.detach)
    own = model.state_dict()
    tensors |= {f"model/{name}": own[name].detach() for name in unique_names(model)}
    write_shards(folder, tensors, alone=world.size == 1)
    if world.leads:
        _write_state(folder, state)


def _write_state(folder: Path, state: Any) -> None:
    (folder / "state.json").write_text(json.dumps({"format": FORMAT, "state": state}), encoding="utf-8")


def load_model(folder: str | Path, model: nn.Module, *, alone: bool = True) -> None:
    """Copies the weights of a checkpoint into ``model``, whole or split.

    Args:
        folder: of the checkpoint, of whichever kind.
        model: of the recipe that made it.
        alone: other processes do not load at the same time.

    Raises:
        InputError: the file is damaged, or its names or shapes are not the model's.
    """
    own = model.state_dict()
    like = {f"model/{name}": tensor for name, tensor in own.items()}
    weights = _tensors(Path(folder), "model.safetensors", "model/", like, alone=alone)
    shared = {local(tensor).data_ptr() for name, tensor in own.items() if name in weights} - {0}
    missing = [name for name, t in own.items() if name not in weights and local(t).data_ptr() not in shared]
    wrong = [name for name, tensor in weights.items() if name not in own or own[name].shape != tensor.shape]
    if missing or wrong:
        raise InputError(
            f"checkpoint {folder} does not fit the model: missing {missing[:3]}, unknown or of another shape "
            f"{wrong[:3]}; use the recipe that made it"
        )
    model.load_state_dict(weights, strict=False)


def load_checkpoint(
    folder: str | Path, model: nn.Module, optimizer: Optimizer, *, alone: bool = True
) -> dict[str, Any]:
    """Restores model and optimizer from ``folder`` and returns what was saved as ``extra``.

    Args:
        folder: of the checkpoint, of whichever kind.
        model: of the recipe that made it, whole or split.
        optimizer: of its parameters.
        alone: other processes do not load at the same time.

    Raises:
        InputError: a file is absent, truncated, damaged, of another format or of another model.
    """
    folder = Path(folder)
    if list(folder.glob("worker-*")) and not (folder / "state.json").exists():
        raise InputError(
            f"checkpoint {folder} has a state for each worker ([local]): resume it by the recipe that made it"
        )
    try:
        document = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        found = document["format"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(folder, "state.json", error) from None
    if found != FORMAT:
        raise InputError(f"checkpoint {folder} has format {found!r}; this version reads {FORMAT}")
    try:
        tensors = _tensors(folder, "state.safetensors", "/", likes(model, optimizer), alone=alone)
        state = unpack(document["state"], tensors)
        load_model(folder, model, alone=alone)
        optimizer.load_state_dict(state["optimizer"])
        return state["extra"]
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, "state.json", error) from None


def _tensors(folder: Path, file: str, prefix: str, like: dict[str, Tensor], *, alone: bool) -> dict[str, Tensor]:
    """The tensors of one file, or those under ``prefix`` in the shards, placed as ``like``."""
    keep = prefix if prefix == "/" else ""
    if (folder / SHARDS).is_dir() and not (folder / file).exists():
        found = read_shards(folder, prefix, like, alone=alone)
        return {keep + path: tensor for path, tensor in found.items()}
    ends = {path.removeprefix(prefix) if prefix != "/" else path: tensor for path, tensor in like.items()}
    return place_all(_read(folder / file), ends)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path.parent, path.name, error) from None


def _damaged(folder: Path, name: str, error: Exception) -> InputError:
    return InputError(f"checkpoint {folder} cannot be read ({name}: {error}); delete it to resume from an older one")
