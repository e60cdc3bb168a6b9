"""Runs a study over seeds: stores each seed's records when it is done, resumes, and ends in a verdict.

``FOLDER/seed-K.json`` holds the records of seed K with versions, device and time; ``FOLDER/work-K`` is the seed's own
workspace, whose run folders resume by themselves; ``FOLDER/verdict.json`` and ``FOLDER/figure.svg`` are the outcome.
While seed K runs, ``FOLDER/seed-K.part`` has a line a record, and ``FOLDER/lock`` is held: one process a folder.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import msgspec

from thalweg.errors import InputError, Interrupted, suggest
from thalweg.files import write_atomic
from thalweg.runs.environment import environment
from thalweg.runs.lock import FolderLock
from thalweg.studies.base import SCALES, Record, Verdict, load_study

__all__ = ["run_study"]


def run_study(
    slug: str,
    folder: Path,
    *,
    slugs: dict[str, str],
    scale: str = "laptop",
    seeds: int = 3,
    device: str = "cpu",
    jobs: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Runs what is missing of a study and returns its outcome.

    Args:
        slug: which study.
        folder: where records go; one of another scale or configuration is refused.
        slugs: the visible table of studies.
        scale: "smoke", "laptop" or "gpu".
        seeds: seeds 0 … seeds - 1, >= 1.
        device: "cpu", "cuda", …; the gpu preset refuses a CPU.
        jobs: seeds at the same time, each in its own process.
        say: receives a line when a seed starts or ends.

    Returns:
        ``slug``, ``scale``, ``verdict``, ``effect``, ``error``, ``threshold``, ``unit``, ``runs``, ``records``,
        ``seconds``.

    Raises:
        InputError: an unknown study or scale, seeds or jobs < 1, the gpu preset without a GPU, a folder of another run
            or one that another process writes.
    """
    study = load_study(slug, slugs)
    if scale not in SCALES:
        raise InputError(f"scale {scale!r} is not known: {suggest(scale, SCALES)}")
    if seeds < 1 or jobs < 1:
        raise InputError(f"seeds = {seeds} and jobs = {jobs} must be at least 1")
    if device == "auto" or scale == "gpu":
        from thalweg.train.setup import pick_device

        device = str(pick_device(device))
    if scale == "gpu" and device == "cpu":
        raise InputError("scale gpu needs a GPU: pass --device cuda on a machine that has one, or --scale laptop")
    config = getattr(study, scale.upper())
    _claim(folder, {"slug": slug, "scale": scale, "config": json.loads(msgspec.json.encode(config))})
    lock = FolderLock(folder)
    lock.acquire()
    try:
        missing = [seed for seed in range(seeds) if not (folder / f"seed-{seed}.json").exists()]
        _run(study, folder, missing, (scale, device), jobs, say)
        return _outcome(study, scale, seeds, folder)
    finally:
        lock.release()


def _run(
    study: Any, folder: Path, missing: list[int], setting: tuple[str, str], jobs: int, say: Callable[[str], None]
) -> None:
    """The missing seeds, one after the other or several at a time; ``setting`` is scale and device."""
    scale, device = setting
    name = f"{study.SLUG} ({scale})"
    if jobs == 1 or len(missing) < 2:
        began = time.perf_counter()
        for done, seed in enumerate(missing):
            left = (time.perf_counter() - began) / done * (len(missing) - done) if done else math.nan
            say(f"{name}: seed {seed}" + (f", about {left:.0f} s left" if done else ""))
            _seed(study.__name__, scale, seed, device, folder)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_threads, initargs=(threads,)) as pool:
        futures = [pool.submit(_worker_seed, study.__name__, scale, seed, device, folder) for seed in missing]
        try:
            for seed, future in zip(missing, futures, strict=True):
                future.result()
                say(f"{name}: seed {seed} done")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():  # else Ctrl-C would wait for their seeds, and for those they took up next
                worker.terminate()
            raise


def _worker_seed(module: str, scale: str, seed: int, device: str, folder: Path) -> None:
    """One seed in a worker, which ends when it is interrupted: it would take up the next seed otherwise."""
    try:
        _seed(module, scale, seed, device, folder)
    except (KeyboardInterrupt, Interrupted):
        os._exit(130)


def _threads(count: int) -> None:
    """Prepares a worker: torch would else start as many threads as there are processors, in each."""
    import torch

    torch.set_num_threads(count)


def _claim(folder: Path, about: dict[str, Any]) -> None:
    file = folder / "study.json"
    if file.exists() and json.loads(file.read_text()) != about:
        raise InputError(
            f"{folder} holds records of another study, scale or version: choose another folder or remove it"
        )
    write_atomic(file, json.dumps(about, indent=1) + "\n")


def _seed(module: str, scale: str, seed: int, device: str, folder: Path) -> None:
    """One seed, in this or a worker process."""
    import importlib

    study = importlib.import_module(module)
    began = time.perf_counter()
    config = getattr(study, scale.upper())
    records: list[Record] = []
    live = folder / f"seed-{seed}.part"
    with open(live, "w", encoding="utf-8") as file:
        for record in study.run(config, seed=seed, device=device, folder=folder / f"work-{seed}"):
            records.append(dict(record, seed=seed))
            file.write(json.dumps(records[-1]) + "\n")
            file.flush()
    document = {
        "seed": seed,
        "seconds": time.perf_counter() - began,
        "environment": environment(device),
        "records": records,
    }
    write_atomic(folder / f"seed-{seed}.json", json.dumps(document) + "\n")
    live.unlink(missing_ok=True)


def _outcome(study: Any, scale: str, seeds: int, folder: Path) -> dict[str, Any]:
    documents = [json.loads((folder / f"seed-{seed}.json").read_text()) for seed in range(seeds)]
    records: list[Record] = [record for document in documents for record in document["records"]]
    verdict: Verdict = study.verdict(records)
    figure = study.figure(records)
    write_atomic(folder / "figure.svg", _svg(figure))
    outcome = {
        "slug": study.SLUG,
        "title": study.TITLE,
        "arxiv": study.ARXIV,
        "scale": scale,
        "unit": study.UNIT,
        "verdict": verdict.state,
        "effect": _finite(verdict.effect),
        "error": _finite(verdict.error),
        "threshold": verdict.threshold,
        "runs": verdict.runs,
        "seconds": sum(document["seconds"] for document in documents),
    }
    write_atomic(folder / "verdict.json", json.dumps(outcome) + "\n")
    return outcome | {"records": records, "figure": str(folder / "figure.svg")}


def _finite(value: float) -> float | None:
    """A number as JSON can hold it: the error of a single seed is nan."""
    return value if math.isfinite(value) else None


def _svg(figure: Any) -> str:
    import io

    import matplotlib as mpl
    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "thalweg"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return buffer.getvalue()
