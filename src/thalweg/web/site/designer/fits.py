"""Fits in the background: one at a time, its progress to be asked for, its result a document on the shelf."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from queue import Queue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Literal

from thalweg.errors import InputError
from thalweg.web.site.designer.shelf import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from thalweg.laws import Law, LossCurve

__all__ = ["Fits", "Job", "Order", "document"]

WAITING = 8  # fits that may wait
KEPT = 64  # finished ones that are remembered


@dataclass(frozen=True, slots=True)
class Order:
    """What shall be fitted.

    Attributes:
        curves: name of the upload, or ``example``.
        train: names of the curves to fit, in the upload's order.
        law: a name of `LAWS`.
        method: of the fit.
    """

    curves: str
    train: tuple[str, ...]
    law: str = "multi-power"
    method: Literal["default", "plain", "reference"] = "default"

    @property
    def name(self) -> str:
        """The job's name in addresses: equal orders have the same."""
        return name_of(repr(self).encode())


@dataclass(slots=True)
class Job:
    """One fit.

    Attributes:
        order: what is fitted.
        state: where it stands.
        doing: what is done now.
        share: of the whole that is done, in [0, 1].
        began: when it started, seconds of the monotonic clock.
        seconds: how long it took, once it is done.
        result: name of the law's document once it is done.
        problem: why it failed.
    """

    order: Order
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    doing: str = "waits for another fit"
    share: float = 0.0
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    result: str = ""
    problem: str = ""


def document(law: Law, order: Order | None) -> bytes:
    """A law and what it was fitted to, as JSON: what the designer keeps and names."""
    fitted = {"curves": order.curves, "train": order.train, "method": order.method} if order else None
    return json.dumps({"law": law.to_json(), "fitted": fitted}).encode()


class Fits:
    """A queue with one worker, which starts with the first order.

    Args:
        read: the curves of an upload by its name.
        keep: puts a document on the shelf and returns its name.
        held: whether the document of a name is still there.
    """

    def __init__(
        self,
        read: Callable[[str], Mapping[str, LossCurve]],
        keep: Callable[[bytes], str],
        held: Callable[[str], bool],
    ) -> None:
        self.read, self.keep, self.held = read, keep, held
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: Queue[Job] = Queue()
        self._lock = Lock()
        self._worker: Thread | None = None

    def get(self, name: str) -> Job | None:
        """The job of that name, if it is known."""
        with self._lock:
            return self._jobs.get(name)

    def order(self, order: Order) -> Job:
        """The job of an order, started unless it runs, or is done and its law still there.

        Raises:
            InputError: too many fits wait.
        """
        with self._lock:
            known = self._jobs.get(order.name)
            if known is not None and (known.state in ("waiting", "running") or self.held(known.result)):
                return known
            if self._queue.qsize() >= WAITING:
                raise InputError(f"{WAITING} fits are waiting already; try again when one is done")
            job = self._jobs[order.name] = Job(order)
            while len(self._jobs) > KEPT:
                done = next((n for n, j in self._jobs.items() if j.state in ("done", "failed")), None)
                if done is None:
                    break
                del self._jobs[done]
            self._queue.put(job)
            if self._worker is None:
                self._worker = Thread(target=self._work, name="designer-fits", daemon=True)
                self._worker.start()
        return job

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            job.state, job.began = "running", time.monotonic()
            try:
                job.result = self._fit(job)
                job.share, job.state = 1.0, "done"
            except InputError as error:
                job.problem, job.state = str(error), "failed"
            except Exception as error:  # a page says it; the worker goes on
                job.problem, job.state = f"{type(error).__name__}: {error}", "failed"
            job.seconds = time.monotonic() - job.began

    def _fit(self, job: Job) -> str:
        from thalweg.laws import fit

        order = job.order

        def heard(what: str, share: float) -> None:
            job.doing, job.share = what, share

        heard("reading the curves", 0.0)
        curves: Any = self.read(order.curves)
        chosen = [curves[name] for name in order.train if name in curves]
        law = fit(chosen, order.law, method=order.method, progress=heard)
        return self.keep(document(law, order))
