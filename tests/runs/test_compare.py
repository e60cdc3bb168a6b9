from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.runs.compare import curves_text, differences, export_curves, flattened


def run_with(folder: Path, *rows: dict, name: str | None = None) -> Run:
    run = Run.create(folder, {"seed": 0}, name=name)
    with run.attempt():
        for row in rows:
            run.log(row["step"], **{key: value for key, value in row.items() if key != "step"})
    return run


def test_only_what_differs_is_listed():
    recipes = {
        "a": {"seed": 0, "data": {"context": 64, "corpus": "stdlib"}, "clip": 1.0},
        "b": {"seed": 1, "data": {"context": 64, "corpus": "stdlib"}, "clip": 1},
        "c": {"seed": 0, "data": {"context": 64, "corpus": "x", "extra": [1, 2]}, "clip": 1.0},
    }
    assert differences(recipes) == {
        "clip": {"a": 1.0, "b": 1, "c": 1.0},
        "data.corpus": {"a": "stdlib", "b": "stdlib", "c": "x"},
        "data.extra": {"a": None, "b": None, "c": [1, 2]},
        "seed": {"a": 0, "b": 1, "c": 0},
    }
    assert differences({"a": recipes["a"]}) == differences({}) == {}
    assert flattened({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}


def test_columns_are_those_of_the_published_curves(tmp_path: Path, shared_data: Path):
    run = run_with(tmp_path / "cosine", {"step": 0, "loss": 5.0, "lr": 0.1}, {"step": 1, "loss": 4.5, "lr": 0.05})
    text, left_out = curves_text([run])
    published = (shared_data / "loss-curves" / "25M.csv").read_text().splitlines()[0].split(",")
    rows = list(csv.DictReader(text.splitlines()))
    assert rows == [
        {"schedule": "cosine", "step": "0", "lr": "0.1", "loss": "5.0"},
        {"schedule": "cosine", "step": "1", "lr": "0.05", "loss": "4.5"},
    ]
    assert list(rows[0]) == published
    assert left_out == 0


def test_other_metrics_json_lines_and_values_that_are_not_finite(tmp_path: Path):
    run = run_with(
        tmp_path / "a",
        {"step": 0, "loss": 5.0, "lr": 0.1},
        {"step": 1, "loss": 4.0, "lr": 0.1, "val_loss": 4.5},
        {"step": 2, "loss": 3.0, "lr": 0.1, "val_loss": float("nan")},
    )
    assert export_curves([run], tmp_path / "out.jsonl", metric="val_loss") == 1
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows == [{"schedule": "a", "step": 1, "lr": 0.1, "loss": 4.5}]


def test_rates_are_left_out_where_they_are_not_complete(tmp_path: Path):
    run = run_with(tmp_path / "a", {"step": 0, "loss": 5.0, "lr": 0.1}, {"step": 1, "loss": 4.0})
    assert curves_text([run])[0] == "schedule,step,loss\na,0,5.0\na,1,4.0\n"


def test_floats_are_exported_exactly(tmp_path: Path):
    run = run_with(tmp_path / "a", {"step": 0, "loss": 1 / 3, "lr": 3e-4 / 7})
    (row,) = csv.DictReader(curves_text([run])[0].splitlines())
    assert (float(row["loss"]), float(row["lr"])) == (1 / 3, 3e-4 / 7)


def test_refusals(tmp_path: Path):
    a, b = (run_with(tmp_path / name, {"step": 0, "loss": 5.0}, name="same") for name in "ab")
    with pytest.raises(InputError, match="several runs are named same"):
        curves_text([a, b])
    with pytest.raises(InputError, match="no records of 'lost'"):
        curves_text([a], metric="lost")
    with pytest.raises(InputError, match=r"ends in '\.xlsx'"):
        export_curves([a], tmp_path / "out.xlsx")
