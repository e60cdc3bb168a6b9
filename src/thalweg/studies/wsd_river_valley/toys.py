"""The two toys of the study, whose hill and river parts are known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from thalweg.landscape import interpolate
from thalweg.schedules import WSD, WSDS, Constant, Cosine, Cyclic, Schedule, wsd_branches
from thalweg.studies.base import Record
from thalweg.tasks import BigramLanguage, RiverValley

if TYPE_CHECKING:
    from thalweg.studies.wsd_river_valley.study import Config

__all__ = ["bigram_records", "valley_records"]

VALLEY_PEAK = 0.1  # stable below 2 / steepness = 0.2
BIGRAM_PEAK = 1.0  # logits per pair


def valley_records(config: Config, seed: int) -> Iterator[Record]:
    """The curved valley: parts of the loss after one budget by schedule, and the three methods at all budgets."""
    floor, decay, budgets = config.floor * VALLEY_PEAK, config.decay, config.toys.budgets
    middle, last = budgets[len(budgets) // 2], budgets[-1]
    table: dict[str, Schedule] = {
        "constant": Constant(peak=VALLEY_PEAK),
        "constant at the floor": Constant(peak=floor),
        "cosine": Cosine(peak=VALLEY_PEAK, floor=floor),
        "wsd": WSD(peak=VALLEY_PEAK, decay=decay, shape="inverse", floor=floor),
    }
    for name, schedule in table.items():
        yield _valley(config, seed, "parts", name, middle, schedule.rates(middle), [middle])[0]
    runs = {
        "wsd-s": WSDS(peak=VALLEY_PEAK, cycles=budgets, decay=decay, shape="inverse", floor=floor),
        "cyclic": Cyclic(peak=VALLEY_PEAK, cycles=budgets, floor=floor),
    }
    for name, schedule in runs.items():
        yield from _valley(config, seed, "final", name, None, schedule.rates(last), list(budgets))
    branches = wsd_branches(budgets, decay=decay, counted="compute")
    for budget, end, count in zip(budgets, branches.ends, branches.decays, strict=True):
        rates = WSD(peak=VALLEY_PEAK, decay=count, shape="inverse", floor=floor).rates(end)
        yield from _valley(config, seed, "final", "wsd", budget, rates, [end])


def _valley(
    config: Config, seed: int, kind: str, method: str, budget: int | None, rates: np.ndarray, at: list[int]
) -> list[Record]:
    """A record for each of the steps ``at``, whose number is the budget unless one is given."""
    valley = RiverValley()
    points = valley.descend(rates, replicas=config.toys.replicas, seed=seed, at=at)
    return [
        {"part": "valley", "kind": kind, "method": method, "budget": budget or step, **valley.means(each)._asdict()}
        for step, each in zip(at, points, strict=True)
    ]


def bigram_records(config: Config, seed: int) -> Iterator[Record]:
    """The bigram language: KL of certain and uncertain contexts before and after a decay, and the three segments."""
    language, toys = BigramLanguage(), config.toys
    peak, floor = BIGRAM_PEAK, config.floor * BIGRAM_PEAK
    fall = WSD(peak=peak, decay=toys.decay, shape="inverse", floor=floor).rates(toys.decay)
    flat = Constant(peak=peak).rates(toys.stable)
    steps = toys.stable + toys.decay
    early = language.train(flat, seed=2 * seed)
    late = language.train(flat[: toys.decay], seed=2 * seed + 1, start=early)
    tables = {
        "stable": early,
        "stable continued": late,
        "decayed": language.train(fall, seed=2 * seed + 1, start=early),
        "decayed later": language.train(fall, seed=2 * seed, start=late),
        "constant at the floor": language.train(Constant(peak=floor).rates(steps), seed=2 * seed),
        "cosine": language.train(Cosine(peak=peak, floor=floor).rates(steps), seed=2 * seed),
    }
    for name, logits in tables.items():
        means = language.means(language.divergence(logits))
        bends = language.means(language.curvature(logits))
        yield {
            "part": "bigram",
            "kind": "parts",
            "method": name,
            "uncertain": means.uncertain,
            "uncertain_error": means.uncertain_error,
            "deterministic": means.deterministic,
            "curvature_uncertain": bends.uncertain,
            "curvature_deterministic": bends.deterministic,
        }
    weights = {name: {"logits": torch.from_numpy(logits)} for name, logits in tables.items()}
    pairs = {
        "stable-stable": ("stable", "stable continued"),
        "stable-decayed": ("stable", "decayed"),
        "decayed-decayed": ("decayed", "decayed later"),
    }
    for name, (a, b) in pairs.items():
        path = interpolate(
            weights[a], weights[b], lambda point: language.divergence(point["logits"].numpy()), config.points
        )
        yield {"part": "bigram", "kind": "segment", "ends": name, "losses": path.losses.tolist(), "dip": path.dip}
