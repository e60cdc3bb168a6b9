"""The configuration of least predicted loss for a training budget, and what straying from it costs.

With 6 N D = C fixed, the tuned fields run over the values that were fitted (all of them where they are few, else an
even grid of their range), model size over a wider one; the search goes over the whole grid where it is small, else
field by field from several starts, and ends with finer steps around the best.

Source: arXiv 2602.10300, joint tuning (a scan of predicted losses; the paper's grid is not published).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.laws.configuration.fields import FIELDS
from thalweg.laws.configuration.law import ConfigurationLaw
from thalweg.laws.configuration.table import ConfigTable, Value

__all__ = ["Choice", "Plan", "plan"]

FEW, GRID, WHOLE = 12, 9, 3000
STARTS, SWEEPS, ROUNDS = 4, 4, 3
SIZE_STEPS = 17
WIDER = 4.0  # sizes searched reach so far beyond the fitted ones


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a tuned field, all others at the plan's.

    Attributes:
        value: of the field.
        loss: predicted, nats per token.
        low: lower end of its 90 % interval.
        high: upper end.
    """

    value: Value
    loss: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcome of a search.

    Attributes:
        config: the configuration of least predicted loss, filled up from the nearest good fitted run.
        loss: its predicted loss, nats per token.
        low: lower end of the 90 % interval.
        high: upper end.
        baseline: what the Chinchilla law alone says.
        beyond: fields outside the fitted range, in words.
        trade_offs: by tuned field, its values with all others at the plan's.
        tried: configurations predicted.
    """

    config: dict[str, Value]
    loss: float
    low: float
    high: float
    baseline: float
    beyond: str
    trade_offs: dict[str, list[Choice]]
    tried: int


def plan(
    law: ConfigurationLaw, *, budget: float, tune: Sequence[str], fixed: Mapping[str, Value] | None = None
) -> Plan:
    """Searches the configuration of least predicted loss.

    Args:
        law: a fitted law.
        budget: C = 6 N D, FLOPs.
        tune: fields to choose; ``params`` is chosen too where neither it nor ``tokens`` is fixed.
        fixed: fields that stand.

    Raises:
        InputError: a budget that is not > 0, nothing to tune, a field that is unknown, fixed too or was never fitted,
            or a budget that no searched size fits.
    """
    fixed = dict(fixed or {})
    if not (np.isfinite(budget) and budget > 0):
        raise InputError(f"budget is {budget}: give the training FLOPs 6 N D, > 0")
    if not tune:
        raise InputError("tune is empty: name at least one field, as learning_rate,batch_size")
    fitted = (*law.table.numbers, *law.table.texts)
    for name in (*tune, *fixed):
        if name not in fitted:
            raise InputError(f"{name!r} was not fitted: {suggest(name, fitted)}")
    if twice := sorted(set(tune) & set(fixed)):
        raise InputError(f"{', '.join(twice)} is both fixed and tuned: choose one")
    if {"params", "tokens"} <= set(fixed):
        raise InputError("params, tokens and budget are all given: leave one out")
    if "tokens" in tune or "steps" in tune:
        raise InputError("tokens and steps follow from budget, params and batch size: tune those")
    names = list(dict.fromkeys([*tune, *(() if {"params", "tokens"} & set(fixed) else ("params",))]))
    grids = {name: _grid(law, name, budget) for name in names}
    complete = _completer(law.table, budget, fixed)
    search = _Search(law, complete)
    starts = _starts(law, names, grids, fixed)
    if np.prod([len(grid) for grid in grids.values()]) <= WHOLE:
        chosen = search.best([dict(zip(names, values, strict=True)) for values in product(*grids.values())])
    else:
        chosen = search.best([_sweep(search, start, grids) for start in starts])
    chosen = _refine(search, chosen, grids)
    found = law.predict([complete(chosen)])
    trade = {}
    for name, grid in grids.items():
        values = sorted({*grid, chosen[name]}) if FIELDS[name].role != "text" else grid
        parts = law.predict([complete(chosen | {name: value}) for value in values])
        trade[name] = [
            Choice(value, *numbers)
            for value, *numbers in zip(
                values, parts.loss.tolist(), parts.low.tolist(), parts.high.tolist(), strict=True
            )
        ]
    return Plan(
        complete(chosen), float(found.loss[0]), float(found.low[0]), float(found.high[0]), float(found.baseline[0]),
        found.beyond[0], trade, search.tried,
    )  # fmt: skip


class _Search:
    def __init__(self, law: ConfigurationLaw, complete: Callable[[Mapping[str, Value]], dict[str, Value]]) -> None:
        self.law, self.complete, self.tried = law, complete, 0

    def best(self, choices: Sequence[dict[str, Value]]) -> dict[str, Value]:
        self.tried += len(choices)
        losses = self.law.predict([self.complete(choice) for choice in choices]).loss
        return dict(choices[int(np.argmin(losses))])


def _grid(law: ConfigurationLaw, name: str, budget: float) -> list[Value]:
    if FIELDS[name].role == "text":
        return sorted({word for word in law.table.texts[name] if word})
    column = law.table.numbers[name]
    known = np.unique(column[np.isfinite(column)])
    if name == "params":
        tokens = law.table.numbers["tokens"]
        low = max(known[0] / WIDER, budget / 6 / (tokens.max() * WIDER))
        high = min(known[-1] * WIDER, budget / 6 / (tokens.min() / WIDER))
        if low > high:
            raise InputError(
                f"budget {budget:g} lies too far from the fitted runs ({law.table.flops.min():.3g} to "
                f"{law.table.flops.max():.3g} FLOPs): fix params, or fit longer runs"
            )
        return np.geomspace(low, high, SIZE_STEPS).tolist()
    if len(known) <= FEW:
        return known.tolist()
    if FIELDS[name].scale == "log":
        return np.geomspace(known[0], known[-1], GRID).tolist()
    return np.linspace(known[0], known[-1], GRID).tolist()


def _completer(
    table: ConfigTable, budget: float, fixed: Mapping[str, Value]
) -> Callable[[Mapping[str, Value]], dict[str, Value]]:
    """Fills a choice up: size and tokens from the budget, steps from the batch, the rest is left at its mean."""
    length = np.nan
    if {"steps", "batch_size"} <= set(table.numbers):
        length = float(np.nanmedian(table.numbers["tokens"] / table.numbers["steps"] / table.numbers["batch_size"]))

    def complete(choice: Mapping[str, Value]) -> dict[str, Value]:
        config = dict(fixed) | dict(choice)
        if "tokens" in config:
            config["params"] = budget / 6 / float(config["tokens"])
        else:
            config["tokens"] = budget / 6 / float(config["params"])
        if np.isfinite(length) and "batch_size" in config and "steps" not in fixed:
            config["steps"] = float(config["tokens"]) / float(config["batch_size"]) / length
        return config

    return complete


def _starts(
    law: ConfigurationLaw, names: Sequence[str], grids: Mapping[str, list[Value]], fixed: Mapping[str, Value]
) -> list[dict[str, Value]]:
    """The tuned fields of the fitted runs that beat the baseline most, on the grid; runs with the fixed words only."""
    table = law.table
    gain = table.losses - law.baseline.predict(table.numbers["params"], table.numbers["tokens"])
    words = {name: value for name, value in fixed.items() if isinstance(value, str)}
    order = [i for i in np.argsort(gain) if all(table.texts[name][i] == word for name, word in words.items())]
    if not order:
        raise InputError(f"no fitted run has {', '.join(f'{n} {w!r}' for n, w in words.items())}")
    starts = []
    for i in order[:STARTS]:
        config = table.config(int(i))
        start: dict[str, Value] = {}
        for name in names:
            value, grid = config.get(name), grids[name]
            start[name] = grid[len(grid) // 2] if value is None else _nearest(value, grid)
        starts.append(start)
    return starts


def _nearest(value: Value, grid: list[Value]) -> Value:
    if isinstance(value, str):
        return value if value in grid else grid[0]
    return min(grid, key=lambda other: abs(float(other) - value))


def _sweep(search: _Search, start: dict[str, Value], grids: Mapping[str, list[Value]]) -> dict[str, Value]:
    chosen = dict(start)
    for _ in range(SWEEPS):
        before = dict(chosen)
        for name, grid in grids.items():
            chosen = search.best([chosen | {name: value} for value in grid])
        if chosen == before:
            break
    return chosen


def _refine(search: _Search, chosen: dict[str, Value], grids: Mapping[str, list[Value]]) -> dict[str, Value]:
    """Halves the grid's step around the best of every field with more values than a handful, within its range."""
    steps = {}
    for name, grid in grids.items():
        if FIELDS[name].scale == "log" and len(grid) > 5 and FIELDS[name].role != "text":
            steps[name] = (float(grid[-1]) / float(grid[0])) ** (1 / (len(grid) - 1))
    for round_ in range(1, ROUNDS + 1):
        for name, step in steps.items():
            now, low, high = float(chosen[name]), float(grids[name][0]), float(grids[name][-1])
            near = [float(np.clip(now * step ** (sign / 2**round_), low, high)) for sign in (-1, 0, 1)]
            chosen = search.best([chosen | {name: value} for value in near])
    return chosen
