"""How every command speaks: results on stdout (a table, or one JSON object), progress on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["emit", "plain", "table"]

SCHEMA = 1


def plain(value: Any) -> Any:
    """``value`` with numpy scalars and arrays as numbers and lists, and nan and infinities as null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def emit(command: str, result: dict[str, Any]) -> None:
    """Prints the one JSON object of ``--json``: {schema, command, result}, numbers unrounded."""
    json.dump({"schema": SCHEMA, "command": command, "result": plain(result)}, sys.stdout, allow_nan=False)
    print()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Prints a table; without colour and lines where stdout is no terminal or NO_COLOR is set.

    Args:
        columns: headings.
        rows: cells; numbers are given as text already rounded.
        title: line above it.
    """
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        grid = Table(*columns, title=title or None, title_justify="left", box=SIMPLE_HEAD)
        for row in rows:
            grid.add_row(*(str(cell) for cell in row))
        Console().print(grid)
        return
    cells = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    if title:
        print(title)
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
