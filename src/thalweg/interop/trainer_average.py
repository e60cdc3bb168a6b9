"""An average of the weights as a callback of transformers' Trainer, kept in its checkpoints.

Source: huggingface/transformers 5.23, ``trainer_callback`` (``on_save`` is after the checkpoint's folder was written).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from thalweg.errors import InputError, MissingExtra

__all__ = ["FILE", "Average", "average_callback"]

FILE = "thalweg_average.pt"


class Average(Protocol):
    """Takes in weights and gives back its state; ``thalweg.train.averaging.OnlineEMA`` is one."""

    def update(self, model: Any, step: int) -> None:
        """Takes in the weights after optimizer step ``step``."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Numbers and tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what ``state_dict`` gave."""
        ...


def average_callback(average: Average, *, resumed_from: str | Path | None = None) -> Any:
    """The callback to give as ``Trainer(..., callbacks=[average_callback(average)])``.

    Args:
        average: of the trainer's model; afterwards ``with average.applied(trainer.model): trainer.evaluate()``.
        resumed_from: the checkpoint that ``train(resume_from_checkpoint=…)`` gets; None takes the one of that step in
            the trainer's output folder.

    Raises:
        MissingExtra: transformers is not installed.
    """
    try:
        from transformers import TrainerCallback
    except ImportError:
        raise MissingExtra("transformers", "hf") from None
    import torch

    class Callback(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if not state.global_step:
                return
            folder = Path(resumed_from or Path(args.output_dir) / f"checkpoint-{state.global_step}")
            if not (folder / FILE).is_file():
                raise InputError(
                    f"{folder} has no {FILE}: name the checkpoint in average_callback(resumed_from=…), or train anew"
                )
            average.load_state_dict(torch.load(folder / FILE, weights_only=True, map_location="cpu"))

        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            average.update(given["model"], state.global_step)

        def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if state.is_world_process_zero:
                torch.save(average.state_dict(), Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE)

    return Callback()
