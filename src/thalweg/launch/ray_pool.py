"""Several runs at once on the machines of a Ray cluster, or on this one: the local pool with other workers.

Every machine must see the run folders and the text under the same paths, and have this package. A job whose process or
machine dies is started again from its newest checkpoint. Ctrl-C reaches the workers through a board that they look at a
few times a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from thalweg.data.preparing.ray_engine import join_ray, quiet
from thalweg.errors import InputError
from thalweg.launch import local
from thalweg.launch.local import REPORT_SECONDS, RETRIES, Job, LocalPool, Progress

__all__ = ["LostWorker", "RayPool", "pool_at"]


class LostWorker(RuntimeError):
    """A job lost its process more than ``RETRIES`` times; its run resumes from the newest checkpoint."""


class RayPool(LocalPool):
    """A context that trains lists of jobs on Ray; used as ``LocalPool`` is.

    Args:
        workers: jobs at once, >= 1, where Ray is started here; a cluster runs as many as its CPUs allow.
        threads: torch threads of each, >= 1.
        device: for every job; on "cuda" each gets a GPU of its own.
        address: host:port of a cluster, "auto" for the one that this machine belongs to, or empty for this machine.
        on_progress: called in this process, at most some five times a second and job.
        tolerate: failures of these kinds end their own job only.

    Raises:
        InputError: workers or threads below 1, or nothing answers at the address.
        MissingExtra: Ray is not installed.
    """

    def __init__(
        self,
        *,
        workers: int,
        threads: int = 1,
        device: str = "cpu",
        address: str = "",
        on_progress: Callable[[Progress], None] = lambda progress: None,
        tolerate: tuple[type[Exception], ...] = (),
    ) -> None:
        if workers < 1 or threads < 1:
            raise InputError(f"workers = {workers} and threads = {threads} must be at least 1")
        self._on_progress, self._tolerate = on_progress, tolerate
        self._device, self._threads = device, str(threads)
        ray, ours = join_ray(workers * threads, address)
        board = _Board(ray)
        self._stop = self._queue = board  # type: ignore[assignment]  # pyrefly: ignore
        self._pool = _Tasks(ray, ours, board, threads, device)  # type: ignore[assignment]  # pyrefly: ignore


def pool_at(ray: str, **options: Any) -> LocalPool:
    """The local pool where ``ray`` is empty, else ``RayPool``: on this machine ("local") or at that address."""
    return RayPool(address="" if ray == "local" else ray, **options) if ray else LocalPool(**options)


class _Board:
    """What driver and workers tell one another: an actor with the flag to stop and the reports that nobody read yet."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._stopped = False
        self._read: list[tuple[Any, ...]] = []
        with quiet():
            self.actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Notes).remote()

    def set(self) -> None:
        self._stopped = True
        self.actor.stop.remote()

    def is_set(self) -> bool:
        return self._stopped

    def empty(self) -> bool:
        """Whether there is no report; asks the actor where none is at hand."""
        if not self._read:
            self._read = self._ray.get(self.actor.take.remote())
        return not self._read

    def get(self) -> tuple[Any, ...]:
        return self._read.pop(0)


class _Notes:
    """The actor."""

    def __init__(self) -> None:
        self._stopped, self._reports = False, []

    def stop(self) -> None:
        self._stopped = True

    def post(self, reports: list[tuple[Any, ...]]) -> bool:
        self._reports += reports
        return self._stopped

    def take(self) -> list[tuple[Any, ...]]:
        taken, self._reports = self._reports, []
        return taken


class _Worker:
    """A worker's side of the board: asked at every step, it asks the actor a few times a second."""

    def __init__(self, actor: Any) -> None:
        self._actor, self._asked, self._stopped = actor, 0.0, False

    def put(self, report: tuple[Any, ...]) -> None:
        self._ask([report])

    def stopped(self) -> bool:
        if not self._stopped and time.monotonic() - self._asked >= REPORT_SECONDS:
            self._ask([])
        return self._stopped

    def _ask(self, reports: list[tuple[Any, ...]]) -> None:
        import ray

        self._stopped = ray.get(self._actor.post.remote(reports))
        self._asked = time.monotonic()


class _Tasks:
    """Jobs as Ray tasks, behind the two methods of an executor that the pool uses."""

    def __init__(self, ray: Any, ours: bool, board: _Board, threads: int, device: str) -> None:
        self._ray, self._ours, self._board, self._threads = ray, ours, board, threads
        gpus = 1 if device.startswith("cuda") else 0
        self._task = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)(_train)

    def submit(self, function: object, job: Job, device: str) -> Future[str]:
        """Starts a job; ``function``, the local pool's, is not needed here."""
        found: Future[str] = Future()
        found.set_running_or_notify_cancel()

        def done(task: Future[Any]) -> None:
            error = task.exception()
            if error is None and isinstance(task.result(), Exception):
                error = task.result()
            if error is not None:
                found.set_exception(_plain(error, job))
            else:
                found.set_result(task.result())

        with quiet():
            self._task.remote(job, device, self._threads, self._board.actor).future().add_done_callback(done)
        return found

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Ends what was started here; the pool's ``run`` has waited for the jobs."""
        with quiet():
            self._ray.kill(self._board.actor)
            if self._ours:
                self._ray.shutdown()


def _plain(error: BaseException, job: Job) -> BaseException:
    """The job's own error, without Ray's account of where it was; or a sentence on the worker that was lost."""
    from ray.exceptions import NodeDiedError, RayTaskError, WorkerCrashedError

    if isinstance(error, RayTaskError):
        return error.cause if isinstance(error.cause, BaseException) else RuntimeError(str(error))
    if isinstance(error, (WorkerCrashedError, NodeDiedError)):
        return LostWorker(
            f"{job.folder} lost its process {RETRIES + 1} times (out of memory?): its run resumes from its newest "
            "checkpoint"
        )
    return error


def _train(job: Job, device: str, threads: int, actor: Any) -> str | Exception:
    """Runs in a Ray worker, which may have trained other jobs before; returns errors that are the user's to mend."""
    import torch

    from thalweg.train.loop import Diverged

    torch.set_num_threads(threads)
    board = _Worker(actor)
    data = local._SHARED.get("data", {})
    local._SHARED.update(stop=board.stopped, queue=board, data=data, busy=threading.Lock())
    try:
        return local._train(job, device)
    except (Diverged, OSError) as error:
        return error
    except InputError as error:
        return InputError(str(error))  # some kinds cannot be pickled
