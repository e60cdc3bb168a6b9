"""Studies started from the pages: one at a time, each a process of its own, the others wait in a bounded line.

What is true of a study is in its folder: the lock that the running process holds, the seeds that are done, the request
(``request.json``) with how the process ended, and its words (``output.log``). So another server, or this one started
anew, finds it again. When the server stops in order, its study is interrupted, and resumes when it is started again;
when the server is killed, the study goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from thalweg.errors import InputError
from thalweg.runs.environment import now
from thalweg.studies.outcomes import REQUEST, find_outcomes, read_request, writer_of

__all__ = ["LOG", "SIGNALS", "Job", "Worker", "study_command"]

LOG = "output.log"
LONGEST_LINE = 8  # studies that may wait
LOOK = 0.25  # seconds between looks at the process
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
"""What the first, the second and every further request to stop sends."""


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for: a study, its preset, seeds 0 to ``seeds`` - 1, and how many of them at a time."""

    slug: str
    scale: str
    seeds: int
    jobs: int

    @property
    def name(self) -> str:
        """The folder's name, the same as of ``thalweg study run`` without ``--out``."""
        return f"{self.slug}-{self.scale}"


def study_command(job: Job, folder: Path) -> list[str]:
    """``thalweg study run`` of the job, by this interpreter."""
    device = "auto" if job.scale == "gpu" else "cpu"
    words = [job.slug, "--scale", job.scale, "--seeds", str(job.seeds), "--jobs", str(job.jobs)]
    return [sys.executable, "-m", "thalweg", "study", "run", *words, "--device", device, "--out", str(folder)]


class Worker:
    """The line of studies of one server; its thread starts with the first.

    Args:
        root: folder of the runs.
        command: what is run for a job in its folder.
    """

    def __init__(self, root: Path, command: Callable[[Job, Path], list[str]] = study_command) -> None:
        self._root, self._command = root, command
        self._changed = Condition()
        self._line: deque[Job] = deque()
        self._child: tuple[str, subprocess.Popen[bytes]] | None = None
        self._thread: Thread | None = None
        self._closed = False
        self.lost: dict[str, str] = {}

    def submit(self, job: Job) -> bool:
        """Puts a study into the line; False where it already runs or waits, which changes nothing.

        Raises:
            InputError: the line is full.
        """
        with self._changed:
            if self.place(job.name) is not None or self.child(job.name) or writer_of(self._folder(job.name)):
                return False
            if len(self._line) >= LONGEST_LINE:
                raise InputError(f"{LONGEST_LINE} studies wait already: stop one, or wait until one ends")
            self.lost.pop(job.name, None)
            self._write(job, state="queued", asked=now())
            self._line.append(job)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="studies", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return True

    def place(self, name: str) -> int | None:
        """How many studies wait before this one; None where it does not wait."""
        return next((place for place, job in enumerate(list(self._line)) if job.name == name), None)

    def child(self, name: str) -> subprocess.Popen[bytes] | None:
        """The process of a study that this server started, until its end is written down."""
        child = self._child
        return child[1] if child and child[0] == name else None

    def stop(self, name: str, times: int = 0) -> bool:
        """Takes a study out of the line, or asks its process to end; False where there is neither.

        Args:
            name: of its folder.
            times: how often it was asked before; later requests are harder to ignore.
        """
        with self._changed:
            for job in [job for job in self._line if job.name == name]:
                self._line.remove(job)
                self._write(job, state="ended", ended=now(), code=-signal.SIGINT)
                return True
        child = self.child(name)
        if child and child.poll() is not None:
            return False
        process = child.pid if child else writer_of(self._folder(name))
        return process is not None and _signal(process, SIGNALS[min(times, len(SIGNALS) - 1)])

    def close(self) -> None:
        """Interrupts the study that this server started, and starts no other; those that wait are found as left."""
        with self._changed:
            self._closed = True
            child = self._child
            self._changed.notify_all()
        if child is None:
            return
        for number, patience in zip(SIGNALS, (3.0, 1.5, 1.0), strict=True):
            if child[1].poll() is not None:
                break
            _signal(child[1].pid, number)
            with suppress(subprocess.TimeoutExpired):
                child[1].wait(patience)
        if self._thread is not None:
            self._thread.join(1.0)

    def _folder(self, name: str) -> Path:
        return self._root / "studies" / name

    def _write(self, job: Job, **more: Any) -> None:
        from thalweg.runs.state import write_json

        write_json(self._folder(job.name) / REQUEST, asdict(job) | more)

    def _work(self) -> None:
        """The thread: the first of the line as soon as nothing else runs, also nothing that another server started."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._line or self._closed, timeout=None)
                if self._closed:
                    return
                busy = any(writer_of(outcome.folder) for outcome in find_outcomes(self._root))
                if busy:
                    self._changed.wait(2 * LOOK)
                    continue
                job = self._line[0]
                begun = self._begin(job)
                self._line.popleft()  # only now, so that it waits or runs at every moment
            if begun is not None:
                self._follow(job, begun)

    def _begin(self, job: Job) -> str | None:
        """Starts the process; the time of the start, or None where it could not be started."""
        folder = self._folder(job.name)
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        began = now()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / LOG, "wb") as log:
                child = subprocess.Popen(
                    self._command(job, folder),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environment,
                )
            self._child = (job.name, child)
            self._write(job, state="running", began=began, process=child.pid)
        except OSError as error:
            self.lost[job.name] = f"it could not be started: {error}"
            return None
        return began

    def _follow(self, job: Job, began: str) -> None:
        """Waits for the process and writes down how it ended; ends one whose folder is gone."""
        assert self._child is not None
        child, request, times = self._child[1], self._folder(job.name) / REQUEST, 0
        while child.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(LOOK)
            if not request.exists() and child.poll() is None:
                self.lost[job.name] = "its folder was removed while it ran, so it was stopped"
                _signal(child.pid, SIGNALS[min(times // 20, len(SIGNALS) - 1)])
                times += 1
        if request.exists():
            stops = read_request(request.parent).get("stops", 0)
            self._write(job, state="ended", began=began, ended=now(), code=child.returncode, stops=stops)
        with self._changed:
            self._child = None


def _signal(process: int, number: signal.Signals) -> bool:
    """Sends a signal to a process, with its workers where it leads a group of its own."""
    try:
        if os.getpgid(process) == process:
            os.killpg(process, number)
        else:
            os.kill(process, number)
    except OSError:
        return False
    return True
