"""Loading and resume: our data plan beside Hugging Face datasets, in turn (A B A B), each in a fresh process.

    python benchmarks/data_loading.py [--step 20000] [--rounds 3] [--out benchmarks/results/data-loading.json]

The same tokens (uint16 here, int32 in Arrow) in shuffled windows of 257, batch 8. ``start``: seconds to the first batch
from open files, without imports. ``resume``: the same from a saved state, at ``--step``; the streamed side's state dict
is made by a first pass that is not timed, the indexed side starts its sampler at the row (what users do by hand).
``tokens a second``: 400 batches as int64 tensors. ``exact``: whether the batch after the resume is the one an
uninterrupted run would have had.
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

WINDOW, BATCH, STEPS = 257, 8, 400
SIDES = ("thalweg", "datasets, indexed", "datasets, streamed")


def write(folder: Path, step: int) -> None:
    """A bare shard and an Arrow dataset of the same windows, a tenth more than ``step`` batches."""
    import datasets

    from thalweg.data import ByteTokenizer, write_shard

    rows = int(step * BATCH * 1.1) + 10 * STEPS
    text = np.random.default_rng(0).integers(97, 123, rows * (WINDOW - 1), dtype=np.uint8).tobytes().decode()
    shard = write_shard(folder / "shard", [text], ByteTokenizer())
    tokens = np.asarray(shard.tokens)
    starts = np.arange(rows - 1) * (WINDOW - 1)

    def chunks():
        for at in range(0, len(starts), 4096):
            part = tokens[starts[at : at + 4096, None] + np.arange(WINDOW)].astype(np.int32)
            yield from ({"input_ids": row} for row in part)

    made = datasets.Dataset.from_generator(chunks, cache_dir=str(folder / "cache"))
    made.save_to_disk(str(folder / "arrow"), num_shards=8)


def measure(side: str, folder: Path, step: int) -> dict[str, float]:
    """One side's numbers, in this process."""
    import datasets  # noqa: F401  imports are not timed
    import torch  # noqa: F401

    import thalweg.data.plan.rows  # noqa: F401

    open_at = {"thalweg": _plan, "datasets, indexed": _indexed, "datasets, streamed": _streamed}[side]
    began = time.perf_counter()
    stream, _ = open_at(folder, 0, None)
    next(stream)
    start = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(STEPS):
        next(stream)
    rate = STEPS * BATCH * (WINDOW - 1) / (time.perf_counter() - began)
    state, truth = None, None
    if side == "datasets, streamed":  # only this side must walk there to have a state
        stream, save = open_at(folder, 0, None)
        for _ in range(step):
            next(stream)
        state, truth = save(), next(stream)
    began = time.perf_counter()
    stream, _ = open_at(folder, step, state)
    first = next(stream)
    resume = time.perf_counter() - began
    if truth is None:
        stream, _ = open_at(folder, step - 1, None)
        next(stream)
        truth = next(stream)
    exact = float(np.array_equal(np.asarray(first), np.asarray(truth)))
    return {"start": start, "resume": resume, "tokens a second": rate, "exact": exact, "peak GiB": _peak()}


def _plan(folder: Path, step: int, state: object):
    import torch

    from thalweg.data.plan import Order, Phase, Plan, Source, read_rows
    from thalweg.data.plan.state import share

    tokens = 10**12
    phase = Phase(weights={"a": 1.0}, tokens=tokens, order="uniform")
    order = Order(Plan(sources={"a": Source(str(folder / "shard"))}, phases=(phase,), context=WINDOW - 1))

    def batches():
        at = step
        while True:
            rows = read_rows(order, share(at, batch=BATCH, rank=0, world=1))
            yield torch.from_numpy(np.asarray(rows.ids))
            at += 1

    return batches(), lambda: None


def _indexed(folder: Path, step: int, state: object):
    import datasets
    import torch

    made = datasets.load_from_disk(str(folder / "arrow")).with_format("numpy").shuffle(seed=0)

    def batches():
        at = step * BATCH
        while True:
            yield torch.from_numpy(made[at : at + BATCH]["input_ids"].astype(np.int64))
            at += BATCH

    return batches(), lambda: None


def _streamed(folder: Path, step: int, state: object):
    import datasets
    import torch

    made = datasets.load_from_disk(str(folder / "arrow")).to_iterable_dataset(num_shards=8)
    made = made.shuffle(seed=0, buffer_size=1000).with_format("numpy").batch(BATCH)
    if state is not None:
        made.load_state_dict(state)

    def batches():
        for batch in made:
            yield torch.from_numpy(np.stack(batch["input_ids"]).astype(np.int64))

    return batches(), made.state_dict


def _peak() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child[0], Path(options.child[1]), options.step)))
        return
    results: dict[str, dict[str, list[float]]] = {side: {} for side in SIDES}
    with tempfile.TemporaryDirectory() as place:
        write(Path(place), options.step)
        for _ in range(options.rounds):
            for side in SIDES:
                command = [sys.executable, "-W", "ignore", __file__, "--step", str(options.step)]
                command += ["--child", side, place]
                made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                for name, value in made.items():
                    results[side].setdefault(name, []).append(value)
    print(
        f"step {options.step:,}, batch {BATCH}, context {WINDOW - 1}, median (min to max) of {options.rounds} processes"
    )
    for side, measures in results.items():
        for name, values in measures.items():
            print(f"{side:20} {name:16} {median(values):14,.3f} ({min(values):,.3f} to {max(values):,.3f})")
    if options.out:
        from thalweg.runs.environment import environment

        record = {"command": " ".join(sys.argv), "environment": environment("cpu"), "step": options.step}
        options.out.write_text(json.dumps({**record, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
