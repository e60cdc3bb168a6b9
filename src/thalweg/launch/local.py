"""Several runs at once on this machine: a pool of processes with a fixed number of threads each.

A job that branches from another (``train.fork``) starts when that one is done. Ctrl-C reaches the workers as a flag:
each writes a checkpoint and stops, and the same call goes on from there. Where a process is killed from outside, as the
system does when memory runs out, all start anew and resume their runs, up to three times.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from thalweg.errors import InputError, Interrupted
from thalweg.runs import Run
from thalweg.train.recipe import Recipe

__all__ = ["Interrupted", "Job", "LocalPool", "Progress"]

REPORT_SECONDS = 0.2
RETRIES = 3  # times that a pool which lost a process starts anew; as on Ray
_SHARED: dict[str, Any] = {}  # what the pool gave this worker process


@dataclass(frozen=True, slots=True)
class Job:
    """One run to train.

    Args:
        folder: the run folder; a run of this recipe found there is resumed, one that is done is left alone.
        recipe: what to train.
        source: another run (of this list, or on disk) whose past this one shares and branches from.
    """

    folder: Path
    recipe: Recipe
    source: Path | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Args:
        folder: which job.
        step: finished updates.
        steps: updates in all.
        loss: the latest training loss, nats per token; nan before the first.
    """

    folder: Path
    step: int
    steps: int
    loss: float


class LocalPool:
    """A context that trains lists of jobs in worker processes.

    Args:
        workers: processes, >= 1.
        threads: torch threads in each, >= 1.
        device: for every job.
        on_progress: called in this process, at most some five times a second and job.
        tolerate: failures of these kinds end their own job only.

    Raises:
        InputError: workers or threads below 1.
    """

    def __init__(
        self,
        *,
        workers: int,
        threads: int = 1,
        device: str = "cpu",
        on_progress: Callable[[Progress], None] = lambda progress: None,
        tolerate: tuple[type[Exception], ...] = (),
    ) -> None:
        if workers < 1 or threads < 1:
            raise InputError(f"workers = {workers} and threads = {threads} must be at least 1")
        self._workers, self._threads = workers, str(threads)
        self._on_progress = on_progress
        self._tolerate = tolerate
        self._device = device
        self._losses = 0
        self._open()

    def _open(self) -> None:
        """Starts the processes, with a flag and a queue of their own: a killed process may hold the old ones' locks."""
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._queue = context.SimpleQueue()
        others = set(multiprocessing.active_children())
        with self._starting():
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=context,
                initializer=_begin,
                initargs=(self._stop, self._queue, int(self._threads), os.getpid()),
            )
            ready = [self._pool.submit(_ready) for _ in range(self._workers)]
        try:
            for future in ready:
                future.result()
        except BaseException:  # Ctrl-C while workers load torch: they have nothing to save
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            self._pool.shutdown(wait=True, cancel_futures=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, jobs: Sequence[Job]) -> None:
        """Trains all jobs.

        Raises:
            Interrupted: Ctrl-C came; every run is resumable.
            InputError: jobs that branch from one another.
            InputError, OSError, Diverged: the first failure of a job; the others have stopped with a checkpoint.
        """
        waiting = list(jobs)
        running: dict[Future[str], Job] = {}
        failure: BaseException | None = None
        with _sigint(lambda: self._stop.set()):
            while waiting or running:
                if failure is None and not self._stop.is_set():
                    self._start(waiting, running)
                if not running:
                    break
                done, _ = wait(running, timeout=REPORT_SECONDS, return_when=FIRST_COMPLETED)
                self._drain()
                if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                    done, _ = wait(running)  # one process lost ends the others too
                    failure = failure or self._lost(waiting, done, running)
                for future in done:
                    del running[future]
                    error = future.exception()
                    if not isinstance(error, (BrokenProcessPool, *self._tolerate)):
                        failure = failure or error
                if failure is not None:
                    self._stop.set()
        self._drain()
        if failure is not None:
            raise failure
        if self._stop.is_set():
            raise Interrupted("every run has a checkpoint")
        if waiting:
            raise InputError(
                f"{waiting[0].folder} waits for {waiting[0].source}, which waits for it: give one no source"
            )

    def _start(self, waiting: list[Job], running: dict[Future[str], Job]) -> None:
        """Submits every job whose source is not still to come."""
        unfinished = {job.folder for job in waiting} | {job.folder for job in running.values()}
        for job in list(waiting):
            if job.source in unfinished:
                continue
            with self._starting():
                try:
                    future = self._pool.submit(_train, job, self._device)
                except BrokenProcessPool as error:  # killed since the last look
                    future = Future()
                    future.set_exception(error)
            running[future] = job
            waiting.remove(job)

    def _lost(
        self, waiting: list[Job], ended: set[Future[str]], running: Mapping[Future[str], Job]
    ) -> InputError | None:
        """Puts back the jobs of a pool that broke and starts it anew; returns a refusal where that is no use."""
        waiting[:0] = [running[future] for future in ended if isinstance(future.exception(), BrokenProcessPool)]
        self._losses += 1
        if self._losses > RETRIES:
            return InputError(
                f"training processes were killed {self._losses} times, perhaps for want of memory: use fewer workers "
                "and give the same command again, which goes on"
            )
        self._pool.shutdown(wait=True, cancel_futures=True)
        if not self._stop.is_set():
            print("a training process was killed: its runs go on from their checkpoints", file=sys.stderr, flush=True)
            self._open()
        return None

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """For processes that start inside: torch's threads, and Ctrl-C, which comes to this process after the block."""
        with _environment({"OMP_NUM_THREADS": self._threads}):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                yield
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _drain(self) -> None:
        while not self._queue.empty():
            self._on_progress(Progress(*self._queue.get()))


