"""The runner with a study of its own: stores, resumes, parallelises, refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from thalweg.errors import InputError
from thalweg.runs.lock import FolderLock, is_locked
from thalweg.studies import runner
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


def test_records_are_seen_while_a_seed_runs(study, monkeypatch):
    seen: list[list[str]] = []
    written = runner.write_atomic

    def look(path, content):
        if path.name.startswith("seed-"):
            seen.append((study.folder / f"{path.stem}.part").read_text().splitlines())
        return written(path, content)

    monkeypatch.setattr(runner, "write_atomic", look)
    outcome = study(scale="smoke", seeds=2)
    assert [json.loads(line) for lines in seen for line in lines] == outcome["records"]
    assert not list(study.folder.glob("*.part"))
    assert outcome["threshold"] == 0.5


def test_a_folder_has_one_writer(study):
    study.folder.mkdir()
    lock = FolderLock(study.folder)
    lock.acquire()
    with pytest.raises(InputError, match="being written by process"):
        study(scale="smoke", seeds=1)
    lock.release()
    assert study(scale="smoke", seeds=1)["runs"] == 1
    assert not is_locked(study.folder)


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


SLEEPER = """
import signal
import subprocess
import sys
import time
from pathlib import Path
from thalweg.studies.runner import run_study

if __name__ == "__main__":
    run_study("pilot-study", Path(sys.argv[1]), slugs={"pilot-study": "sleeper"}, scale="smoke", seeds=6, jobs=2)
"""


@pytest.mark.slow
def test_ctrl_c_ends_seeds_that_run_beside_each_other(tmp_path):
    slow = "    import time\n    yield {}\n    time.sleep(60)\n    for k in range(2):"
    (tmp_path / "sleeper.py").write_text(MODULE.replace("    for k in range(2):", slow))
    (tmp_path / "main.py").write_text(SLEEPER)
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "main.py", str(out)], cwd=tmp_path, start_new_session=True)
    try:
        end = time.monotonic() + 60
        while len([part for part in out.glob("*.part") if part.stat().st_size]) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) != 0
    finally:
        process.kill()
        process.wait()
    assert sorted(part.name for part in out.glob("*.part")) == ["seed-0.part", "seed-1.part"]
