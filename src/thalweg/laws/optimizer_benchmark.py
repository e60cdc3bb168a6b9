"""The published tables of the optimizer benchmark as plain records; they are no part of Thalweg.

Source: arXiv 2509.02046; WhenWen/marin, branch kaiyue/optimizers, experiments/optimizer_sweep, flattened to best.csv
(one row a cell), near_best.csv.gz and grids.csv.gz.
"""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.errors import InputError

__all__ = ["PHASE_ONE", "BenchmarkTables", "Cell", "load_optimizer_benchmark"]

SIZES = {"130m": 134217728, "300m": 301989888, "520m": 536870912, "1.2b": 1207959552}
"""Parameters without embeddings."""
PHASE_ONE = (("130m", 1), ("130m", 2), ("130m", 4), ("130m", 8), ("300m", 1), ("520m", 1))
"""The regimes in which every hyperparameter was tuned."""
ABOUT = ("optimizer", "model_size", "chinchilla", "rank", "params", "tokens", "min_loss", "baseline_loss")
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Cell:
    """The best of one optimizer at one size and budget.

    Args:
        params: parameters without embeddings.
        tokens: of training.
        loss: the lowest final loss of any run, nats per token of C4.
        values: hyperparameters of the listed configuration, whose loss is within 7e-3 of that.
    """

    params: int
    tokens: int
    loss: float
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BenchmarkTables:
    """All tables; keys are (optimizer, size, ratio).

    Args:
        best: the best of each cell.
        near: the configurations within 7e-3 of it.
        grids: hyperparameter -> values swept, and the start.
    """

    best: dict[Key, Cell]
    near: dict[Key, list[dict[str, Any]]]
    grids: dict[Key, dict[str, tuple[Any, tuple[Any, ...]]]]

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Their names, as the source has them."""
        return tuple(dict.fromkeys(key[0] for key in self.best))

    def losses(self, optimizer: str, size: str) -> dict[float, float]:
        """Ratio -> lowest loss."""
        return {float(key[2]): cell.loss for key, cell in self.best.items() if key[:2] == (optimizer, size)}

    def phase_one(self, optimizer: str) -> dict[tuple[str, int], list[dict[str, Any]]]:
        """The near-best configurations of the six regimes that decide on sensitivity; those without runs are absent."""
        keys = {(size, ratio): (optimizer, size, ratio) for size, ratio in PHASE_ONE}
        return {regime: self.near[key] for regime, key in keys.items() if key in self.near}


def load_optimizer_benchmark(folder: str | Path) -> BenchmarkTables:
    """Reads best.csv, near_best.csv.gz and grids.csv.gz.

    Raises:
        InputError: a file is absent, or lacks a column.
    """
    folder = Path(folder)
    best: dict[Key, Cell] = {}
    for row in _rows(folder / "best.csv"):
        best[_key(row)] = Cell(int(row["params"]), int(row["tokens"]), float(row["min_loss"]), _values(row))
    near: dict[Key, list[dict[str, Any]]] = {}
    for row in _rows(folder / "near_best.csv.gz"):
        near.setdefault(_key(row), []).append(_values(row))
    grids: dict[Key, dict[str, tuple[Any, tuple[Any, ...]]]] = {}
    for row in _rows(folder / "grids.csv.gz"):
        grid = tuple(_value(word) for word in row["grid_values"].split())
        grids.setdefault(_key(row), {})[row["param"]] = (_value(row["baseline_value"]), grid)
    return BenchmarkTables(best, near, grids)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give the folder of the tables") from None
    text = gzip.decompress(data).decode() if path.suffix == ".gz" else data.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    missing = {"optimizer", "model_size", "chinchilla"} - set(rows[0] if rows else ())
    if missing:
        raise InputError(f"{path} has no columns {sorted(missing)}: it is no table of the optimizer benchmark")
    return rows


def _key(row: dict[str, str]) -> Key:
    return row["optimizer"], row["model_size"], int(row["chinchilla"])


def _values(row: dict[str, str]) -> dict[str, Any]:
    return {name: _value(word) for name, word in row.items() if name not in ABOUT and not name.startswith("n_")}


def _value(word: str) -> Any:
    """A cell of the table: a number where it is one, else the word; None where it is empty."""
    named = {"": None, "None": None, "True": True, "False": False}
    if word in named:
        return named[word]
    try:
        return float(word)
    except ValueError:
        return word