def _begin(stop: Any, queue: Any, threads: int, parent: int) -> None:
    """Prepares a worker: the parent alone hears Ctrl-C; an orphan stops at its next step and ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(threads)
    busy = threading.Lock()
    _SHARED.update(stop=lambda: stop.is_set() or os.getppid() != parent, queue=queue, data={}, busy=busy)
    threading.Thread(target=_end_with_parent, args=(busy,), daemon=True).start()


def _end_with_parent(busy: threading.Lock) -> None:
    """Ends this worker when its parent has died and no job is at work: the pool's queue never tells an orphan."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        with busy:
            os._exit(1)


def _ready() -> None:
    import thalweg.train.loop  # noqa: F401


def _train(job: Job, device: str) -> str:
    """Runs in a worker: resumes, branches or creates the run, and trains it."""
    with _SHARED["busy"]:
        return _train_here(job, device)


def _train_here(job: Job, device: str) -> str:
    from thalweg.train.fork import fork
    from thalweg.train.loop import train
    from thalweg.train.setup import prepare

    key = (job.recipe.data, job.folder.parent)
    if key not in _SHARED["data"]:  # before a folder is made: data that do not fit leave nothing behind
        _SHARED["data"][key] = prepare(job.recipe.data, job.folder.parent / "data")
    data = _SHARED["data"][key]
    data.check(job.recipe)
    there = (job.folder / "run.json").exists()
    if job.source is not None and not there:
        run = fork(Run.open(job.source), job.folder, job.recipe)
    else:
        run = Run.resume_or_create(job.folder, job.recipe.to_dict(), steps=job.recipe.steps)
    if run.status == "done":
        _SHARED["queue"].put((job.folder, job.recipe.steps, job.recipe.steps, float("nan")))
        return "done"
    reporter = _reporter(job, _SHARED["queue"])
    return train(run, data=data, hooks=(reporter,), device=device, stop=_SHARED["stop"])


def _reporter(job: Job, queue: Any) -> Any:
    from thalweg.train.hooks import Hook, State

    class Reporter(Hook):
        """Sends step and loss to the parent process a few times a second."""

        sent = 0.0

        def after_step(self, state: State, metrics: dict[str, float]) -> None:
            now = time.monotonic()
            if now - self.sent >= REPORT_SECONDS or state.step == job.recipe.steps:
                self.sent = now
                queue.put((job.folder, state.step, job.recipe.steps, metrics["loss"]))

    return Reporter()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for processes started inside the context."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _sigint(first: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C calls ``first``, the second raises KeyboardInterrupt; outside the main thread neither."""
    try:
        before = signal.getsignal(signal.SIGINT)

        def handle(number: int, frame: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            first()

        signal.signal(signal.SIGINT, handle)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
