"""Hooks: what a method or a screen adds to training without touching the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer

    from thalweg.nn import LanguageModel
    from thalweg.schedules.adapter import ScheduleLR
    from thalweg.train.averaging import OnlineEMA
    from thalweg.train.recipe import Recipe
    from thalweg.train.world import World

__all__ = ["AverageHook", "Hook", "State"]


def _alone() -> World:
    from thalweg.train.world import World

    return World()


@dataclass(slots=True)
class State:
    """The running training: what a hook may read and change.

    Args:
        recipe: what is trained.
        model: the live model.
        optimizer: its optimizer; its groups carry this step's learning rate.
        scheduler: sets that rate.
        device: where the model lives.
        evaluate: returns the validation loss of the live weights, nats per token.
        step: finished updates.
        hooks: called at fixed points, in this order.
        data: fingerprints of corpus and tokenizer.
        world: the processes that train together.
    """

    recipe: Recipe
    model: LanguageModel
    optimizer: Optimizer
    scheduler: ScheduleLR
    device: torch.device
    evaluate: Callable[[], float]
    step: int = 0
    hooks: tuple[Hook, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    world: World = field(default_factory=_alone)


class Hook:
    """Called at fixed points of every run; override what you need.

    ``name`` keys the hook's state in a checkpoint and must be unique in a run.
    """

    name: str = ""

    def on_start(self, state: State) -> None:
        """Before the first update, after a checkpoint (if any) was restored."""

    def before_part(self, state: State, part: int) -> None:
        """Before each forward pass of micro-batch number ``part`` (>= 0) of an update; optimizers may repeat parts."""

    def after_step(self, state: State, metrics: dict[str, float]) -> None:
        """After each update; ``metrics`` goes to the log and may be added to."""

    def on_evaluate(self, state: State, metrics: dict[str, float]) -> None:
        """After a validation loss was measured (``metrics["val_loss"]``); may add measures of its own."""

    def state_dict(self) -> dict[str, Any]:
        """What resuming exactly needs: numbers, strings, lists, dicts, tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what ``state_dict`` gave."""


class AverageHook(Hook):
    """Keeps an online average of the weights and logs its validation loss as ``val_loss_average``."""

    name = "average"

    def __init__(self, average: OnlineEMA) -> None:
        self.average = average

    def after_step(self, state: State, metrics: dict[str, float]) -> None:
        """Moves the average towards the new weights."""
        self.average.update(state.model, state.step)

    def on_evaluate(self, state: State, metrics: dict[str, float]) -> None:
        """Measures the averaged weights; the live ones are back afterwards."""
        with self.average.applied(state.model):
            metrics["val_loss_average"] = state.evaluate()

    def state_dict(self) -> dict[str, Any]:
        """The average itself."""
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the average bit for bit."""
        self.average.load_state_dict(state)
