"""The validation loss of weights that belong to a run: of its checkpoints, or of an average of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from thalweg.errors import InputError
from thalweg.nn import LanguageModel
from thalweg.runs import Run
from thalweg.train.averaging import saved_weights
from thalweg.train.recipe import Recipe
from thalweg.train.setup import pick_device, prepare, window_losses

__all__ = ["average_and_newest", "validation_losses"]


def validation_losses(run: Run, states: Mapping[str, Mapping[str, Tensor]], *, device: str = "cpu") -> dict[str, float]:
    """Loss of each set of weights on the validation windows of the run's recipe, nats a token.

    Args:
        run: says model and data.
        states: name -> weights of that model.
        device: where it is measured.

    Raises:
        InputError: the run's data are not there, or weights of another model.
    """
    recipe = Recipe.from_dict(run.recipe)
    data = prepare(recipe.data, run.folder.parent / "data")
    windows = [torch.from_numpy(rows) for rows in data.windows(recipe)]
    model = LanguageModel(recipe.model).to(pick_device(device))
    found = {}
    for name, state in states.items():
        try:
            model.load_state_dict(dict(state))
        except RuntimeError as error:
            raise InputError(f"{name} are not weights of the model of {run.folder}: {error}") from None
        found[name] = float(window_losses(model, windows, recipe.precision).mean())
    return found


def average_and_newest(average: str | Path, newest: str | Path, *, device: str = "cpu") -> dict[str, float]:
    """Validation losses of an average and of the newest checkpoint that went into it.

    Args:
        average: a safetensors file.
        newest: a checkpoint folder of a run, RUN/checkpoints/step-….
        device: where it is measured.

    Returns:
        ``average`` and ``newest``, nats a token.

    Raises:
        InputError: ``newest`` does not lie in a run, or see ``validation_losses``.
    """
    folder = Path(newest).resolve()
    run = Run.open(folder.parent.parent)
    states = {"average": load_file(average), "newest": saved_weights(folder)}
    return validation_losses(run, states, device=device)
