"""Progress on stderr: one bar where somebody watches, a plain line every ten seconds where nobody does."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

__all__ = ["Bar", "duration", "flag_on_interrupt"]

SECONDS_PER_LINE = 10.0


def duration(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Bar:
    """How far a piece of work is, its rate and remaining time; a context manager.

    Args:
        title: what is done.
        total: how many updates; may be changed while it runs (attribute ``total``).
    """

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self._live: Any = None
        self._began = self._said = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
            self._live = Progress(*columns, console=Console(stderr=True), refresh_per_second=5)
            self._live.start()
            self._task = self._live.add_task(self.title, total=self.total, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, done: int, loss: float = math.nan) -> None:
        """Says that ``done`` updates are finished, the latest with training loss ``loss``."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = done, now
        note = self._note(done, loss, now)
        if self._live is not None:
            self._live.update(self._task, completed=done, total=self.total, description=self.title, note=note)
        elif now - self._said >= SECONDS_PER_LINE or done == self.total:
            self._said = now
            print(f"{self.title}: {note}", file=sys.stderr, flush=True)

    def _note(self, done: int, loss: float, now: float) -> str:
        fresh, spent = done - (self._first or 0), now - self._began
        words = [f"{done}/{self.total}"]
        if fresh > 0 and spent > 0:
            words.append(f"{fresh / spent:.1f}/s, {duration(spent / fresh * max(0, self.total - done))} left")
        if math.isfinite(loss):
            words.append(f"loss {loss:.3f}")
        return ", ".join(words)

    def hook(self) -> Any:
        """A training hook that moves this bar."""
        from thalweg.train.hooks import Hook, State

        bar = self

        class Mover(Hook):
            """Moves the bar after each update."""

            def after_step(self, state: State, metrics: dict[str, float]) -> None:
                bar.update(state.step, metrics["loss"])

        return Mover()


@contextmanager
def flag_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Yields a function that turns true at the first Ctrl-C or SIGTERM; the second Ctrl-C interrupts at once."""
    hit: list[int] = []

    def note(number: int, frame: object) -> None:
        hit.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.write(2, b"\nstopping after this step; once more stops at once\n")  # print may be interrupted in itself

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(hit)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
