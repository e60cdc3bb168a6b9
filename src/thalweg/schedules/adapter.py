"""The torch face of a schedule: an LRScheduler whose resumed state is exact.

Group by group, lr = rate(step) · initial_lr / peak: groups keep the ratios of the rates they were made with (as muP
wants), and a group made with lr = peak gets exactly the schedule's rates.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from thalweg.errors import InputError
from thalweg.schedules.base import Schedule

__all__ = ["ScheduleLR"]


class ScheduleLR(LRScheduler):
    """Sets the learning rates of an optimizer from a schedule; call ``step()`` after each ``optimizer.step()``.

    The state (``state_dict``) holds the position and the groups' base rates, plain numbers only, so it loads with
    ``torch.load(weights_only=True)``. The schedule itself is the one given here, not the saved one: a checkpoint of a
    stable phase can be loaded under another schedule to branch off a decay. Loading sets the groups' rates, so the
    order of building and loading scheduler and optimizer does not matter.

    Args:
        optimizer: its groups' rates (``initial_lr`` where present, else ``lr``) are the base rates; give ``lr=peak``.
        schedule: the rule.
        steps: optimizer steps of the whole run; after them the last rate is held.
        last_epoch: index of the last step done, -1 for a new run (torch's meaning).

    Raises:
        InputError: the schedule does not fit in ``steps``; a state that is not one of this class.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, steps: int, last_epoch: int = -1) -> None:
        self.schedule = schedule
        self._rates: list[float] = schedule.rates(steps).tolist()
        self._peak = schedule.peak
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The groups' rates at the current step, as floats."""
        rate = self._rates[min(self.last_epoch, len(self._rates) - 1)]
        return [rate * (float(base) / self._peak) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Position and base rates: numbers only."""
        return {
            "last_epoch": self.last_epoch,
            "_step_count": self._step_count,
            "base_lrs": [float(base) for base in self.base_lrs],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the position and sets the groups' rates to those of that step.

        Raises:
            InputError: keys are missing or the number of groups differs.
        """
        missing = [key for key in ("last_epoch", "_step_count", "base_lrs") if key not in state_dict]
        if missing:
            raise InputError(f"scheduler state has no {missing[0]!r}: it is not a state of ScheduleLR; load that one")
        if len(state_dict["base_lrs"]) != len(self.optimizer.param_groups):
            raise InputError(
                f"scheduler state has {len(state_dict['base_lrs'])} parameter groups but the optimizer has "
                f"{len(self.optimizer.param_groups)}; build the optimizer as it was"
            )
        self.last_epoch = state_dict["last_epoch"]
        self._step_count = state_dict["_step_count"]
        self.base_lrs = list(state_dict["base_lrs"])
        for group, base, rate in zip(self.optimizer.param_groups, self.base_lrs, self.get_lr(), strict=True):
            group["initial_lr"] = base
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        groups = self.optimizer.param_groups
        self._last_lr = [g["lr"].clone() if isinstance(g["lr"], Tensor) else g["lr"] for g in groups]
