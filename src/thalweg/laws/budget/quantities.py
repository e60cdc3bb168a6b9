"""Amounts as people write them: ``20B``, ``1.5e12``, ``350 M``, and back in three digits.

Source: our own.
"""

from __future__ import annotations

import math
import re

from thalweg.errors import InputError

__all__ = ["parse_quantity", "quantity_text"]

UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
LETTERS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_QUANTITY = re.compile(r"^\s*([0-9][0-9_,.]*(?:e[+-]?[0-9]+)?)\s*([kmbgt]?)\s*$", re.IGNORECASE)


def parse_quantity(text: str, name: str) -> float:
    """The number behind ``20B`` or ``1e20``.

    Args:
        text: digits with an optional k, M, B (or G) or T behind; upper and lower case mean the same.
        name: what it is, for the sentence of refusal.

    Raises:
        InputError: not such a number, or one that is not finite and > 0.
    """
    found = _QUANTITY.match(text)
    try:
        value = float(found[1].replace(",", "").replace("_", "")) * UNITS[found[2].lower()] if found else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {text[:40]!r}: give a number > 0 such as 1e20, 350M, 20B or 1.5T")
    return value


def quantity_text(value: float) -> str:
    """``1.52e10`` as ``15.2B``: three digits and a letter up to a thousand T, else a power of ten."""
    if not math.isfinite(value) or value >= 1e15 or 0 < value < 0.01:
        return f"{value:.3g}"
    for unit, letter in LETTERS:
        if value >= unit * 0.9995:
            return f"{_three(value / unit)}{letter}"
    return _three(value)


def _three(value: float) -> str:
    places = max(0, 2 - math.floor(math.log10(value) + 1e-9)) if value > 0 else 0
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
