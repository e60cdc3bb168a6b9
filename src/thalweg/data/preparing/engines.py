"""Where parts are worked on: in this process, in a pool of processes, or on Ray Data.

An engine calls one function with many numbers and hands back what it returned by number. The function writes files and
returns counts, so the engine decides nothing about the output.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from thalweg.errors import InputError, Interrupted, suggest

__all__ = ["ENGINES", "Engine", "make_engine"]

Job = Callable[[int], dict[str, Any]]
ENGINES = ("memory", "pool", "ray")
DEATHS = 3
"""A pool that dies this often without finishing anything between is given up."""


class Engine(Protocol):
    """Somewhere to work."""

    def run(self, job: Job, numbers: Sequence[int], done: Callable[[int], None], stop: Callable[[], bool]) -> dict:
        """``{number: job(number)}``; calls ``done`` with how many are finished.

        Raises:
            Interrupted: ``stop`` turned true; what was begun is finished first.
        """

    def close(self) -> None:
        """Gives back what was started."""


class MemoryEngine:
    """One after the other, in this process."""

    def run(self, job: Job, numbers: Sequence[int], done: Callable[[int], None], stop: Callable[[], bool]) -> dict:
        """See ``Engine``."""
        found = {}
        for number in numbers:
            if stop():
                raise Interrupted(f"{len(found)} of {len(numbers)} parts are done and kept")
            found[number] = job(number)
            done(len(found))
        return found

    def close(self) -> None:
        """Nothing was started."""


class PoolEngine:
    """A pool of new processes; one that dies is replaced and what it had is done again.

    Args:
        workers: processes; 0 takes one a core.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or os.cpu_count() or 1

    def run(self, job: Job, numbers: Sequence[int], done: Callable[[int], None], stop: Callable[[], bool]) -> dict:
        """See ``Engine``."""
        found: dict[int, dict[str, Any]] = {}
        deaths = 0
        while len(found) < len(numbers):
            before = len(found)
            try:
                self._round(job, [number for number in numbers if number not in found], found, done, stop)
            except BrokenProcessPool:
                deaths = 1 if len(found) > before else deaths + 1
                if deaths == DEATHS:
                    raise RuntimeError(
                        f"worker processes died {DEATHS} times in a row (killed, out of memory, or a function they "
                        f"cannot import?); {len(found)} of {len(numbers)} parts are done and kept: use fewer workers "
                        "or a smaller part_mb, or define given functions in a module"
                    ) from None
        return found

    def _round(
        self, job: Job, left: list[int], found: dict, done: Callable[[int], None], stop: Callable[[], bool]
    ) -> None:
        """Works until all is done or a process dies."""
        context = multiprocessing.get_context("spawn")
        workers = min(self.workers, len(left))
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_receive, initargs=(job,)) as pool:
            waiting = {pool.submit(_work, number): number for number in left}
            try:
                while waiting:
                    finished, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in finished:
                        found[waiting.pop(future)] = future.result()
                        done(len(found))
                    if stop():
                        raise Interrupted("finished parts are kept")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def close(self) -> None:
        """Pools end with each run."""


_JOB: list[Job] = []
"""In a worker: the function it works with, sent once a process and not once a part."""


def _receive(job: Job) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the caller decides what is still finished
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    _JOB[:] = [job]


def _end_with_the_caller() -> None:
    """Without this a worker whose caller was killed would wait for work for ever."""
    caller = multiprocessing.parent_process()
    if caller is not None:
        caller.join()
        os._exit(1)


def _work(number: int) -> dict[str, Any]:
    return _JOB[0](number)


def make_engine(name: str, *, workers: int = 0, address: str = "") -> Engine:
    """The engine of a name.

    Args:
        name: one of ENGINES.
        workers: processes of ``pool`` and of a local Ray; 0 takes one a core.
        address: of a Ray cluster, host:port or ``auto``; empty starts Ray on this machine.

    Raises:
        InputError: an unknown name, negative workers, or a cluster that cannot be reached.
        MissingExtra: Ray is not installed.
    """
    if name not in ENGINES:
        raise InputError(f"engine = {name!r} is not known: {suggest(name, ENGINES)}")
    if workers < 0:
        raise InputError(f"workers = {workers} must be at least 1, or 0 for one a core")
    if address and name != "ray":
        raise InputError(f"address = {address!r} is for the engine ray, not for {name}")
    if name == "ray":
        from thalweg.data.preparing.ray_engine import RayEngine

        return RayEngine(workers, address)
    return PoolEngine(workers) if name == "pool" else MemoryEngine()
