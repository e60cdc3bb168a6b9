"""A run that is watched: it grows, is killed, disappears; two pages at once; with scripts and without."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

WRITER = """
import math, sys, time
from pathlib import Path
from thalweg.runs import Run
folder, steps, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
run = Run.create(folder, {"batch": 4, "data": {"context": 8}}, steps=steps)
with run.attempt():
    for step in range(steps):
        run.log(step, loss=5 / (1 + step), seconds=pause)
        if step == 0:
            print("begun", flush=True)
        time.sleep(pause)
"""
TINY = """
steps = 60
schedule = "constant:peak=2e-3"
batch = 2
[model]
dim = 16
layers = 1
heads = 1
context = 16
[data]
corpus = "stdlib"
tokenizer = "byte"
context = 16
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """The folder of the runs, one for all tests; each has runs of its own."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def address(root) -> Iterator[str]:
    """The address of one server for all tests."""
    command = [sys.executable, "-m", "thalweg", "web", str(root), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().split()[0].rstrip("/")
        process.terminate()


@pytest.fixture
def write(root) -> Iterator[Callable[..., subprocess.Popen]]:
    """``write(name, steps, pause)`` starts a process that logs a step every ``pause`` seconds; it is ended after."""
    with ExitStack() as stack:

        def start(name: str, steps: int = 2000, pause: float = 0.02) -> subprocess.Popen:
            command = [sys.executable, "-c", WRITER, str(root / name), str(steps), str(pause)]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout.readline() == "begun\n"
            return process

        yield start


def last_step(page) -> int:
    return json.loads(page.locator(".plot").get_attribute("data-points"))["lines"][0]["x"][-1]


def grows(page) -> None:
    """Waits until more is drawn than is now."""
    seen = last_step(page)
    for _ in range(100):
        if last_step(page) > seen:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"the curve still ends at {seen}")


def test_a_run_grows_and_is_killed_while_watched(address, open_page, write):
    process = write("a")
    page = open_page(f"{address}/runs/show/a?smooth=10")
    page.get_by_text("Watching: the curve grows").wait_for()
    grows(page)
    page.get_by_text("The same as a table").click()
    grows(page)
    assert page.locator("details.numbers[open]").count() == 1
    assert page.locator(".state .badge").inner_text() == "running"
    os.kill(process.pid, signal.SIGKILL)
    page.get_by_text("it was stopped or killed").wait_for()
    page.locator(".state .s-interrupted").wait_for()
    listing = open_page(f"{address}/runs?words=a&status=interrupted")
    assert listing.get_by_label("Tick a", exact=True).count() == 1


def test_a_folder_that_disappears_while_watched(address, open_page, write):
    process = write("gone")
    page = open_page(f"{address}/runs/show/gone", allow=("404",))
    grows(page)
    process.kill()
    process.wait()
    shutil.rmtree(Path(process.args[3]), ignore_errors=True)
    page.get_by_text("The folder of the run disappeared.").or_(page.get_by_text("stopped or killed")).first.wait_for()
    assert page.locator(".plot svg.wide").is_visible()  # what was seen stays


def test_a_run_that_ends_while_two_pages_watch(address, open_page, write):
    write("ends", steps=60, pause=0.05)
    pages = [open_page(f"{address}/runs/show/ends{query}") for query in ("", "?logy=1&x=seconds")]
    for page in pages:
        page.get_by_text("The run is done.").wait_for()
        page.get_by_text("60 of 60 steps").wait_for()
    assert "logy=1" in pages[1].url
    assert "logy" not in pages[0].url


@pytest.mark.slow  # starts torch
def test_a_real_training_is_seen_to_its_end(address, open_page, root, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    command = [sys.executable, "-m", "thalweg", "train", "tiny.toml", "--out", str(root / "tiny")]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
        page = open_page(f"{address}/runs")
        page.get_by_role("link", name="tiny").or_(page.get_by_role("heading", name="Runs")).first.wait_for()
        assert training.wait(60) == 0
    page.reload()
    page.get_by_role("link", name="tiny", exact=True).click()
    page.get_by_text("60 of 60 steps").wait_for()
    assert page.locator(".multiples a").count() >= 3
    assert 'schedule = "constant:peak=2e-3"' in page.locator("#recipe").inner_text()


def test_without_scripts_a_watched_page_asks_again(address, open_page, write):
    write("plain")
    page = open_page(f"{address}/runs/show/plain", java_script_enabled=False)
    assert page.locator("meta[http-equiv=refresh]").get_attribute("content") == "5"
    seen = last_step(page)
    page.reload()
    assert last_step(page) > seen


def test_the_list_follows_runs_and_keeps_what_is_ticked(address, open_page, write):
    process = write("listed")
    page = open_page(f"{address}/runs?words=listed")
    page.get_by_label("Tick listed").check()
    process.kill()
    page.locator("tbody .s-interrupted").wait_for()
    assert page.get_by_label("Tick listed").is_checked()
