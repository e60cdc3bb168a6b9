"""What a ledger says: the best of each cell, what is sensitive, how it scales, and speed-ups with intervals.

Source: arXiv 2509.02046, sections on the protocol and on speed-ups.
Differs: 1. where the best of each cell was trained with further seeds, speed-ups are of those: the least of many runs
is partly luck; 2. values at the end of their grid are named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.errors import InputError
from thalweg.launch.sweep import Sweep
from thalweg.laws.final_losses import fit_final_losses
from thalweg.laws.hyper_scaling import fit_hyper_scaling
from thalweg.laws.sensitivity import near_best, sensitive_hyperparameters
from thalweg.laws.token_speedup import NOISE, token_speedups
from thalweg.runs.ledger import config_key, read_ledger
from thalweg.toml import from_document

__all__ = ["sweep_report"]

Record = dict[str, Any]
Cell = dict[str, Any]


def sweep_report(ledger: str | Path, *, noise: float = NOISE) -> dict[str, Any]:
    """The report of a sweep, finished or not, as plain numbers, words, dicts and lists.

    Args:
        ledger: the file of its runs.
        noise: spread of a final loss over runs, nats per token, where a cell has one run.

    Returns:
        ``cells`` (loss, values, those ``at_end`` of their grid, runs and speed-up of each optimizer, size and budget),
        ``curves`` (the baseline's by size), ``sensitivity``, ``scaling`` (both by optimizer; a power is None where
        size, or data a parameter, does not vary), ``notes``, ``runs``, ``seconds``, ``baseline``.

    Raises:
        InputError: the ledger cannot be read or holds no finished run of a sweep.
    """
    records = read_ledger(ledger)
    documents = [record["config"]["sweep"] for record in records if "sweep" in record["config"]]
    if not documents:
        raise InputError(f"ledger {ledger} holds no sweep: give the ledger of a thalweg sweep")
    sweep = from_document(Sweep, documents[-1], what="sweep")
    runs = [record for record in records if "loss" in record and record["optimizer"] in sweep.optimizers]
    regimes = {(sweep.parameters(regime), regime.tokens): regime.tune for regime in sweep.regimes}
    runs = [record for record in runs if (record["params"], record["tokens"]) in regimes]
    if not runs:
        raise InputError(f"ledger {ledger} has no finished run of its sweep yet: run thalweg sweep first")
    cells = [cell for label in sweep.optimizers for cell in _cells(sweep, label, regimes, runs)]
    notes = list(_notes(sweep, cells, regimes))
    curves = dict(_curves(sweep, cells, notes))
    for params in curves:
        _speedups(sweep, cells, params, noise, notes)
    return {
        "baseline": sweep.baseline,
        "cells": cells,
        "curves": {str(params): curve for params, curve in curves.items()},
        "sensitivity": {
            label: found for label in sweep.optimizers if (found := _sensitivity(sweep, label, regimes, runs))
        },
        "scaling": {label: found for label in sweep.optimizers if (found := _scaling(sweep, label, cells))},
        "notes": notes,
        "runs": len(runs),
        "seconds": float(sum(record["seconds"] for record in runs)),
    }


def _cells(sweep: Sweep, label: str, regimes: Mapping[tuple[int, int], str], runs: Sequence[Record]) -> Iterator[Cell]:
    """The best of each of an optimizer's cells that have a run which did not diverge."""
    for (params, tokens), tune in regimes.items():
        own = [r for r in runs if (r["optimizer"], r["params"], r["tokens"]) == (label, params, tokens)]
        tuned = [r for r in own if r["seed"] == sweep.recipe.seed]
        sound = [r for r in tuned if math.isfinite(r["loss"])]
        if not sound:
            continue
        best = min(sound, key=lambda r: r["loss"])
        same = config_key(best["values"])
        again = {r["seed"]: r["loss"] for r in own if config_key(r["values"]) == same and r["seed"] in sweep.confirm}
        grids = sweep.space(label).grids if tune != "predicted" else {}
        yield {
            "optimizer": label,
            "params": params,
            "tokens": tokens,
            "ratio": tokens / (20 * params),
            "tune": tune,
            "at_end": [name for name, grid in grids.items() if _at_end(best["values"][name], grid)],
            "loss": best["loss"],
            "values": best["values"],
            "runs": len(tuned),
            "diverged": len(tuned) - len(sound),
            "confirmed": [again[seed] for seed in sweep.confirm if seed in again],
            "seconds": float(sum(r["seconds"] for r in own)),
            "speedup": None,
        }


