"""How a rate falls from a peak to a floor over a phase: the decay shapes.

With position x in [0, 1] of the phase, P the peak and F the floor, rate = P g + F (1 - g) with

- ``linear``   g = 1 - x
- ``1-sqrt``   g = 1 - sqrt x, of arXiv 2405.18392 and 2511.18903
- ``cosine``   g = (1 + cos(pi x)) / 2
- ``power``    g = (1 - x)^p

and two shapes that need F > 0:

- ``exponential``  rate = P^(1 - x) F^x
- ``inverse``      rate = 1 / ((1 - x) / P + x / F), of arXiv 2410.05192: 1 / rate is linear in x

Differs: Levanter's ``inv`` counts the first step of a decay of d steps as the second (k = max(k, 1)); here the first
step of the phase has the peak.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from thalweg.errors import InputError
from thalweg.schedules.base import Schedule, check_word, real

__all__ = ["SHAPES", "Shape", "check_shape", "decay"]

Shape = Literal["linear", "1-sqrt", "exponential", "cosine", "power", "inverse"]

FALLS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {  # from 1 at x = 0 to 0 at x = 1
    "linear": lambda x, power: 1 - x,
    "1-sqrt": lambda x, power: 1 - np.sqrt(x),
    "cosine": lambda x, power: (1 + np.cos(np.pi * x)) / 2,
    "power": lambda x, power: (1 - x) ** power,
}
MIXES: dict[str, Callable[[np.ndarray, float, float], np.ndarray]] = {  # shapes that need a floor above 0
    "exponential": lambda x, peak, floor: peak ** (1 - x) * floor**x,
    "inverse": lambda x, peak, floor: peak / (1 + x * (peak / floor - 1)),
}
SHAPES = ("linear", "1-sqrt", "exponential", "cosine", "power", "inverse")


def decay(shape: Shape, x: np.ndarray, *, peak: float, floor: float, power: float | None = None) -> np.ndarray:
    """The rate at positions ``x`` of a decay phase.

    Args:
        shape: one of ``SHAPES``.
        x: positions in [0, 1], any shape.
        peak: rate at x = 0.
        floor: rate at x = 1, in [0, peak]; above 0 for ``exponential`` and ``inverse``.
        power: the exponent of ``power`` (> 0), None for the others.
    """
    if shape in MIXES:
        rates = MIXES[shape](x, peak, floor)
    else:
        share = FALLS[shape](x, 1.0 if power is None else power)
        rates = peak * share + floor * (1 - share)
    return np.clip(rates, floor, peak)  # rounding may pass either by an ulp


def check_shape(owner: Schedule, shape: str, floor: float, power: float | None) -> float | None:
    """Raises where shape, floor and power do not go together; returns the exponent as a float.

    Raises:
        InputError: unknown shape; floor 0 with ``exponential`` or ``inverse``; ``power`` absent for the power shape,
            present for another, or not above 0.
    """
    check_word(owner, "shape", SHAPES)
    if shape in MIXES and floor == 0:
        raise InputError(
            f"{owner.name}: shape={shape} cannot reach floor=0; give a floor above 0 (such as a tenth of the peak), "
            "or shape=linear or 1-sqrt"
        )
    if shape != "power":
        if power is not None:
            raise InputError(
                f"{owner.name}: power={power!r} has no meaning for shape={shape}; leave it out or use shape=power"
            )
        return None
    if power is None:
        raise InputError(f"{owner.name}: shape=power needs its exponent; give power=2, for example")
    exponent = real(owner, "power", power)
    if exponent <= 0:
        raise InputError(f"{owner.name}: power={power!r} must be above 0")
    return exponent
