"""A CSV table of runs as columns: named by its header, every number checked."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thalweg.errors import InputError, suggest

__all__ = ["columns_of", "read_columns"]


def read_columns(
    path: str | Path, numbers: Sequence[str], *, names: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Reads the named columns.

    Args:
        path: CSV with a header; other columns are ignored, empty lines too.
        numbers: columns of finite numbers.
        names: columns of non-empty text.

    Returns:
        The columns of numbers, float64 (n,), and those of text.

    Raises:
        InputError: no such file, a missing column (the nearest is named), or a cell that is no finite number (with its
            line).
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"table {str(path)!r} does not exist: give a CSV file with a header") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"table {str(path)!r} cannot be read as text ({error}): give a CSV file") from None
    return columns_of(text, f"table {str(path)!r}", numbers, names=names)


def columns_of(
    text: str, source: str, numbers: Sequence[str], *, names: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """The named columns of a CSV's text; ``source`` begins the sentences of refusal. See `read_columns`."""
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    header = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    for name in (*numbers, *names):
        if name not in header:
            raise InputError(f"{source} has no column {name!r}: {suggest(name, header)}")
    found: dict[str, list[float]] = {name: [] for name in numbers}
    words: dict[str, list[str]] = {name: [] for name in names}
    for row in reader:
        for name in numbers:
            found[name].append(_number(source, reader.line_num, name, row[name]))
        for name in names:
            if not (row[name] or "").strip():
                raise InputError(f"{source} line {reader.line_num}: column {name!r} is empty")
            words[name].append(row[name].strip())
    if not any(found.values()):
        raise InputError(f"{source} has a header and no rows")
    return {name: np.array(column) for name, column in found.items()}, words


def _number(source: str, line: int, column: str, cell: str | None) -> float:
    try:
        value = float(cell or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{source} line {line}: column {column!r} is {cell!r}, no finite number")
    return value