def _used(sweep: Sweep, cells: Sequence[Cell]) -> dict[tuple[str, int], list[float]]:
    """Losses that are compared: of the confirming seeds where every cell has them all, else of the tuning seed."""
    whole = bool(sweep.confirm) and all(len(cell["confirmed"]) == len(sweep.confirm) for cell in cells)
    return {(cell["optimizer"], cell["tokens"]): cell["confirmed"] if whole else [cell["loss"]] for cell in cells}


def _curves(sweep: Sweep, cells: Sequence[Cell], notes: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The baseline's fitted curve at each size that has three of its budgets."""
    for params in sorted({cell["params"] for cell in cells}):
        own = [cell for cell in cells if cell["params"] == params]
        used = _used(sweep, own)
        ladder = sorted(cell["tokens"] for cell in own if cell["optimizer"] == sweep.baseline)
        try:
            curve = fit_final_losses(ladder, [float(np.mean(used[sweep.baseline, tokens])) for tokens in ladder])
        except InputError as error:
            notes.append(f"no speed-ups at {params:,} parameters: {error}")
            continue
        if curve.degenerate or curve.floor == 0:
            notes.append(
                f"{sweep.baseline} at {params:,} parameters: its losses do not bend, the curve's floor is unknown"
            )
        yield params, asdict(curve)


def _speedups(sweep: Sweep, cells: Sequence[Cell], params: int, noise: float, notes: list[str]) -> None:
    """Writes the speed-ups of one size into its cells."""
    own = [cell for cell in cells if cell["params"] == params]
    used = _used(sweep, own)
    base: dict[float, Any] = {tokens: losses for (label, tokens), losses in used.items() if label == sweep.baseline}
    for label in dict.fromkeys(cell["optimizer"] for cell in own):
        other: dict[float, Any] = {tokens: losses for (name, tokens), losses in used.items() if name == label}
        try:
            found = {s.budget: asdict(s) for s in token_speedups(base, other, noise=noise)}
        except InputError as error:
            notes.append(f"no intervals for {label} at {params:,} parameters: {error}")
            continue
        for cell in own:
            if cell["optimizer"] == label:
                cell["speedup"] = found[cell["tokens"]]


def _notes(sweep: Sweep, cells: Sequence[Cell], regimes: Mapping[tuple[int, int], str]) -> Iterator[str]:
    missing = len(sweep.optimizers) * len(regimes) - len(cells)
    if missing:
        yield f"{missing} cells have no finished run yet: thalweg sweep goes on"
    if sweep.confirm and any(len(cell["confirmed"]) < len(sweep.confirm) for cell in cells):
        yield "confirming seeds are still to come: until then speed-ups are of the tuning seed"
    for cell in cells:
        if cell["at_end"]:
            where = f"{cell['optimizer']}, {cell['params']:,} parameters, {cell['tokens']:,} tokens"
            yield f"{where}: at the end of the grid: {', '.join(cell['at_end'])}"


def _at_end(value: Any, grid: Sequence[Any]) -> bool:
    """Whether a number is the least or greatest of three or more."""
    numbers = len(grid) > 2 and all(isinstance(v, int | float) and not isinstance(v, bool) for v in (value, *grid))
    return numbers and value in (min(grid), max(grid))


def _sensitivity(
    sweep: Sweep, label: str, regimes: Mapping[tuple[int, int], str], runs: Sequence[Record]
) -> dict[str, Any] | None:
    """What phase I says of one optimizer; None before two of its regimes have runs."""
    near: dict[tuple[int, int], list[Any]] = {}
    for (params, tokens), tune in regimes.items():
        own = [
            (r["values"], r["loss"])
            for r in runs
            if (r["optimizer"], r["params"], r["tokens"], r["seed"]) == (label, params, tokens, sweep.recipe.seed)
        ]
        if tune == "all" and (kept := near_best(own, sweep.tolerance)):
            near[params, tokens] = kept
    return asdict(sensitive_hyperparameters(near)) if len(near) > 1 else None


def _scaling(sweep: Sweep, label: str, cells: Sequence[Cell]) -> dict[str, Any]:
    """How each number with a grid moves with size and data, where three tuned cells or more say so."""
    own = [cell for cell in cells if cell["optimizer"] == label and cell["tune"] != "predicted"]
    found = {}
    for name in sweep.space(label).grids:
        values = [cell["values"][name] for cell in own]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if len(values) >= 3 and numbers and len(set(values)) > 1:
            sizes, ratios = [cell["params"] for cell in own], [cell["ratio"] for cell in own]
            rule = asdict(fit_hyper_scaling(sizes, ratios, values))
            one = {"size_power": len(set(sizes)) == 1, "ratio_power": len({float(f"{r:.9g}") for r in ratios}) == 1}
            found[name] = rule | {power: None for power, same in one.items() if same}
    return found
