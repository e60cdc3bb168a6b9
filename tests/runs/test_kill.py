"""A process that logs and saves is killed at ten random moments; nothing that it had finished may be lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from thalweg.runs import Run

WORKER = """
import sys
from pathlib import Path
from thalweg.runs import Run

run = Run.resume_or_create(Path(sys.argv[1]), {"seed": 0}, steps=10**9)
records = run.records()
step = records[-1]["step"] + 1 if records else 0
with run.attempt():
    while True:
        run.log(step, loss=1.0 / (step + 1), lr=step * 1e-9)
        print("record", step, flush=True)
        if step % 7 == 0:
            with run.checkpoint_folder(step) as folder:
                for part in range(4):
                    (folder / f"part{part}.bin").write_bytes(bytes([step % 256]) * 50_000)
            print("checkpoint", step, flush=True)
            run.prune_checkpoints(2, always=(0, 70))
        step += 1
"""


def killed_after(folder: Path, delay: float) -> list[list[str]]:
    """What the worker said it had finished before it was killed, ``delay`` seconds after its first word."""
    command = [sys.executable, "-c", WORKER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        lines = [worker.stdout.readline()]
        time.sleep(delay)
        worker.send_signal(signal.SIGKILL)
        lines += worker.stdout.readlines()
    return [line.split() for line in lines if line.endswith("\n")]


def test_ten_kills_lose_nothing(tmp_path: Path):
    rng = random.Random(0)
    recorded: set[int] = set()
    saved: set[int] = set()
    for attempt in range(1, 11):
        said = killed_after(tmp_path / "run", rng.uniform(0.0, 0.15))
        recorded |= {int(step) for what, step in said if what == "record"}
        saved |= {int(step) for what, step in said if what == "checkpoint"}
        run = Run.open(tmp_path / "run")
        assert run.status == "interrupted"
        assert run.state["attempts"] == attempt
        records = {record["step"]: record for record in run.records()}
        assert recorded <= records.keys()
        assert sorted(records) == list(range(len(records)))
        assert all(record["loss"] == 1.0 / (step + 1) for step, record in records.items())
        found = {checkpoint.step: checkpoint for checkpoint in run.checkpoints()}
        for step in saved - found.keys():  # pruned, so two newer ones (said or not) must be there
            assert step not in (0, 70)
            assert len([newer for newer in found.keys() - {0, 70} if newer > step]) >= 2
        for step, checkpoint in found.items():
            checkpoint.check()
            assert (checkpoint.folder / "part3.bin").read_bytes() == bytes([step % 256]) * 50_000
            assert step in records
    assert len(saved) > 10
    with run.attempt():
        pass
    assert run.status == "done"
    assert not [path for path in (run.folder / "checkpoints").iterdir() if path.name.startswith(".")]
