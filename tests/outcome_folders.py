"""Folders as ``thalweg study run`` leaves them, and a stand-in for it that takes no time to start."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "started": "2026-11-22T08:00:00+00:00",
    "device": "cpu",
    "threads": 1,
    "python": "3.11.7",
    "versions": {"thalweg": "0.1.0"},
    "platform": "Linux",
    "command": "thalweg study run sam",
}
STAND_IN = """
import json, sys, time
from pathlib import Path
from thalweg.runs.lock import FolderLock
folder, seeds, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
lock = FolderLock(folder)
lock.acquire()
(folder / "study.json").write_text(json.dumps({"slug": "sam", "scale": folder.name.rpartition("-")[2], "config": {}}))
for seed in range(seeds):
    part = folder / f"seed-{seed}.part"
    part.write_text(json.dumps({"seed": seed, "loss": 0.5}) + "\\n")
    print("seed", seed, flush=True)
    time.sleep(pause)
    document = {"seed": seed, "seconds": pause, "environment": {}, "records": [{"seed": seed, "loss": 0.5}]}
    (folder / f"seed-{seed}.json").write_text(json.dumps(document))
    part.unlink()
outcome = {"verdict": "inconclusive", "effect": 0.1, "error": 0.2, "unit": "1", "runs": seeds, "seconds": 1.0}
(folder / "verdict.json").write_text(json.dumps(outcome))
"""


def stand_in(pause: float):
    """A command for ``Worker`` whose seeds take ``pause`` seconds each."""
    return lambda job, folder: [sys.executable, "-c", STAND_IN, str(folder), str(job.seeds), str(pause)]


def make_outcome(root: Path, name: str = "sam-laptop", slug: str = "sam", records: int = 3, **verdict: Any) -> Path:
    """An outcome of two seeds that has ended; ``verdict`` replaces entries of verdict.json."""
    folder = root / "studies" / name
    folder.mkdir(parents=True)
    scale = name.rpartition("-")[2]
    (folder / "study.json").write_text(json.dumps({"slug": slug, "scale": scale, "config": {}}))
    for seed in range(2):
        rows = [{"part": "toy", "k": k, "loss": 0.5 / (k + 1), "seed": seed} for k in range(records)]
        document = {"seed": seed, "seconds": 1.5, "environment": ENVIRONMENT, "records": rows}
        (folder / f"seed-{seed}.json").write_text(json.dumps(document))
    outcome = {"slug": slug, "scale": scale, "unit": "nats", "verdict": "reproduced", "effect": 0.5, "error": 0.01}
    outcome |= {"runs": 2, "seconds": 3.0, "threshold": 0.2}
    (folder / "verdict.json").write_text(json.dumps(outcome | verdict))
    (folder / "figure.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 30"></svg>')
    return folder
