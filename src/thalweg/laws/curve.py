"""Loss curves: the per-step rates of a run, and the losses logged along it.

Source: the record a law needs, after arXiv 2503.12811, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from thalweg.errors import InputError

__all__ = ["LossCurve", "Metrics", "leading_ramp", "metrics"]

MOST_LOSS = 1e6  # nats per token; more is a run that diverged


def leading_ramp(rates: np.ndarray) -> int:
    """Length of the warmup that an array of rates begins with: its leading strictly rising steps, 0 if there are none.

    Args:
        rates: learning rate of every optimizer step, shape (T,).
    """
    falls = np.flatnonzero(np.diff(rates) <= 0)
    last = int(falls[0]) if len(falls) else len(rates) - 1
    return last + 1 if last > 0 else 0


@dataclass(frozen=True, eq=False)
class LossCurve:
    """One run as the laws see it.

    Args:
        name: the run's name, used in every message about it.
        rates: learning rate of every optimizer step, warmup included, >= 0; float64 (T,).
        steps: 0-based steps at which a loss was logged, strictly increasing, in [0, T); int64 (n,). The loss belongs to
            the weights around that optimizer step, so the rate sum S(step) includes rates[step].
        losses: nats per token, > 0 and at most 1e6; float64 (n,).
        warmup_steps: length of the warmup; read off the rates' leading ramp when absent.
        notes: what a reader assumed (interpolated rates, a truncated line, ...).

    Raises:
        InputError: any of the above does not hold; the sentence names the curve and the first bad entry.
    """

    name: str
    rates: np.ndarray
    steps: np.ndarray
    losses: np.ndarray
    warmup_steps: int | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        rates, steps, losses = _as_vector(self, "rates"), _as_vector(self, "steps"), _as_vector(self, "losses")
        _check_rates(self.name, rates)
        _check_points(self.name, steps, losses, len(rates))
        warmup = leading_ramp(rates) if self.warmup_steps is None else self.warmup_steps
        if not 0 <= warmup <= len(rates):
            raise InputError(f"curve {self.name!r}: warmup_steps is {warmup}; give 0 to {len(rates)}, its steps")
        for name, value in (("rates", rates), ("steps", steps.astype(np.int64)), ("losses", losses)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        object.__setattr__(self, "warmup_steps", int(warmup))
        object.__setattr__(self, "notes", tuple(self.notes))

    def __len__(self) -> int:
        """Number of logged losses."""
        return len(self.steps)

    @property
    def warmup(self) -> int:
        """Length of the warmup in steps."""
        return self.warmup_steps or 0

    def select(self, keep: np.ndarray) -> LossCurve:
        """The same run with only the logged points that the boolean mask ``keep`` (n,) names."""
        return LossCurve(self.name, self.rates, self.steps[keep], self.losses[keep], self.warmup_steps, self.notes)


def _as_vector(curve: LossCurve, name: str) -> np.ndarray:
    try:
        value = np.array(getattr(curve, name), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"curve {curve.name!r}: {name} must be numbers ({error})") from None
    if value.ndim != 1 or len(value) == 0:
        raise InputError(f"curve {curve.name!r}: {name} has shape {value.shape}; give one non-empty list of numbers")
    return value


def _check_rates(name: str, rates: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(rates) | (rates < 0))
    if len(bad):
        raise InputError(
            f"curve {name!r}: the rate of step {bad[0]} is {rates[bad[0]]:g}; rates must be finite and >= 0"
        )
    if rates.max() == 0:
        raise InputError(f"curve {name!r}: all {len(rates)} rates are 0; give the learning rates of the run")


def _check_points(name: str, steps: np.ndarray, losses: np.ndarray, count: int) -> None:
    if len(steps) != len(losses):
        raise InputError(f"curve {name!r}: {len(steps)} steps but {len(losses)} losses; give one loss a step")
    bad = np.flatnonzero(~np.isfinite(steps))
    if len(bad):
        raise InputError(f"curve {name!r}: entry {bad[0]} of its steps is {steps[bad[0]]}; steps must be whole numbers")
    bad = np.flatnonzero(steps != np.rint(steps))
    if len(bad):
        raise InputError(f"curve {name!r}: step {steps[bad[0]]:g} is not a whole number; count optimizer steps from 0")
    bad = np.flatnonzero(np.diff(steps) <= 0)
    if len(bad):
        first, second = steps[bad[0]], steps[bad[0] + 1]
        raise InputError(f"curve {name!r}: step {second:g} follows step {first:g}; steps must increase strictly")
    if steps[0] < 0 or steps[-1] >= count:
        worst = steps[0] if steps[0] < 0 else steps[-1]
        raise InputError(f"curve {name!r}: step {worst:g} lies outside its {count} rates; steps count from 0")
    bad = np.flatnonzero(~np.isfinite(losses) | (losses <= 0) | (losses > MOST_LOSS))
    if len(bad):
        where = f"at step {steps[bad[0]]:g} is {losses[bad[0]]:g}"
        raise InputError(
            f"curve {name!r}: the loss {where}; they must be > 0 and at most {MOST_LOSS:g}; drop such rows"
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """How far a prediction is from the truth of one curve.

    Attributes:
        mae: mean absolute error, nats per token.
        rmse: root of the mean squared error, nats per token.
        r2: 1 - squared error / variance of this curve's own losses.
        pred_e: mean relative error |L - Lhat| / L.
        worst_e: largest relative error.
    """

    mae: float
    rmse: float
    r2: float
    pred_e: float
    worst_e: float


def metrics(losses: np.ndarray, predicted: np.ndarray) -> Metrics:
    """Compares ``predicted`` with ``losses``, both (n,), in nats per token."""
    error = np.abs(losses - predicted)
    spread = np.sum((losses - losses.mean()) ** 2)
    r2 = 1 - np.sum(error**2) / spread if spread > 0 else float("nan")
    relative = error / losses
    return Metrics(
        float(error.mean()), float(np.sqrt(np.mean(error**2))), float(r2), float(relative.mean()), float(relative.max())
    )
