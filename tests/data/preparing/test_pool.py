from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from preparing_parts import Killer, Slow, mixed_corpus, settings, tree
from thalweg.data import prepare
from thalweg.data.preparing.engines import make_engine
from thalweg.errors import InputError


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return mixed_corpus(tmp_path / "texts")


def test_pool_gives_the_same_files(texts: Path, tmp_path: Path):
    asked = settings(texts, tokens={"tokenizer": "bpe:300"})
    prepare(asked, tmp_path / "memory")
    prepare(asked, tmp_path / "pool", engine="pool", workers=2)
    assert tree(tmp_path / "memory") == tree(tmp_path / "pool")


def test_killed_worker_is_replaced(texts: Path, tmp_path: Path):
    asked = settings(texts, scores=[{"name": "length", "function": "given:f"}])
    prepare(asked, tmp_path / "memory", functions={"f": Killer(tmp_path / "none", times=0)})
    prepare(asked, tmp_path / "pool", engine="pool", workers=2, functions={"f": Killer(tmp_path / "killed", times=2)})
    assert len(list(tmp_path.glob("killed*"))) == 2
    assert tree(tmp_path / "pool") == tree(tmp_path / "memory")


def test_worker_that_always_dies_ends_the_work(texts: Path, tmp_path: Path):
    asked = settings(texts, scores=[{"name": "length", "function": "given:f"}], part_mb=64)
    with pytest.raises(RuntimeError, match="died 3 times in a row"):
        prepare(
            asked, tmp_path / "out", engine="pool", workers=1, functions={"f": Killer(tmp_path / "killed", times=99)}
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "pol"}, "did you mean 'pool'"),
        ({"name": "pool", "workers": -1}, "workers = -1"),
        ({"name": "pool", "address": "auto"}, "is for the engine ray"),
    ],
)
def test_unusable_engines_are_named(arguments: dict, words: str):
    with pytest.raises(InputError, match=words):
        make_engine(**arguments)


def test_error_of_a_part_comes_through_the_pool(texts: Path, tmp_path: Path):
    (texts / "one.jsonl").write_bytes(b"{")
    with pytest.raises(InputError, match=r"one\.jsonl line 1 \(byte 0\) is not JSON"):
        prepare(settings(texts), tmp_path / "out", engine="pool", workers=2)


CALLER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from preparing_parts import Slow, settings
from thalweg.data import prepare
if __name__ == "__main__":
    asked = settings(Path(sys.argv[2]), scores=[{"name": "length", "function": "given:f"}])
    prepare(asked, sys.argv[3], engine="pool", workers=2, functions={"f": Slow()})
"""


def test_killed_caller_takes_its_workers_along_and_resumes(texts: Path, tmp_path: Path):
    (tmp_path / "caller.py").write_text(CALLER)
    out = tmp_path / "out"
    root = Path(__file__).parents[2]
    words = [sys.executable, str(tmp_path / "caller.py"), str(root), str(texts), str(out)]
    caller = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait(lambda: len(list(out.glob(".work/parts/*.json"))) >= 2)
    finally:
        caller.kill()
        caller.wait()
    assert not (out / "manifest.json").exists()
    _wait(lambda: not _running(caller.pid))
    kept = {file: file.stat().st_mtime_ns for file in out.glob(".work/parts/*.json")}
    asked = settings(texts, scores=[{"name": "length", "function": "given:f"}])
    seen: list[dict] = []

    def look(step: str, done: int, total: int) -> None:
        if step == "compare":
            seen.append({file: file.stat().st_mtime_ns for file in kept})

    prepare(asked, out, functions={"f": Slow(0)}, progress=look)
    assert seen[0] == kept  # not done again
    prepare(asked, tmp_path / "whole", functions={"f": Slow(0)})
    assert tree(out) == tree(tmp_path / "whole")


def _wait(until: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)


def _running(session: int) -> bool:
    """Whether a process of the session is left."""
    found = subprocess.run(["ps", "-s", str(session), "-o", "stat="], capture_output=True, text=True).stdout.split()
    return any(not state.startswith("Z") for state in found)
