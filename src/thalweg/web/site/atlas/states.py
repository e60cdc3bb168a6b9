"""What is true of an outcome now, read from its folder and never from what was true before."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from thalweg.runs.lock import FILE
from thalweg.studies.outcomes import read_request, writer_of
from thalweg.web.site.atlas.worker import LOG
from thalweg.web.words import duration

if TYPE_CHECKING:
    from pathlib import Path

    from thalweg.studies.outcomes import Outcome
    from thalweg.web.site.atlas.worker import Worker

__all__ = ["Progress", "State", "last_lines", "progress_of", "sentence_of", "state_of"]

TAIL = 8192  # bytes of the log that are looked at
LINES = 15
RECORD = 300  # characters of a record that are shown
PART = re.compile(r"seed-(\d{1,6})\.part")


@dataclass(frozen=True, slots=True)
class State:
    """What is true of an outcome.

    Attributes:
        key: queued, running, stopping, done, left (not ended, resumes) or failed.
        sentence: what it means for the reader, after "This outcome".
        active: whether it will change by itself.
    """

    key: str
    sentence: str
    active: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running study is: seeds done and asked for, seconds run and left (None: unknown), its latest words."""

    done: int
    asked: int | None
    elapsed: float
    left: float | None
    records: tuple[str, ...]
    log: str


def state_of(outcome: Outcome, worker: Worker) -> State:
    """The state of an outcome's folder.

    Args:
        outcome: as it was found now.
        worker: knows what this server's line holds.
    """
    request, done = outcome.request, len(outcome.seeds)
    before = worker.place(outcome.name)
    if before is not None:
        turn = f"waits for {before} others" if before > 1 else "waits for one other" if before else "is the next to run"
        return State("queued", f"{turn}: one study runs at a time", True)
    if worker.child(outcome.name) or writer_of(outcome.folder):
        if request.get("stops") and request.get("state") == "running":
            return State("stopping", "was asked to stop; it ends at the next safe point", True)
        return State("running", "is running", True)
    if request.get("state") == "running":  # it may have ended since the folder was read
        request = read_request(outcome.folder)
    asked, code = request.get("seeds"), request.get("code")
    kept = "1 seed is kept" if done == 1 else f"{done} seeds are kept" if done else "no seed was done"
    resumes = f"; {kept}, and starting it again goes on"
    later = outcome.judged > _time(request.get("ended"))
    if outcome.verdict and (not isinstance(asked, int) or done >= asked) and (code in (0, None) or later):
        return State("done", "has ended")
    if request.get("state") == "queued":
        return State("left", "was waiting when the server stopped: start it again")
    if code is None and request.get("state") != "running":
        return State("left", f"ended without a verdict{resumes}")
    if code is None:
        return State("left", f"ended while no server watched{resumes}")
    if code in (-2, 130) or request.get("stops"):
        return State("left", f"was stopped{resumes}")
    if code < 0:
        return State("failed", f"was killed by signal {-code}{resumes}")
    return State("failed", f"failed with code {code}; its last words stand below{resumes}")


def progress_of(outcome: Outcome, usual: list[float] | None) -> Progress:
    """How far a study is.

    Args:
        outcome: as it was found now.
        usual: seconds of a seed at this scale elsewhere, for the estimate before the first is done; None if unknown.
    """
    request, done, at = outcome.request, len(outcome.seeds), time.time()
    began = _mtime(outcome.folder / FILE) or at
    if request.get("state") == "running":
        began = _time(request.get("began")) or began
    asked = request["seeds"] if isinstance(request.get("seeds"), int) else None
    parts = _parts(outcome.folder)
    return Progress(
        done=done if asked is None else min(done, asked),
        asked=asked,
        elapsed=max(0.0, at - began),
        left=_left(outcome, asked, parts, usual, max(0.0, at - max(began, outcome.changed))),
        records=tuple(_said(outcome.folder, seed) for seed in parts),
        log=last_lines(outcome.folder / LOG),
    )


def last_lines(path: Path) -> str:
    """The last lines that the process wrote; empty where there are none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            text = file.read(TAIL).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-LINES:])


def _left(
    outcome: Outcome, asked: int | None, parts: list[int], usual: list[float] | None, since: float
) -> float | None:
    """Seconds until the last seed ends, by those done here, else by what a seed takes elsewhere.

    Args:
        outcome: with its seeds.
        asked: seeds asked for.
        parts: the seeds that run now.
        usual: seconds of a seed elsewhere.
        since: seconds that the seeds have run that run now.
    """
    from thalweg.studies.outcomes import read_seed

    try:
        seen = [float(read_seed(outcome.folder, seed)["seconds"]) for seed in outcome.seeds[-5:]] or usual
    except (OSError, ValueError, KeyError, TypeError):
        seen = usual
    if asked is None or not seen:
        return None
    mean, jobs = sum(seen) / len(seen), max(1, int(outcome.request.get("jobs") or 1))
    waiting = max(0, asked - len(outcome.seeds) - len(parts))
    return (max(0.0, mean - since) if parts else 0.0) + mean * -(-waiting // jobs)


def _parts(folder: Path) -> list[int]:
    """The seeds that are being written."""
    try:
        found = [int(match[1]) for entry in folder.iterdir() if (match := PART.fullmatch(entry.name))]
    except OSError:
        return []
    return sorted(seed for seed in found if not (folder / f"seed-{seed}.json").exists())


def _said(folder: Path, seed: int) -> str:
    """How many records a running seed has, and the last of them."""
    try:
        with open(folder / f"seed-{seed}.part", encoding="utf-8") as file:
            lines = [line for line in file if line.endswith("\n")]
        last = _short(json.loads(lines[-1])) if lines else ""
    except (OSError, ValueError):
        return f"seed {seed}"
    return f"seed {seed}: {len(lines)} records" + (f", the last {last}" if last else "")


def _short(record: dict[str, Any]) -> str:
    text = ", ".join(f"{key} {value}" for key, value in record.items() if isinstance(value, (int, float, str)))
    return text if len(text) <= RECORD else text[:RECORD] + " …"


def _time(stamp: object) -> float:
    """Seconds since 1970 of an ISO 8601 time; 0 where there is none."""
    try:
        return datetime.fromisoformat(str(stamp)).timestamp()
    except ValueError:
        return 0.0


def _mtime(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def sentence_of(progress: Progress) -> str:
    """Elapsed and remaining time in words."""
    words = f"{duration(progress.elapsed)} so far"
    return words if progress.left is None else f"{words}, about {duration(progress.left)} left"
