"""How long ``thalweg web`` takes to start and to answer for the atlas; no peer, times over one connection a request.

Run: python benchmarks/atlas_pages.py [FOLDER OF RUNS] [--json FILE]
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import time
from statistics import median, quantiles

PAGES = {
    "/": {},
    "/?topic=data": {"hx-request": "true"},
    "/studies/sam": {},
    "/studies/sam/figure.svg": {},
}
REPEATS = 50


def ask(port: int, path: str, headers: dict[str, str]) -> tuple[float, int]:
    """Milliseconds and bytes of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    began = time.perf_counter()
    connection.request("GET", path, headers=headers)
    body = connection.getresponse().read()
    connection.close()
    return 1e3 * (time.perf_counter() - began), len(body)


def main() -> None:
    """Prints and writes start, first and later answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", default="runs")
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    began = time.perf_counter()
    command = [sys.executable, "-m", "thalweg", "web", options.root, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().split("/")[2].rpartition(":")[2])
        found: dict[str, object] = {"start_s": time.perf_counter() - began}
        for path, headers in PAGES.items():
            first, size = ask(port, path, headers)
            later = [ask(port, path, headers)[0] for _ in range(REPEATS)]
            row = {"bytes": size, "first_ms": first, "median_ms": median(later), "p95_ms": quantiles(later, n=20)[-1]}
            found[path] = row
            print(path, {name: round(value, 1) for name, value in row.items()})
        print(f"start {found['start_s']:.2f} s")
    finally:
        server.terminate()
        server.wait()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
