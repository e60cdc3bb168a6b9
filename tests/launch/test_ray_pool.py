"""The pool on Ray gives what one process gives, after a lost worker, a Ctrl-C and a failure too."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from thalweg.errors import InputError, Interrupted, MissingExtra
from thalweg.launch import sweeping
from thalweg.launch.local import Job
from thalweg.launch.ray_pool import RayPool
from thalweg.launch.sweep import Contender, Regime, Sweep
from thalweg.runs import Run
from thalweg.runs.ledger import read_ledger
from thalweg.train.fork import shared_steps
from thalweg.train.loop import Diverged, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One Ray for all tests of this file."""
    pytest.importorskip("ray")
    from thalweg.data.preparing.ray_engine import join_ray, quiet

    found, _ = join_ray(2)
    yield found
    with quiet():
        found.shutdown()


def measured(folder: Path) -> list[dict]:
    records = Run.open(folder).records()
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def holders(folder: Path) -> list[int]:
    """Processes that have the run's log open."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            files = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if str(folder / "log.jsonl") in files:
            found.append(int(pid))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny, tiny_data) -> Path:
    """The run that all are compared with, made in this process."""
    run = Run.create(tmp_path_factory.mktemp("whole") / "run", recipe(tiny).to_dict(), steps=400)
    train(run, data=tiny_data)
    return run.folder


def recipe(tiny: Any) -> Any:
    every = tiny().checkpoint.__class__(every=50, at=(20,))
    return tiny(steps=400, schedule="constant:peak=0.01,warmup=4", checkpoint=every)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_lost_worker_and_a_branch(ray, tmp_path, tiny, whole):
    killed: list[int] = []

    def kill(progress: Any) -> None:
        if not killed and 50 < progress.step < 350:
            killed.extend(holders(tmp_path / "trunk"))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    branch = tiny(steps=60, schedule="two-stage:peak=0.01,warmup=4,at=20,then=0.001")
    with RayPool(workers=2, on_progress=kill) as pool:
        pool.run([Job(tmp_path / "branch", branch, tmp_path / "trunk"), Job(tmp_path / "trunk", recipe(tiny))])
    assert len(killed) == 1
    assert Run.open(tmp_path / "trunk").state["attempts"] == 2
    assert measured(tmp_path / "trunk") == measured(whole)
    assert shared_steps(Run.open(tmp_path / "branch")) == 20
    assert Run.open(tmp_path / "branch").status == "done"


def test_ctrl_c_stops_with_a_checkpoint_and_the_same_call_resumes(ray, tmp_path, tiny, whole):
    sent: list[int] = []

    def interrupt(progress: Any) -> None:
        if not sent and progress.step > 20:
            sent.append(progress.step)
            assert threading.current_thread() is threading.main_thread()
            os.kill(os.getpid(), signal.SIGINT)

    jobs = [Job(tmp_path / "run", recipe(tiny))]
    with pytest.raises(Interrupted), RayPool(workers=1, on_progress=interrupt) as pool:
        pool.run(jobs)
    run = Run.open(tmp_path / "run")
    assert run.status == "interrupted"
    assert run.checkpoints()[-1].step == len(run.records()) < 400
    with RayPool(workers=1) as pool:
        pool.run(jobs)
        pool.run(jobs)  # done: nothing happens
    assert measured(tmp_path / "run") == measured(whole)
    assert run.state["attempts"] == 2


def test_a_failing_job_says_why_or_is_tolerated(ray, tmp_path, tiny):
    bad = tiny(steps=50, schedule="constant:peak=1e30", clip=0.0)
    with pytest.raises(Diverged, match="the training loss is nan"), RayPool(workers=1) as pool:
        pool.run([Job(tmp_path / "bad", bad)])
    with RayPool(workers=1, tolerate=(Diverged,)) as pool:
        pool.run([Job(tmp_path / "again", bad)])
    small = tiny(model=tiny().model.__class__(dim=16, layers=1, heads=2, context=16, vocab_size=32))
    with pytest.raises(InputError, match="vocab_size = 32 does not cover"), RayPool(workers=1) as pool:
        pool.run([Job(tmp_path / "small", small)])
    assert not (tmp_path / "small").exists()


class Here:
    """The pool of a sweep that trains in this process."""

    def __init__(self, **options: Any) -> None:
        self.tolerate = options["tolerate"]

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, jobs: Any) -> None:
        for job in jobs:
            with suppress(*self.tolerate):
                train(Run.resume_or_create(job.folder, job.recipe.to_dict(), steps=job.recipe.steps))


def test_a_sweep_leaves_the_same_ledger(ray, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(sweeping, "LocalPool", Here)
    adamw = Contender(start={"lr": 0.01}, grid={"lr": (0.01, 0.03, 1e30)})
    sweep = Sweep(tiny(), regimes=(Regime(512),), optimizers={"adamw": adamw}, confirm=(1,))
    books = []
    for name in ("", "local"):
        path = tmp_path / f"here{name}" / "ledger.jsonl"
        sweeping.SweepRunner(sweep, path, ray=name).run()
        books.append({record["key"]: record | {"seconds": 0} for record in read_ledger(path)})
    assert len(books[0]) >= 4
    assert timeless(books[0]) == timeless(books[1])


def timeless(value: Any) -> Any:
    """Without times, and with nan equal to itself."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in ("seconds", "time", "made", "folder")}
    return [timeless(item) for item in value] if isinstance(value, list) else repr(value)


def test_refusals(monkeypatch):
    with pytest.raises(InputError, match="must be at least 1"):
        RayPool(workers=0)
    pytest.importorskip("ray")
    with pytest.raises(InputError, match=r"address = '127.0.0.1:1': nothing answers there"):
        RayPool(workers=1, address="127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r'pip install "thalweg\[scale\]"'):
        RayPool(workers=1)
