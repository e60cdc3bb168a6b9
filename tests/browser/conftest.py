"""A real browser on a real server: the system's Chromium, driven by Playwright, and ``thalweg web`` in a process.

Every page fails its test when it asks for anything outside its server, logs an error or throws.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass(frozen=True, slots=True)
class Server:
    """A running ``thalweg web``."""

    address: str
    root: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def browser():
    """Chromium, started for each file of tests, since Playwright's event loop would be in the way of other files.

    Without one the tests are skipped, except in CI, which installs it.
    """
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI has no Chromium: .ci/run installs it")
        pytest.skip("no Chromium on this machine: install the package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """``serve(*options, root=None)`` starts ``thalweg web`` at a free port; all are stopped after the test."""
    with ExitStack() as stack:

        def start(*options: str, root: Path | None = None) -> Server:
            root = root or tmp_path / "runs"
            root.mkdir(exist_ok=True)
            command = [sys.executable, "-m", "thalweg", "web", str(root), "--port", "0", *options]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            stack.callback(process.stdout.close)
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
            return Server(process.stdout.readline().split()[0].rstrip("/"), root, process)

        yield start


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., object]]:
    """``open_page(address, **context)`` opens a page in a fresh profile; what it must not do fails the test.

    ``context`` is what Playwright's ``new_context`` takes (``java_script_enabled``, ``viewport``, ``color_scheme``).
    ``allow`` names words of console errors that the test provokes, as the status of a refused request.
    """
    wrong: list[str] = []
    with ExitStack() as stack:

        def start(address: str, *, allow: tuple[str, ...] = (), **context):
            profile = browser.new_context(**context)
            stack.callback(profile.close)
            page = profile.new_page()
            page.set_default_timeout(15_000)
            origin = "/".join(address.split("/")[:3])
            page.on("request", lambda r: None if r.url.startswith((origin, "data:", "blob:")) else wrong.append(r.url))
            page.on("pageerror", lambda error: wrong.append(f"error: {error}"))

            def heard(message) -> None:
                if message.type == "error" and not any(word in message.text for word in allow):
                    wrong.append(f"console: {message.text}")

            page.on("console", heard)
            page.goto(address)
            return page

        yield start
    assert not wrong, wrong
