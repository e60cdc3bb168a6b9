"""thalweg launch: what it refuses, and the script it writes; pools are tested beside their code."""

from __future__ import annotations

import json

import pytest

from thalweg.cli import main


def test_a_script_for_slurm(tmp_path, tiny, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(tiny().to_toml())
    words = ["launch", str(tmp_path / "a.toml"), str(tmp_path / "b.toml"), "--out", str(tmp_path / "runs")]
    assert main([*words, "--slurm", str(tmp_path / "job.sh"), "--processes", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["script"] == str(tmp_path / "job.sh")
    text = (tmp_path / "job.sh").read_text()
    assert "#SBATCH --array=0-1\n" in text
    assert f"folders=({tmp_path}/runs/a {tmp_path}/runs/b)" in text
    assert not (tmp_path / "runs").exists()


def test_an_address_where_nothing_is(tmp_path, tiny, capsys):
    pytest.importorskip("ray")
    (tmp_path / "a.toml").write_text(tiny().to_toml())
    assert main(["launch", str(tmp_path / "a.toml"), "--out", str(tmp_path / "runs"), "--ray", "127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("thalweg: address = '127.0.0.1:1': nothing answers there")
    assert said.count("\n") == 1


def test_recipes_of_one_name(tmp_path, capsys):
    assert main(["launch", "a/x.toml", "b/x.toml"]) == 2
    assert "no two of one name" in capsys.readouterr().err
