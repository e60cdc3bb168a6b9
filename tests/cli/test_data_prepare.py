from __future__ import annotations

import json
from pathlib import Path

import pytest

from preparing_parts import mixed_corpus
from thalweg.cli import main

TEXT = """
part_mb = 0.01
[[inputs]]
path = "{folder}"
id = "id"
source = "made"
[normalise]
[exact]
[minhash]
[tokens]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = mixed_corpus(tmp_path / "texts")
    (tmp_path / "p.toml").write_text(TEXT.format(folder=folder))
    return tmp_path / "p.toml"


def test_table_says_what_each_step_left(file: Path, capsys: pytest.CaptureFixture[str]):
    out = file.parent / "out"
    assert main(["data", "prepare", str(file), "--out", str(out)]) == 0
    found = capsys.readouterr()
    assert "exact" in found.out
    assert "duplicate 5" in found.out
    assert f"{out}: 30 of 40 documents" in found.out
    assert "duplicates: 10 (25.00% of what was read)" in found.out
    assert "documents/s" in found.out
    assert "read: " in found.err
    assert main(["data", "prepare", str(file), "--out", str(out)]) == 0
    assert "already done" in capsys.readouterr().out


def test_json_is_one_object_with_the_manifest(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["data", "prepare", str(file), "--out", str(file.parent / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"] == "data prepare"
    assert found["result"]["manifest"]["documents"] == 30
    assert found["result"]["fresh"] is True
    assert json.loads((file.parent / "out" / "manifest.json").read_text()) == found["result"]["manifest"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "pol"], "did you mean 'pool'"),
        (["--engine", "pool", "--address", "auto"], "is for the engine ray"),
    ],
)
def test_mistakes_exit_with_two(file: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["data", "prepare", str(file), "--out", str(file.parent / "out"), *words]) == 2
    assert message in capsys.readouterr().err
