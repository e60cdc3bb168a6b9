"""How long the planner's page takes from an edit to the answer: at the server, and in a browser with its 30 ms pause.

    python benchmarks/planner_page.py [--edits 200]

Every edit asks for a budget that was not asked before, with 2B unique tokens, so that nothing is kept from before. The
browser part needs Chromium and Playwright and is left out without them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np

SETTLE = 20  # edits in a browser


def said(name: str, seconds: list[float]) -> None:
    """Prints median and 95 %."""
    middle, high = (1e3 * float(q) for q in np.quantile(seconds, (0.5, 0.95)))
    print(f"{name}: median {middle:.1f} ms, 95 % {high:.1f} ms, {len(seconds)} edits")


def server_side(address: str, edits: int) -> None:
    """Requests of the answer alone, one after another."""
    taken = []
    for k in range(edits + 5):
        asked = Request(f"{address}/planner?amount={int(1e18 * 1.05**k)}&unique=2B", headers={"HX-Request": "true"})
        began = time.perf_counter()
        urlopen(asked).read()
        taken.append(time.perf_counter() - began)
    print(f"first answer: {1e3 * taken[0]:.0f} ms")
    said("request to answer", taken[5:])


def in_a_browser(address: str, chromium: str) -> None:
    """From a keystroke to the new answer on the page."""
    from playwright.sync_api import sync_playwright

    watch = """([text]) => new Promise(done => {
        const field = document.querySelector("input[name=amount]"), began = performance.now();
        const seen = new MutationObserver(() => { seen.disconnect(); done(performance.now() - began); });
        seen.observe(document.querySelector("#plan"), {childList: true});
        field.value = text; field.dispatchEvent(new Event("input", {bubbles: true})); })"""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/planner?unique=2B")
        taken = [page.evaluate(watch, [f"{2e21 * 1.03**k:.6g}"]) / 1e3 for k in range(SETTLE + 3)][3:]
        said("keystroke to new answer on the page", taken)
        browser.close()


def main() -> None:
    """Starts a server at a free port and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=200)
    edits = parser.parse_args().edits
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, "-m", "thalweg", "web", str(Path(root)), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[0].rstrip("/")
            server_side(address, edits)
            chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
            if chromium:
                in_a_browser(address, chromium)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
