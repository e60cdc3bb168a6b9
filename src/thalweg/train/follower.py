"""A run as the processes other than the first have it: to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from thalweg.runs import Run, Sink
from thalweg.runs.run import Attempt

__all__ = ["Follower"]


class Follower(Run):
    """A run folder that another process writes; nothing here touches it."""

    @contextmanager
    def attempt(self, *, device: str = "cpu", sinks: Sequence[Sink] = ()) -> Iterator[Attempt]:
        """An attempt that leaves no trace."""
        yield Attempt()

    def log(self, step: int, /, **metrics: float) -> None:
        """The first process logs."""
