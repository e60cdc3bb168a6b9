"""A worker script in two processes, or more, that talk by gloo."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["logs_of", "run_pair"]


def run_pair(worker: Path, folder: Path, limit: float, *, size: int = 2) -> None:
    """Runs ``worker RANK FOLDER`` for all ranks to their end, or stops them at the limit; keeps what they print.

    Args:
        worker: the script.
        folder: where it writes, and log0 and log1 go.
        limit: seconds for all.
        size: how many; the script reads more than two from FOLDER/size.
    """
    if size > 2:
        (folder / "size").write_text(str(size))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if Path("/sys/class/net/lo").exists():
        environment["GLOO_SOCKET_IFNAME"] = "lo"  # a machine may have a name that does not resolve
    logs = [(folder / f"log{rank}").open("wb") for rank in range(size)]
    pair = [
        subprocess.Popen([sys.executable, worker, str(rank), folder], env=environment, stdout=log, stderr=log)
        for rank, log in enumerate(logs)
    ]
    deadline = time.monotonic() + limit
    try:
        for process in pair:
            process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process, log in zip(pair, logs, strict=True):
            process.kill()
            process.wait()
            log.close()


def logs_of(folder: Path) -> str:
    """The ends of what both printed."""
    return "\n".join((folder / f"log{rank}").read_text()[-3000:] for rank in range(2))
