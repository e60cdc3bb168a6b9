"""The spec string: ``name:key=value,key=value``, one text form for each schedule.

A value is a number (``3e-4``), a word (``1-sqrt``), a list with ``;`` (``0.5;0.75``), points ``rate@position`` with
``;`` (``0@0;3e-4@100``) or a path, in which ``%`` and the separators are percent-encoded. Keys that have their default
are not printed. Floats are printed by ``repr``, so reading what was written gives an equal schedule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.schedules.base import Schedule

__all__ = ["changed_fields", "read", "write"]

LONGEST = 100_000_000  # numbers in one list
PATH_SAFE = "/\\:._-+~()@"  # what a path may hold unquoted besides letters and digits


def read_number(text: str) -> float:
    """An int where the text is one, else a float."""
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def read_numbers(text: str) -> tuple[float, ...]:
    """``a;b*3`` as (a, b, b, b)."""
    values: list[float] = []
    for item in text.split(";"):
        number, star, count = item.partition("*")
        if star and not re.fullmatch(r"\s*[1-9]\d*\s*", count):
            raise ValueError(item)
        if star and len(values) + int(count) > LONGEST:
            raise ValueError(item)
        values.extend([read_number(number.strip())] * (int(count) if star else 1))
    return tuple(values)


def read_points(text: str) -> tuple[tuple[float, float], ...]:
    """``rate@position;…`` as pairs."""
    pairs = []
    for item in text.split(";"):
        rate, at, position = item.partition("@")
        if not at:
            raise ValueError(item)
        pairs.append((read_number(rate.strip()), read_number(position.strip())))
    return tuple(pairs)


def write_numbers(values: Sequence[float]) -> str:
    """The inverse of ``read_numbers``; runs of three and more equal values are written ``value*count``."""
    parts, start = [], 0
    for stop in range(1, len(values) + 1):
        if stop == len(values) or values[stop] != values[start]:
            count = stop - start
            parts.extend([repr(values[start])] * count if count < 3 else [f"{values[start]!r}*{count}"])
            start = stop
    return ";".join(parts)


# The annotation of a field says how its text is read and written, and what a reader must see in it.
Codec = tuple[Callable[[str], Any], Callable[[Any], str], str]
NUMBER: Codec = (read_number, repr, "a number such as 3e-4 or 100")
NUMBERS: Codec = (read_numbers, write_numbers, "numbers separated by ';', such as 0.5;0.75")
CODECS: dict[str, Codec] = {
    "float": NUMBER,
    "int": NUMBER,
    "float | None": NUMBER,
    "Duration": NUMBER,
    "Duration | None": NUMBER,
    "tuple[float, ...]": NUMBERS,
    "tuple[Duration, ...]": NUMBERS,
    "Packed": (read_numbers, lambda data: write_numbers(np.frombuffer(data, "<f8").tolist()), NUMBERS[2]),
    "tuple[tuple[float, Duration], ...]": (
        read_points,
        lambda pairs: ";".join(f"{rate!r}@{position!r}" for rate, position in pairs),
        "points rate@position separated by ';', such as 0@0;3e-4@100;0@1",
    ),
    "FilePath": (unquote, lambda path: quote(path, safe=PATH_SAFE), "a path"),
}
WORD: Codec = (str, str, "a word")


def codec(field: Field) -> Codec:
    """How the field is read and written."""
    return CODECS.get(str(field.type), WORD)


def changed_fields(schedule: Schedule) -> tuple[str, ...]:
    """The names of the fields that have no default or another value than it."""
    return tuple(
        field.name
        for field in fields(schedule)  # type: ignore[arg-type]
        if field.default is MISSING or getattr(schedule, field.name) != field.default
    )


def write(schedule: Schedule) -> str:
    """The spec string of a schedule."""
    by_name = {field.name: field for field in fields(schedule)}  # type: ignore[arg-type]
    parts = [f"{name}={codec(by_name[name])[1](getattr(schedule, name))}" for name in schedule.spec_fields()]
    return f"{schedule.name}:{','.join(parts)}"


def read(spec: str, known: Mapping[str, type[Schedule]]) -> Schedule:
    """The schedule of a spec string.

    Args:
        spec: ``name:key=value,…``; spaces around names, keys and values are ignored.
        known: the classes by name.

    Raises:
        InputError: an unknown name or key (the nearest is named), a key twice or absent, a value of the wrong form, or
            whatever the class refuses.
    """
    if not isinstance(spec, str):
        raise InputError(f"schedule {spec!r} is not a spec string; give one such as cosine:peak=3e-4,warmup=0.01")
    name, _, rest = (part.strip() for part in spec.partition(":"))
    if name not in known:
        raise InputError(f"schedule {name!r} is not known; {suggest(name.lower(), known)}")
    kind = known[name]
    options = {field.name: field for field in fields(kind) if field.init}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for item in rest.split(",") if rest else []:
        key, equals, text = (part.strip() for part in item.partition("="))
        if not equals:
            raise InputError(f"{name}: {item.strip()!r} is not key=value; write {name}:{next(iter(options))}=…")
        if key not in options:
            raise InputError(f"{name}: {key!r} is not an option; {suggest(key, options)}")
        if key in values:
            raise InputError(f"{name}: {key} is given twice; keep one")
        reader, _, form = codec(options[key])
        try:
            values[key] = reader(text)
        except ValueError as error:
            raise InputError(f"{name}: {key}={text!r} is not {form}") from error
    missing = [key for key, field in options.items() if field.default is MISSING and key not in values]
    if missing:
        raise InputError(f"{name}: {missing[0]} is missing; write {name}:{missing[0]}=…")
    return kind(**values)
