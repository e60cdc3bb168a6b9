"""Where the states of all processes of a run go in a checkpoint, and come from.

model.safetensors  state.safetensors  state.json      all processes hold the same: the first one writes
shards/  state.json                                   weights are split: see ``shards``
model.safetensors  worker-0/  worker-1/  …            each has weights of its own: a checkpoint each, and their mean
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from thalweg.runs import Run
from thalweg.train.checkpoint import load_checkpoint, save_checkpoint, save_sharded, save_weights
from thalweg.train.hooks import State
from thalweg.train.workers import averaged

__all__ = ["restore", "save"]


def save(run: Run, state: State, extra: dict[str, Any]) -> None:
    """Makes the checkpoint of ``state.step``; all processes call it.

    Args:
        run: of this process; that of the first writes.
        state: the running training.
        extra: see ``save_checkpoint``.

    Raises:
        OSError: the disk refused.
    """
    world = state.world
    together = world.sharded or world.apart
    if not together and not world.leads:
        return
    with run.checkpoint_folder(state.step) if world.leads else nullcontext() as made:
        folder = Path(world.share(lambda: str(made)) if together else str(made))
        if world.sharded:
            save_sharded(folder, state.model, state.optimizer, extra, world)
        elif world.apart:
            _save_worker(folder, state, extra)
        else:
            save_checkpoint(folder, state.model, state.optimizer, extra)


def _save_worker(folder: Path, state: State, extra: dict[str, Any]) -> None:
    own = folder / f"worker-{state.world.rank}"
    own.mkdir()
    save_checkpoint(own, state.model, state.optimizer, extra)
    with averaged([p.data for p in state.model.parameters()]):  # after this every worker has written
        if state.world.leads:
            save_weights(folder, state.model)


def restore(folder: Path, state: State) -> dict[str, Any]:
    """Loads what this process has in a checkpoint, and returns its ``extra``.

    Raises:
        InputError: see ``load_checkpoint``.
    """
    world = state.world
    own = folder / f"worker-{world.rank}" if world.apart else folder
    return load_checkpoint(own, state.model, state.optimizer, alone=world.alone)
