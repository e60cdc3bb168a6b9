"""What a data plan costs: opening, the order, the first batch, resuming at step 10^6, reading; no peer.

Claims: > 200,000 windows a second a core of index arithmetic; < 1 s to open 10^7 documents.

    python benchmarks/data_plan.py [--documents 10000000] [--out data_plan.json]

A synthetic prepared folder is written to a temporary folder (uint16 tokens, ids of 16 bytes, one score). Each phase is
timed in a fresh process, ``--rounds`` times; the file cache is warm. Memory is the peak of that process, the mapped
token pages it touched included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

CONTEXT, BATCH = 1024, 512
STEP = 10**6
END = 0


def write(folder: Path, documents: int, mean: int) -> None:
    """A prepared folder of one part whose documents have 1 … 2·mean - 1 tokens."""
    from hashlib import sha256

    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 2 * mean, documents))]).astype("<i8")
    tokens = folder / "tokens"
    tokens.mkdir(parents=True)
    data = rng.integers(1, 50_000, int(offsets[-1]), dtype=np.uint16)
    data[offsets[1:] - 1] = END
    data.tofile(tokens / "part-00000.bin")
    np.save(tokens / "part-00000.offsets.npy", offsets)
    ids = np.char.mod("%016d", np.arange(documents)).astype("S16")
    np.savez(tokens / "part-00000.columns.npz", id=ids, quality=rng.normal(size=documents))
    digests = [sha256((tokens / f"part-00000.{name}").read_bytes()).hexdigest() for name in ("bin", "columns.npz")]
    header = {"dtype": "<u2", "count": int(offsets[-1]), "documents": documents, "vocab_size": 50_000, "end": END}
    header |= {"tokenizer": "t", "corpus": "", "sha256": digests[0], "format": "thalweg-tokens", "version": 1}
    (tokens / "part-00000.json").write_text(json.dumps(header))
    shard = {"name": "part-00000", "sha256": digests[0], "columns_sha256": digests[1]}
    manifest = {"format": "thalweg-prepared", "version": 1, "shards": [shard]}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def peak() -> float:
    """Most memory of this process since it began, GiB (getrusage would count its parent's at the fork); Linux only."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def measure(what: str, folder: Path) -> dict[str, float]:
    """Seconds of each part of one use of the folder, in this process."""
    from thalweg.data import open_prepared
    from thalweg.data.plan import Order, Phase, Plan, Source, read_rows, state_of
    from thalweg.data.plan.state import read_state, share

    began = time.perf_counter()
    found = {}

    def lap(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        found[name], began = now - began, now

    open_prepared(folder)
    lap("open")
    if what == "open":
        return found
    sources = {"a": Source(str(folder), score="quality"), "b": Source(str(folder.parent / "small"), score="quality")}
    tokens = 2 * STEP * BATCH * CONTEXT
    phase = Phase(weights={"a": 0.7, "b": 0.3}, tokens=tokens, order="ascend" if what == "ascend" else "uniform")
    plan = Plan(sources=sources, phases=(phase,), context=CONTEXT)
    order = Order(plan)
    lap("plan")
    state = state_of(order, STEP * BATCH)
    lap("fingerprint")
    first = 0 if what != "resume" else read_state(order, state) // BATCH
    read_rows(order, share(first, batch=BATCH, rank=0, world=1))
    lap("first batch")
    steps = 40
    for step in range(first + 1, first + 1 + steps):
        order.places(order.numbers(share(step, batch=BATCH, rank=0, world=1)))
    lap("places")
    found["places a second"] = steps * BATCH / found.pop("places")
    for step in range(first + 1 + steps, first + 1 + 2 * steps):
        index = share(step, batch=BATCH, rank=0, world=1)
        for _mine, stretch, name, position in order.places(order.numbers(index)):
            stream = stretch.streams[name]
            for epoch in np.unique(position // stream.windows):
                stream.read(position[position // stream.windows == epoch])
    lap("pieces")
    found["windows a second"] = steps * BATCH / found.pop("pieces")
    for step in range(first + 1, first + 1 + steps):
        read_rows(order, share(step, batch=BATCH, rank=0, world=1))
    lap("read")
    found["tokens a second"] = steps * BATCH * CONTEXT / found.pop("read")
    found["state bytes"] = len(json.dumps(state))
    found["peak GiB"] = peak()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10**7)
    parser.add_argument("--mean", type=int, default=60, help="tokens of a document")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child[0], Path(arguments.child[1]))))
        return
    results: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "prepared"
        write(folder, arguments.documents, arguments.mean)
        write(Path(place) / "small", max(1, arguments.documents // 100), arguments.mean)
        for what in ("open", "first", "ascend", "resume"):
            for _ in range(arguments.rounds):
                command = [sys.executable, __file__, "--child", what, str(folder)]
                made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                for name, value in made.items():
                    results.setdefault(what, {}).setdefault(name, []).append(value)
    print(f"{arguments.documents:,} documents of {arguments.mean} tokens in the mean, a hundredth of that beside them")
    for what, measures in results.items():
        for name, values in measures.items():
            least, most = min(values), max(values)
            print(f"{what:8} {name:22} median {median(values):14,.3f}   min {least:14,.3f}   max {most:14,.3f}")
    if arguments.out:
        arguments.out.write_text(json.dumps({"documents": arguments.documents, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
