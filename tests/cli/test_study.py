"""thalweg study: what list, run and show print, where outcomes lie, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thalweg.cli import main
from thalweg.runs.lock import FolderLock
from thalweg.studies import STUDIES, base

STUDY = """
from dataclasses import dataclass

from thalweg.studies.base import decide

SLUG, TITLE, ARXIV, CLAIM, UNIT = "toy", "A toy", "0000.00000", "Up.", "nats/token"


@dataclass(frozen=True)
class Config:
    shift: float


SMOKE, LAPTOP, GPU = Config(0.0), Config(1.0), Config(-1.0)
calls = []


def run(config, *, seed, device, folder):
    calls.append((seed, device))
    yield {"value": config.shift + 0.01 * (-1) ** seed}


def verdict(records):
    return decide([record["value"] for record in records], threshold=0.0)


def figure(records):
    from matplotlib.figure import Figure

    page = Figure(figsize=(1, 1))
    page.subplots().plot([record["value"] for record in records])
    return page
"""
KNOWN = {
    "slug": "toy",
    "title": "A toy",
    "arxiv": "0000.00000",
    "claim": "Up.",
    "unit": "nats/token",
    "scale": "laptop",
    "verdict": "inconclusive",
    "effect": 0.5,
    "error": None,
    "runs": 1,
    "command": "thalweg study run toy",
    "date": "2026-01-01",
    "device": "cpu",
    "versions": {},
    "paper": [{"what": "gap", "value": "0.7 nats", "source": "Table 9"}],
    "ours": [{"what": "gap", "value": 0.5, "unit": "nats/token"}],
}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of one number, in place of the real ones; outcomes go under the returned folder."""
    card = tmp_path / "studies" / "toy"
    card.mkdir(parents=True)
    (card / "card.md").write_text("# A toy card\n")
    (card / "expected.json").write_text(json.dumps(KNOWN))
    (tmp_path / "toy_study_module.py").write_text(STUDY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("thalweg.studies.STUDIES", {"toy": "toy_study_module"})
    monkeypatch.setattr(base, "folder_of", lambda slug: tmp_path / "studies" / slug)
    monkeypatch.setenv("THALWEG_HOME", str(tmp_path / "home"))
    monkeypatch.delitem(__import__("sys").modules, "toy_study_module", raising=False)
    return tmp_path / "home"


def result(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert main([*words, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["command"]) == (1, " ".join(words[:2]))
    return document["result"]


def test_list_has_the_promised_columns(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = result(capsys, "study", "list")["studies"]
    keys = ("slug", "title", "arxiv", "scale", "verdict", "effect", "error", "unit", "runs")
    assert row == {key: KNOWN[key] for key in keys} | {"topic": "other"}
    assert main(["study", "list"]) == 0
    out = capsys.readouterr().out
    assert "inconclusive" in out
    assert "+0.5 ± ? nats/token" in out


def test_list_selects_by_topic_and_verdict(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(result(capsys, "study", "list", "--topic", "other")["studies"]) == 1
    assert result(capsys, "study", "list", "--topic", "data")["studies"] == []
    assert len(result(capsys, "study", "list", "--verdict", "inconclusive")["studies"]) == 1
    assert result(capsys, "study", "list", "--verdict", "reproduced")["studies"] == []


def test_run_stores_resumes_and_starts_anew(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = result(capsys, "study", "run", "toy", "--seeds", "2")
    folder = toy / "studies" / "toy-laptop"
    assert first["folder"] == str(folder)
    assert (first["verdict"], first["runs"]) == ("reproduced", 2)
    assert first["effect"] == pytest.approx(1.0)
    assert first["error"] == pytest.approx(0.01)
    assert Path(first["figure"]).read_text().lstrip().startswith("<?xml")
    import toy_study_module  # pyrefly: ignore

    assert toy_study_module.calls == [(0, "cpu"), (1, "cpu")]
    third = result(capsys, "study", "run", "toy", "--seeds", "3")
    assert toy_study_module.calls[2:] == [(2, "cpu")]  # only the seed that was missing
    assert third["runs"] == 3
    assert result(capsys, "study", "run", "toy", "--seeds", "2", "--fresh")["effect"] == pytest.approx(1.0)
    assert toy_study_module.calls[3:] == [(0, "cpu"), (1, "cpu")]
    assert not (folder / "seed-2.json").exists()


def test_run_prints_verdict_figure_and_the_papers_numbers(
    toy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["study", "run", "toy", "--out", str(tmp_path / "there")]) == 0
    streams = capsys.readouterr()
    assert "toy (laptop): reproduced" in streams.out
    assert "nats/token over 3 seeds" in streams.out
    assert str(tmp_path / "there" / "figure.svg") in streams.out
    assert "0.7 nats" in streams.out
    assert "Table 9" in streams.out
    assert "seed 2" in streams.err
    assert "seed 2" not in streams.out


def test_strict_exit_codes(toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["study", "run", "toy", "--strict"]) == 0
    assert main(["study", "run", "toy", "--scale", "smoke", "--seeds", "2", "--strict"]) == 4
    assert main(["study", "run", "toy", "--scale", "smoke", "--seeds", "2"]) == 0
    import toy_study_module  # pyrefly: ignore

    monkeypatch.setattr(toy_study_module, "LAPTOP", toy_study_module.Config(-1.0))
    assert main(["study", "run", "toy", "--strict", "--fresh"]) == 3
    capsys.readouterr()
    one = result(capsys, "study", "run", "toy", "--seeds", "1", "--out", str(toy / "one"), "--strict", code=4)
    assert one["error"] is None  # one seed has no error over seeds


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "toi"], "toy"),
        (["run", "toy", "--seeds", "0"], "--seeds 0"),
        (["run", "toy", "--jobs", "0"], "--jobs 0"),
        (["run", "toy", "--scale", "gpu"], "needs a GPU"),
        (["run", "toy", "--scale", "labtop"], "labtop"),
        (["run", "toy", "--device", "abacus"], "abacus"),
        (["show", "toi"], "toy"),
        (["list", "--topic", "dat"], "data"),
        (["list", "--verdict", "proved"], "reproduced"),
    ],
)
def test_bad_input_is_one_line_and_loses_nothing(
    toy: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    for scale in ("laptop", "gpu"):
        folder = toy / "studies" / f"toy-{scale}"
        folder.mkdir(parents=True)
        (folder / "study.json").write_text("{}")
    fresh = ["--fresh"] if words[0] == "run" else []
    assert main(["study", *words, *fresh]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert said in streams.err
    assert len(list(toy.glob("studies/*/study.json"))) == 2


def test_fresh_deletes_nothing_that_is_not_an_outcome(
    toy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.txt").write_text("one")
    assert main(["study", "run", "toy", "--out", str(precious), "--fresh"]) == 2
    assert "study.json" in capsys.readouterr().err
    assert (precious / "chapter.txt").read_text() == "one"


def test_fresh_leaves_a_folder_that_is_being_written(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "run", "toy"]) == 0
    folder = toy / "studies" / "toy-laptop"
    lock = FolderLock(folder)
    lock.acquire()
    for words in (["--fresh"], ["--seeds", "4"]):
        capsys.readouterr()
        assert main(["study", "run", "toy", *words]) == 2
        assert "being written" in capsys.readouterr().err
    lock.release()
    assert (folder / "seed-2.json").exists()


def test_folder_of_another_scale_is_refused(toy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = str(tmp_path / "there")
    assert main(["study", "run", "toy", "--out", folder]) == 0
    assert main(["study", "run", "toy", "--out", folder, "--scale", "smoke"]) == 2
    assert "another study, scale or version" in capsys.readouterr().err


def test_show_prints_card_and_numbers(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "show", "toy"]) == 0
    out = capsys.readouterr().out
    for part in ("# A toy card", "2026-01-01", "thalweg study run toy", "inconclusive", "0.7 nats"):
        assert part in out
    shown = result(capsys, "study", "show", "toy")
    assert shown == {"card": "# A toy card\n", "expected": KNOWN}


def test_the_river_valley_study_is_listed_and_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = "wsd-river-valley"
    monkeypatch.setattr("thalweg.studies.STUDIES", {slug: STUDIES[slug]})
    (row,) = result(capsys, "study", "list")["studies"]
    assert (row["slug"], row["arxiv"], row["scale"]) == (slug, "2410.05192", "laptop")
    assert row["runs"] >= 3
    assert "## Differs" in result(capsys, "study", "show", slug)["card"]
