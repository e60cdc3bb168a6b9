"""Downloads: what they hold and what they refuse."""

from __future__ import annotations

import csv
import json
import math
import tomllib

from thalweg.laws.readers import read_curves


def test_curves_are_in_the_columns_that_fitting_reads(client, make, tmp_path):
    make("x/seed-0", [5 / (1 + step) for step in range(30)])
    make("y/seed-0", (3.0, math.nan, 2.0))
    answer = client.get("/runs/export?run=x/seed-0&run=y/seed-0&form=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="2-runs.csv"'
    assert answer.headers["x-left-out"] == "1"
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [row["schedule"] for row in rows] == ["x/seed-0"] * 30 + ["y/seed-0"] * 2
    assert [float(row["loss"]) for row in rows[:30]] == [5 / (1 + step) for step in range(30)]
    (tmp_path / "out.csv").write_text(answer.text)
    assert len(read_curves(tmp_path / "out.csv")) == 2
    lines = client.get("/runs/export?run=y/seed-0&form=jsonl&metric=seconds").text.splitlines()
    assert json.loads(lines[2]) == {"schedule": "y/seed-0", "step": 2, "lr": 0.1, "loss": 0.5}


def test_recipes_are_toml(client, make, root):
    make("a", seed=1)
    make("b c", seed=2)
    assert client.get("/runs/export?run=a&form=toml").text == (root / "a" / "recipe.toml").read_text()
    assert tomllib.loads(client.get("/runs/export?run=a&form=toml").text)["seed"] == 1
    both = tomllib.loads(client.get("/runs/export?run=a&run=b c&form=toml").text)
    assert (both["a"]["seed"], both["b c"]["seed"]) == (1, 2)


def test_a_name_is_quoted_in_csv(client, make):
    make('a,"b"', (3.0,))
    text = client.get("/runs/export", params={"run": 'a,"b"'}).text
    assert next(csv.DictReader(text.splitlines()))["schedule"] == 'a,"b"'


def test_refusals(client, make, root):
    run = make("a")
    for query, words in [
        ("", "run is missing"),
        ("run=a&form=xlsx", "form = &#39;xlsx&#39; is not known"),
        ("run=a&metric=val_loss", "no records of"),
    ]:
        answer = client.get(f"/runs/export?{query}")
        assert answer.status_code == 400
        assert words in answer.text
    (run.folder / "log.jsonl").write_text("{}\n{}\n")
    assert "line 1 is damaged" in client.get("/runs/export?run=a").text
    (run.folder / "recipe.toml").write_text("[")
    make("b")
    assert client.get("/runs/export?run=a&run=b&form=toml").status_code == 400
