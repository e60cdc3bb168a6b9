from __future__ import annotations

import json

import numpy as np
import pytest

from planned_data import folder
from thalweg.cli import main


@pytest.fixture
def plan(tmp_path):
    texts = [" ".join(str(10 * i + t) for t in range(1, 9)) for i in range(20)]
    columns = {"id": [f"d{i}" for i in range(20)], "quality": np.arange(20.0)}
    folder(tmp_path / "web", [{"texts": texts, **columns}])
    path = tmp_path / "plan.toml"
    path.write_text(
        'context = 4\nblock = 8\n[sources.web]\npath = "web"\nscore = "quality"\n'
        '[[phases]]\nname = "all"\n[[phases]]\nname = "best"\norder = "ascend"\n'
        "take.web = { keep_top = 0.2, repeat = 3 }\n"
    )
    return path


def answer(capsys, *words: str) -> dict:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["result"]


def test_a_plan_is_counted(plan, capsys):
    assert main(["data", "plan", str(plan), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "best   web     ascend   4          12    108     100.00%  3" in out
    assert "1       1.00  3.00  4.00" in out
    found = answer(capsys, "data", "plan", str(plan))
    assert found["windows"] == 45 + 27
    assert len(found["fingerprint"]) == 64


def test_the_picture_of_a_plan(plan, capsys, tmp_path):
    assert main(["data", "plan", str(plan), "--plot", str(tmp_path / "p.svg")]) == 0
    assert (tmp_path / "p.svg").read_text().count("<text") + 1
    assert main(["data", "plan", str(plan), "--plot", "p.doc"]) == 2


def test_a_batch_and_a_text_are_shown(plan, capsys):
    assert main(["data", "inspect", str(plan), "--step", "2", "--batch", "4"]) == 0
    assert "step 2, 4 windows" in capsys.readouterr().out
    pieces = answer(capsys, "data", "inspect", str(plan), "--step", "2", "--batch", "4")["pieces"]
    assert {piece["window"] for piece in pieces} == {8, 9, 10, 11}
    found = answer(capsys, "data", "inspect", str(plan), "--find", "d19", "--batch", "4")["found"]
    assert [each["id"] for each in found] == ["d19"]
    assert main(["data", "inspect", str(plan), "--find", "d19"]) == 0
    assert "1 documents with 'd19'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('take.web = { keep_top = 0.2, repeat = 3 }', "tokens = 99999"), "best asks for 99,999 tokens but"),
        (('score = "quality"', 'score = "qualty"'), "is no column of numbers of it; there are: quality"),
        (("keep_top", "keep_tpo"), "did you mean 'keep_top'?"),
        (('path = "web"', 'path = "wbe"'), "sources.web: corpus 'wbe' is neither a file or folder"),
        (('order = "ascend"', 'weights = { web = 0.5 }\ntokens = 9'), "weights sum to 0.5, not 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_exits_with_2_and_one_sentence(plan, capsys, change, message):
    plan.write_text(plan.read_text().replace(*change))
    for command in ("plan", "inspect"):
        assert main(["data", command, str(plan)]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


def test_a_changed_file_is_found_when_asked(plan, capsys):
    path = plan.parent / "web" / "tokens" / "part-00000.bin"
    path.write_bytes(path.read_bytes()[::-1])
    assert main(["data", "plan", str(plan)]) == 0
    assert main(["data", "plan", str(plan), "--verify"]) == 2
    assert "differs from the SHA-256" in capsys.readouterr().err
