"""A made-up forecast of two pilots and three long runs, small enough to read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

SPECS = {
    "cosine": "cosine:peak=0.002,warmup=20,floor=0.0002",
    "wsd": "wsd:peak=0.002,warmup=20,decay=0.2,floor=0.0002",
    "designed": "piecewise:points=0.002@20;0.002@200;0.0004@299,warmup=20",
}
NUMBERS = {  # predicted, half interval, measured, its error, above designed, error of that
    "cosine": (1.2611, 0.0110, 1.2645, 0.0201, 0.0421, 0.0030),
    "wsd": (1.2211, 0.0121, 1.2245, 0.0202, 0.0021, 0.0015),
    "designed": (1.2301, 0.0132, 1.2224, 0.0203, 0.0, 0.0),
}


def curve(steps: int, end: float) -> dict[str, Any]:
    """A falling curve that ends at ``end``, every 10 steps."""
    at = np.arange(9, steps, 10)
    losses = end + 3 * (1 / (1 + at / 10) - 1 / (1 + at[-1] / 10))
    return {"steps": at.tolist(), "losses": losses.tolist()}


def account(steps: int, end: float, spec: str, shared: int) -> dict[str, Any]:
    """What result.json holds of a run."""
    points = curve(steps, end)
    rates = np.linspace(0.002, 0.0002, steps)
    return {
        **points,
        "spec": spec,
        "fitted": (1.001 * np.array(points["losses"])).tolist(),
        "rate_steps": list(range(steps)),
        "rates": rates.tolist(),
        "metrics": {"mae": 0.001, "rmse": 0.002, "r2": 0.999, "pred_e": 0.0012, "worst_e": 0.0034},
        "updates": steps - shared,
        "shared": shared,
        "seconds": 12.5,
        "tokens_per_second": 30123.4,
    }


def forecast(name: str) -> dict[str, Any]:
    """What result.json holds of a prediction."""
    predicted, half, *_ = NUMBERS[name]
    points = curve(300, predicted)
    low, high = ([loss + sign * half for loss in points["losses"]] for sign in (-1, 1))
    return {"spec": SPECS[name], "final_loss": predicted, **points, "low": low, "high": high}


def row(name: str) -> dict[str, Any]:
    """What result.json's table holds of a long run."""
    predicted, half, measured, error, gap, gap_error = NUMBERS[name]
    return {
        "final_loss": predicted,
        "interval": [predicted - half, predicted + half],
        "trust": "medium",
        "reason": "the 90 % interval is +-0.9 % wide",
        "spec": SPECS[name],
        "measured": measured,
        "measured_error": error,
        "error": predicted / measured - 1,
        "above_designed": gap,
        "above_designed_error": gap_error,
    }


@pytest.fixture
def result() -> dict[str, Any]:
    """The content of a result.json."""
    runs = {f"pilot-{name}": account(150, 1.5, f"{name}:peak=0.002", 0) for name in ("constant", "two-stage")}
    runs |= {f"long-{name}": account(300, NUMBERS[name][2], SPECS[name], 100) for name in SPECS}
    return {
        "plan": {"pilot_steps": 150, "horizon": 300, "peak": 0.002, "warmup": 20, "floor": 0.0002},
        "data": "stdlib, 7,927,724 training tokens (byte)",
        "made": "2026-11-22T07:54:10+0000",
        "law": {
            "params": {"L0": 1.1270148, "A": 0.2651154, "gamma": -0.12907},
            "intervals": {"L0": [1.0989, 1.1357], "A": [0.1918, 0.4238], "gamma": [-0.1963, 0.6116]},
        },
        "table": {name: row(name) for name in SPECS},
        "schedules": {name: forecast(name) for name in SPECS},
        "runs": runs,
        "seconds": {"pilots": 27.49, "law": 4.1, "long runs": 135.6},
    }
