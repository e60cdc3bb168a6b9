"""A study that is started, watched, stopped and killed in a browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time

import pytest

from outcome_folders import make_outcome
from thalweg.runs.lock import FolderLock
from thalweg.runs.state import write_json
from thalweg.studies.outcomes import REQUEST, writer_of

FAST = "power-law-composition"  # its smoke preset takes a tenth of a second a seed


@pytest.mark.slow
def test_a_study_is_started_and_watched_to_its_end(serve, open_page):
    page = open_page(f"{serve('--write').address}/studies/{FAST}")
    page.set_default_timeout(60_000)
    page.get_by_text("Start it from here").press("Enter")
    page.get_by_label("Seeds", exact=True).fill("2")
    page.get_by_role("button", name="Start", exact=True).press("Enter")
    page.wait_for_url(f"**/outcomes/{FAST}-smoke")
    assert re.search("is running|is the next", page.get_by_role("status").inner_text())
    page.get_by_text("This outcome has ended.").wait_for()
    assert page.locator("figure img").evaluate("image => image.complete && image.naturalWidth > 0")
    assert "A verdict at scale smoke" in page.locator("header").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="All records as JSON lines").click()
    assert download.value.suggested_filename == f"{FAST}-smoke.jsonl"


def test_one_that_is_killed_while_it_is_watched(serve, open_page):
    server = serve("--write")
    page = open_page(f"{server.address}/studies/{FAST}")
    page.get_by_text("Start it from here").click()
    page.get_by_label("Scale").select_option("laptop")
    page.get_by_role("button", name="Start", exact=True).click()
    folder = server.root / "studies" / f"{FAST}-laptop"
    other = open_page(f"{server.address}/studies/{FAST}")  # a second browser starts the same
    other.get_by_text("Start it from here").click()
    other.get_by_label("Scale").select_option("laptop")
    other.get_by_role("button", name="Start", exact=True).click()
    assert "nothing was started a second time" in other.locator("main").inner_text()
    end = time.monotonic() + 30
    while (process := writer_of(folder)) is None and time.monotonic() < end:
        time.sleep(0.05)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    for watched in (page, other):
        watched.get_by_text("was killed by signal 9").wait_for()
        assert watched.get_by_role("button", name="Start", exact=True).is_enabled()


def test_a_stop_and_a_folder_that_disappears(serve, open_page):
    server = serve("--write")
    folder = make_outcome(server.root, f"{FAST}-laptop", slug=FAST)
    (folder / "verdict.json").unlink()
    write_json(folder / REQUEST, {"slug": FAST, "scale": "laptop", "seeds": 3, "jobs": 1, "state": "running"})
    lock = FolderLock(folder)
    lock.acquire()  # as if a server before had started it; this process is the study
    asked = []
    before = signal.signal(signal.SIGINT, lambda *_: asked.append(1))
    try:
        page = open_page(f"{server.address}/studies/{FAST}/outcomes/{FAST}-laptop", allow=("404",))
        assert "2 of 3" in page.locator("#progress").inner_text()
        page.get_by_role("button", name="Stop").press("Enter")
        page.get_by_text("was asked to stop").wait_for()
        assert asked == [1]
        shutil.rmtree(folder)
        page.get_by_text("or no longer").wait_for()
    finally:
        signal.signal(signal.SIGINT, before)
        lock.release()


def test_progress_without_javascript(serve, open_page):
    server = serve()
    folder = make_outcome(server.root)
    (folder / "verdict.json").unlink()
    lock = FolderLock(folder)
    lock.acquire()
    page = open_page(f"{server.address}/studies/sam/outcomes/sam-laptop", java_script_enabled=False)
    assert "is running" in page.get_by_role("status").inner_text()
    lock.release()
    page.get_by_text("ended without a verdict").wait_for()  # the page loads itself anew
