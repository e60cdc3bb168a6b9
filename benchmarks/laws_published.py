"""The published curves of ../shared/data/loss-curves as `LossCurve`s, with the schedules of their README."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from thalweg.laws import LossCurve
from thalweg.schedules import parse
from thalweg.studies.multi_power_law.published import SCHEDULES, TEST, TRAIN

__all__ = ["PEAK", "TEST", "TRAIN", "WARMUP", "curves", "rates"]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "loss-curves"
PEAK, WARMUP = 3e-4, 2160


def rates(name: str) -> np.ndarray:
    """The per-step rates of one published schedule."""
    spec, steps = SCHEDULES[name]
    return parse(spec).rates(steps)


def curves(size: str, names: tuple[str, ...]) -> dict[str, LossCurve]:
    """The named curves of one size (25M or 100M); others are not even read into memory."""
    rows: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    with open(DATA / f"{size}.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["schedule"] in rows:
                rows[row["schedule"]].append((int(row["step"]), float(row["loss"])))
    return {
        name: LossCurve(name, rates(name), [s for s, _ in points], [y for _, y in points], warmup_steps=WARMUP)
        for name, points in rows.items()
    }
