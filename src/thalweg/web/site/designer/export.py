"""A schedule to take away: CSV, PyTorch with and without Thalweg, the Hugging Face Trainer, a recipe's lines."""

from __future__ import annotations

import json
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from thalweg.schedules import Piecewise

if TYPE_CHECKING:
    from thalweg.schedules import Schedule

__all__ = ["MOST_LISTED", "csv_text", "plain_python", "snippets"]

MOST_LISTED = 400
"""Corners that the version without Thalweg lists at most."""
EXACT = 1e-12  # of the peak: rates through the corners equal the schedule's
CLOSE = 1e-4  # of the peak: where a curved schedule needs too many corners for that


def csv_text(schedule: Schedule, steps: int) -> str:
    """The rate of every step, columns step and lr; numbers read back are the same."""
    return "step,lr\n" + "".join(f"{k},{rate!r}\n" for k, rate in enumerate(schedule.rates(steps).tolist()))


def snippets(schedule: Schedule, steps: int) -> dict[str, tuple[str, str]]:
    """Title and text of each form by its key; each Python text runs as it stands with the names it says."""
    spec, peak = str(schedule), schedule.peak
    head = f'from thalweg.schedules import ScheduleLR, parse\n\nschedule = parse("{spec}")\n'
    torch = (
        head + f"# build the optimizer with lr={peak!r}, the peak\n"
        f"scheduler = ScheduleLR(optimizer, schedule, steps={steps})  # scheduler.step() after each optimizer.step()\n"
    )
    trainer = (
        "import torch\nfrom transformers import Trainer, TrainingArguments\n\n"
        + head
        + f"optimizer = torch.optim.AdamW(model.parameters(), lr={peak!r})\n"
        f"scheduler = ScheduleLR(optimizer, schedule, steps={steps})\n"
        f"args = TrainingArguments(output_dir=output_dir, max_steps={steps})\n"
        "trainer = Trainer(model, args, train_dataset=train_dataset, optimizers=(optimizer, scheduler))\n"
    )
    recipe = f"steps = {steps}\nschedule = {json.dumps(spec)}\n"
    return {
        "spec": ("Spec", spec),
        "torch": ("PyTorch with Thalweg", torch),
        "plain": ("PyTorch without Thalweg", plain_python(schedule, steps)),
        "trainer": ("Hugging Face Trainer", trainer),
        "recipe": ("Recipe", recipe),
    }


def plain_python(schedule: Schedule, steps: int) -> str:
    """A LambdaLR of numpy's interpolation between corners, with how near it comes to the schedule."""
    rates = schedule.rates(steps)
    at, off = _corners(schedule, steps, rates)
    near = "" if off <= EXACT else f"# straight lines within {off:.1g} of the peak of {schedule.name}\n"
    return (
        "import numpy as np\nfrom torch.optim.lr_scheduler import LambdaLR\n\n"
        f"{near}{_list('steps', at)}{_list('rates', rates[at])}"
        f"peak = {schedule.peak!r}  # build the optimizer with lr=peak\n"
        "scheduler = LambdaLR(optimizer, lambda step: float(np.interp(step, steps, rates)) / peak)\n"
    )


def _list(name: str, values: np.ndarray) -> str:
    """An assignment in lines of a readable length."""
    said = ", ".join(repr(value) for value in values.tolist())
    return "\n".join(wrap(f"{name} = [{said}]", 108, subsequent_indent="    ", break_on_hyphens=False)) + "\n"


def _corners(schedule: Schedule, steps: int, rates: np.ndarray) -> tuple[np.ndarray, float]:
    """Steps between which the rates are straight lines, and the largest distance from them as a share of the peak."""
    if isinstance(schedule, Piecewise):
        warm = schedule.warmup_steps(steps)
        own = [round(p * steps) if p <= 1 else int(p) for _, p in schedule.points]
        near = [k + shift for k in [0, warm, *own, steps] for shift in (-1, 0)]
        at = np.unique([k for k in near if 0 <= k < steps])
        return at, _off(at, rates, schedule.peak)
    tolerance = EXACT
    at = _cut(rates, tolerance * schedule.peak)
    if len(at) > MOST_LISTED:
        at = _cut(rates, CLOSE * schedule.peak)
    return at, _off(at, rates, schedule.peak)


def _off(at: np.ndarray, rates: np.ndarray, peak: float) -> float:
    return float(np.abs(np.interp(np.arange(len(rates)), at, rates[at]) - rates).max() / peak)


def _cut(rates: np.ndarray, least: float) -> np.ndarray:
    """The fewest steps found by Douglas and Peucker (1973) whose lines stay within ``least`` of the rates."""
    kept, pending = {0, len(rates) - 1}, [(0, len(rates) - 1)]
    while pending and len(kept) <= 4 * MOST_LISTED:
        first, last = pending.pop()
        line = np.interp(np.arange(first, last + 1), [first, last], rates[[first, last]])
        gap = np.abs(line - rates[first : last + 1])
        worst = first + int(gap.argmax())
        if gap.max() > least:
            kept.add(worst)
            pending += [(first, worst), (worst, last)]
    return np.array(sorted(kept))
