"""The runner with a study of its own: stores, resumes, parallelises, refuses."""

from __future__ import annotations

import json
import re
import sys

import pytest

from thalweg.errors import InputError
from thalweg.studies.runner import run_study

MODULE = """
from dataclasses import dataclass
from pathlib import Path
from thalweg.studies.base import decide

SLUG, TITLE, ARXIV, CLAIM, UNIT = "pilot-study", "A title", "0000.00001", "It grows.", "apples"

@dataclass(frozen=True)
class Config:
    gain: float

SMOKE, LAPTOP, GPU = Config(1.0), Config(2.0), Config(4.0)

def run(config, *, seed, device, folder):
    marker = Path(__file__).with_name("calls")
    marker.write_text((marker.read_text() if marker.exists() else "") + f"{seed} ")
    if seed == 3:
        raise RuntimeError("seed 3 fails")
    for k in range(2):
        yield {"k": k, "gain": config.gain + 0.1 * seed, "device": device, "folder": folder.name}

def verdict(records):
    return decide([record["gain"] for record in records if record["k"] == 1], threshold=0.5)

def figure(records):
    from matplotlib.figure import Figure
    figure = Figure()
    figure.subplots().plot([record["gain"] for record in records])
    return figure
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Runs the study in ``tmp_path / out``; ``study.calls()`` are the seeds that ran."""
    name = f"study_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)

    def go(**options):
        return run_study("pilot-study", tmp_path / "out", slugs={"pilot-study": name}, **options)

    go.calls = lambda: (tmp_path / "calls").read_text().split()
    go.folder = tmp_path / "out"
    yield go
    sys.modules.pop(name, None)


def test_an_outcome_and_its_files(study):
    said: list[str] = []
    outcome = study(scale="smoke", seeds=2, say=said.append)
    assert (outcome["verdict"], outcome["runs"], outcome["unit"]) == ("reproduced", 2, "apples")
    assert outcome["effect"] == pytest.approx(1.05)
    assert outcome["error"] == pytest.approx(0.05)
    assert [record["seed"] for record in outcome["records"]] == [0, 0, 1, 1]
    assert outcome["records"][0]["folder"] == "work-0"
    assert said[0] == "pilot-study (smoke): seed 0"
    assert re.fullmatch(r"pilot-study \(smoke\): seed 1, about \d+ s left", said[1])
    assert len(said) == 2
    stored = json.loads((study.folder / "verdict.json").read_text())
    assert stored == {key: value for key, value in outcome.items() if key not in ("records", "figure")}
    assert json.loads((study.folder / "seed-1.json").read_text())["environment"]["versions"]["thalweg"]
    svg = (study.folder / "figure.svg").read_text()
    assert "<svg" in svg
    assert study(scale="smoke", seeds=2)["records"] == outcome["records"]
    assert (study.folder / "figure.svg").read_text() == svg  # the same evidence draws the same bytes
    assert study.calls() == ["0", "1"]


def test_one_seed_is_inconclusive_and_writes_strict_json(study):
    outcome = study(scale="smoke", seeds=1)
    assert (outcome["verdict"], outcome["error"]) == ("inconclusive", None)
    json.loads((study.folder / "verdict.json").read_text(), parse_constant=pytest.fail)


def test_seeds_that_are_done_are_kept_when_a_later_one_fails(study):
    with pytest.raises(RuntimeError, match="seed 3 fails"):
        study(scale="smoke", seeds=4)
    assert study.calls() == ["0", "1", "2", "3"]
    assert study(scale="smoke", seeds=3)["runs"] == 3
    assert study.calls() == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "lapptop"}, "scale 'lapptop' is not known: did you mean 'laptop'"),
        ({"seeds": 0}, "seeds = 0 and jobs = 1 must be at least 1"),
        ({"jobs": 0}, "jobs = 0 must be at least 1"),
        ({"scale": "gpu"}, "scale gpu needs a GPU"),
        ({"device": "cdua", "scale": "gpu"}, "device 'cdua' is not there"),
    ],
)
def test_refusals(study, options, message):
    with pytest.raises(InputError, match=message):
        study(**options)
    assert not study.folder.exists()


def test_a_folder_of_another_scale_is_refused(study):
    study(scale="smoke", seeds=1)
    with pytest.raises(InputError, match="holds records of another study, scale or version"):
        study(scale="laptop", seeds=1)
    assert study(scale="smoke", seeds=1)["runs"] == 1
