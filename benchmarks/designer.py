"""The designer's answer to an edit: from the browser's event to the picture that shows it, in a real browser.

A point is dragged (60 moves, 16 ms apart) and a parameter typed (40 values) with the example's law at 5,000, 24,000 and
72,000 steps and, where ../shared has them, with a law of the published 25M curves. An answer's time runs from the event
whose values the new picture carries to the frame after it was put in place; while an answer is on its way moves wait,
and the newest goes next. Writes benchmarks/results/designer.json.

    OMP_NUM_THREADS=1 python benchmarks/designer.py [--chromium PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlparse

import httpx
import numpy as np
from laws_published import DATA, TRAIN, curves
from playwright.sync_api import Page, sync_playwright

from thalweg.files import write_atomic
from thalweg.laws import Law, fit, read_curves

ROOT = Path(__file__).resolve().parents[1]
MOVES, VALUES = 60, 40
WATCH = """
window.seen = [];
const fetched = window.fetch;
window.asked = [];
window.fetch = async (address, options) => {
  const asked = new URL(address, location.href).searchParams;
  const begun = performance.now();
  const answer = await fetched(address, options);
  window.asked.push({ at: asked.getAll('e.at').join(), decay: asked.get('e.decay'), begun });
  return answer;
};
new MutationObserver((changes) => {
  const fresh = changes.some((c) => [...c.addedNodes].some((n) => n.id === 'picture'));
  const last = window.asked.at(-1);
  if (fresh && last) requestAnimationFrame(() => setTimeout(() => {
    window.seen.push({ ...last, shown: performance.now() });
  }));
}).observe(document.getElementById('bench'), { childList: true });
"""


def server_cpu(law: Law, frame: dict[str, Any], steps: int) -> float:
    """CPU milliseconds of the server for one answer, which other work on the machine does not change much."""
    from time import process_time

    from starlette.testclient import TestClient

    from thalweg.web.site.app import build_app
    from thalweg.web.site.settings import Settings

    own = "http://127.0.0.1:8765"
    with tempfile.TemporaryDirectory() as root:
        pages = TestClient(build_app(Settings(Path(root), 8765)), base_url=own, follow_redirects=False)
        kept = pages.post("/designer/law", files={"law": ("law.json", law.to_json())}, headers={"origin": own})
        law_name = kept.headers["location"].partition("law=")[2]
        asked = {"law": law_name, "steps": steps, "how": "points"} | frame
        asked["e.lr"] = [frame["peak"], frame["peak"], frame["floor"]]
        pages.get("/designer", params={"law": law_name, "steps": steps} | frame)
        times = []
        for k in range(20):
            begun = process_time()
            asked["e.at"] = [frame["warmup"], int(0.7 * steps) + 3 * k, steps]
            pages.get("/designer", params=asked, headers={"hx-request": "true", "designer-style": "wide"})
            times.append(1000 * (process_time() - begun))
    return round(float(np.median(times)), 1)


def machine() -> str:
    """The machine in words."""
    name = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return f"{os.cpu_count()} cores of {name}, {platform.system()}; server and browser share them"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def laws() -> dict[str, tuple[Law, dict[str, Any]]]:
    """Laws to try by name, each with the fields of the designer's address."""
    example = read_curves(ROOT / "examples" / "curves.csv", schedules=ROOT / "examples" / "schedules.toml")
    found = {"example": (fit(example), {"peak": 2e-3, "floor": 2e-4, "warmup": 100})}
    if DATA.exists():
        found["25M"] = (fit(curves("25M", TRAIN)), {"peak": 3e-4, "floor": 3e-5, "warmup": 2160})
    return found


def dragged(page: Page, address: str) -> list[float]:
    """Milliseconds of each picture shown while a point is dragged, from the newest move that it carries."""
    page.goto(address)
    page.wait_for_selector("#wide-1")
    page.evaluate(WATCH)
    page.evaluate(
        """() => { const moved = window.moved = new Map();
        const ask = URLSearchParams.prototype.append;
        URLSearchParams.prototype.append = function (key, value) {
          ask.call(this, key, value);
          if (key === 'e.at') moved.set(this.getAll('e.at').join(), performance.now()); }; }"""
    )
    box = page.locator("#wide-1").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for k in range(1, MOVES + 1):
        page.mouse.move(x - 3 * k, y + 0.8 * k)
        page.wait_for_timeout(16)
    page.wait_for_timeout(500)
    page.mouse.up()
    page.wait_for_timeout(300)
    return page.evaluate(
        "() => window.seen.filter((s) => window.moved.has(s.at)).map((s) => s.shown - window.moved.get(s.at))"
    )


def typed(page: Page, address: str) -> list[float]:
    """Milliseconds from each value of WSD's decay to the picture that shows it."""
    page.goto(address)
    page.wait_for_selector("#e-decay")
    page.evaluate(WATCH)
    page.evaluate(
        """() => { window.given = new Map(); document.getElementById('e-decay').addEventListener('input',
        (event) => window.given.set(event.target.value, performance.now()), true); }"""
    )
    box = page.locator("#e-decay")
    for k in range(VALUES):
        value = f"{0.1 + 0.011 * k:.3f}"
        box.fill(value)
        page.wait_for_function("value => window.seen.some((s) => s.decay === value)", arg=value)
    return page.evaluate(
        """() => [...window.given].map(([value, time]) => window.seen.find((s) => s.decay === value).shown - time)"""
    )


def summary(times: list[float]) -> dict[str, Any]:
    """Count, median, 95 % and largest, milliseconds."""
    low, high = np.percentile(times, [50, 95])
    rounded = {"median": low, "p95": high, "max": max(times)}
    return {"answers": len(times)} | {name: round(float(value), 1) for name, value in rounded.items()}


def measure(address: str, chromium: str) -> list[dict[str, Any]]:
    rows = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        for name, (law, frame) in laws().items():
            files = {"law": ("law.json", law.to_json())}
            kept = httpx.post(f"{address}/designer/law", files=files, headers={"origin": address})
            law_name = parse_qs(urlparse(kept.headers["location"]).query)["law"][0]
            for steps in (5000, 24000, 72000):
                base = {"law": law_name, "steps": steps} | frame
                head = f"peak={frame['peak']!r},warmup={frame['warmup']}"
                wsd = f"wsd:{head},decay=0.2,floor={frame['floor']!r}"
                line = f"{frame['peak']!r}@{frame['warmup']};{frame['peak']!r}@0.8;{frame['floor']!r}@{steps}"
                points = f"piecewise:points={line},warmup={frame['warmup']}"
                drag = dragged(page, f"{address}/designer?{urlencode(base | {'schedule': points})}")
                form = f"{address}/designer?{urlencode(base | {'schedule': wsd, 'panel': 'form'})}"
                row = {"law": name, "steps": steps, "drag_ms": summary(drag), "type_ms": summary(typed(page, form))}
                row["server_cpu_ms"] = server_cpu(law, frame, steps)
                print(row, flush=True)
                rows.append(row)
        browser.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, "-m", "thalweg", "web", root, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                rows = measure(server.stdout.readline().split()[0].rstrip("/"), chosen.chromium)
            finally:
                server.terminate()
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    record = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/designer.py",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "nice": os.nice(0),
        "load_average_at_the_end": load,
        "rows": rows,
    }
    out = ROOT / "benchmarks" / "results" / "designer.json"
    write_atomic(out, json.dumps(record, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()
