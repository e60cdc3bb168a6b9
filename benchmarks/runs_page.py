"""The pages of the runs: time to the first byte and memory with thousands of runs and with a curve of 10^6 points.

Folders of runs are made in a temporary folder; ``thalweg web`` runs in a process of its own and is asked over a socket,
as a browser asks. Cold is the first request after its start (files in the system's cache), warm ones follow, median and
maximum are kept. Memory is the resident size of the server, and its peak.

    python benchmarks/runs_page.py [--runs 1000 5000] [--records 300] [--points 1000000] [--repeats 20]
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from thalweg.files import write_atomic
from thalweg.runs.environment import environment

RESULTS = Path(__file__).parent / "results"


def make(folder: Path, records: int, seed: int) -> None:
    """A finished run with a noisy falling loss and two spikes."""
    folder.mkdir(parents=True)
    created = f"2026-01-01T{seed // 3600 % 24:02d}:{seed // 60 % 60:02d}:{seed % 60:02d}.000+00:00"
    head = {"format": "thalweg-run", "version": 1, "name": folder.name, "created": created}
    (folder / "run.json").write_text(json.dumps(head | {"steps": records, "status": "done", "attempts": 1}))
    (folder / "recipe.toml").write_text(f"steps = {records}\nbatch = 32\nseed = {seed}\n\n[data]\ncontext = 64\n")
    noise = np.random.default_rng(seed).standard_normal(records)
    losses = 1.2 + 4 * np.exp(-np.arange(records) / (records / 20)) + 0.05 * noise
    losses[[records // 3, records // 2]] += 3
    with open(folder / "log.jsonl", "w") as log:
        log.write('{"attempt":1,"event":"start","time":"2026-01-01T00:00:00.000+00:00","cut_bytes":0}\n')
        for step, loss in enumerate(losses.tolist()):
            log.write(f'{{"attempt":1,"step":{step},"loss":{loss!r},"lr":0.002,"seconds":{0.02 + 1e-9 * step}}}\n')


@contextmanager
def server(root: Path) -> Iterator[tuple[int, int, float]]:
    """Port, process and seconds from the command to its address of a ``thalweg web``."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "thalweg", "web", str(root), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split("/")[2].split(":")[1])
        yield port, process.pid, time.perf_counter() - began
        process.terminate()


def asked(port: int, path: str) -> float:
    """Seconds to the first byte of an answer that is well."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    began = time.perf_counter()
    link.request("GET", path)
    answer = link.getresponse()
    took = time.perf_counter() - began
    assert answer.status == 200, (path, answer.status)
    answer.read()
    link.close()
    return took


def memory(process: int) -> dict[str, float]:
    """Resident and largest resident size, MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"resident_mib": round(sizes["VmRSS"], 1), "peak_mib": round(sizes["VmHWM"], 1)}


def measured(root: Path, paths: list[str], repeats: int) -> dict[str, object]:
    """Milliseconds of each address, the first time and after, and the server's memory at the end."""
    with server(root) as (port, process, start):
        found: dict[str, object] = {"start_ms": round(1000 * start), "before": memory(process)}
        for path in paths:
            cold = asked(port, path)
            warm = sorted(asked(port, path) for _ in range(repeats))
            times = {"cold": cold, "warm": statistics.median(warm), "warm_max": warm[-1]}
            found[path] = {f"{name}_ms": round(1000 * value, 1) for name, value in times.items()}
        return found | memory(process)


def main() -> None:
    """Measures and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--points", type=int, default=10**6)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    record: dict[str, object] = {"arguments": vars(args), "environment": environment("cpu")}
    with tempfile.TemporaryDirectory() as place:
        for count in args.runs:
            root = Path(place) / f"list-{count}"
            for k in range(count):
                make(root / f"sweep-{k // 100:02d}" / f"run-{k:05d}", args.records, k)
            paths = ["/runs", "/runs?page=10", "/runs?words=run-00&sort=loss", "/runs/show/sweep-00/run-00000"]
            record[f"{count} runs"] = measured(root, paths, args.repeats)
            print(count, "runs", json.dumps(record[f"{count} runs"], indent=1), flush=True)
        make(Path(place) / "long" / "run", args.points, 0)
        paths = [f"/runs/show/run{query}" for query in ("", "?smooth=1000", "?from=1000&to=2000", "?x=seconds&logy=1")]
        record[f"{args.points} points"] = measured(Path(place) / "long", paths, args.repeats)
        print(args.points, "points", json.dumps(record[f"{args.points} points"], indent=1), flush=True)
    write_atomic(RESULTS / "runs-page.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
