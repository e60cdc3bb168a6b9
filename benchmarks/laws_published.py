"""The published curves of ../shared/data/loss-curves as `LossCurve`s, with the schedules of their README."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from thalweg.laws import LossCurve

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "loss-curves"
TRAIN = ("cosine_24000", "constant_24000", "wsdcon_9")
TEST = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_18")
PEAK, FLOOR, WARMUP = 3e-4, 3e-5, 2160


def rates(name: str) -> np.ndarray:
    """The per-step rates of one published schedule."""
    kind, *numbers = name.split("_")
    total = 16000 if kind == "wsdcon" else int(numbers[-1])
    step = np.arange(total, dtype=np.float64)
    ramp = np.linspace(0, PEAK, WARMUP)
    if kind == "constant":
        body = np.full(total, PEAK)
    elif kind == "cosine":
        body = FLOOR + 0.5 * (PEAK - FLOOR) * (1 + np.cos(np.pi * (step - WARMUP) / (total - WARMUP)))
    elif kind == "wsdcon":
        body = np.where(step < 8000, PEAK, int(numbers[0]) * 1e-5)
    else:
        x = np.maximum(step - 20000, 0) / (total - 20000)
        body = PEAK ** (1 - x) * FLOOR**x if kind == "wsd" else PEAK + (FLOOR - PEAK) * x
    body[:WARMUP] = ramp
    return body


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
