"""A run: a folder that holds a recipe, its log, its checkpoints and its environment, and is enough to resume it.

``run.json`` (format, name, status, attempts), ``recipe.toml``, ``environment.json`` (one entry an attempt),
``log.jsonl``, ``checkpoints/step-00000100/``, ``lock``. The process may be killed at any moment: the log loses at most
a part of its last line, a checkpoint is whole or absent.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np

from thalweg.errors import InputError
from thalweg.files import write_atomic
from thalweg.runs.checkpoints import Checkpoint, checkpoint_folder, clear_leftovers, list_checkpoints, prune
from thalweg.runs.compare import differences
from thalweg.runs.environment import environment, now
from thalweg.runs.lock import FolderLock
from thalweg.runs.log import Log, LogWriter, read_log
from thalweg.runs.sinks import FanOut, Sink
from thalweg.runs.state import FILE, Status, new_state, read_json, read_state, true_status, write_json

__all__ = ["Attempt", "Run"]

ENVIRONMENT = "environment.json"


class Attempt:
    """One stretch of writing.

    Attributes:
        number: 1 for the first.
        status: how it ends unless something else happens.
        error: the exception that ended it, or an empty string.
        repaired: bytes of an unfinished line that an earlier attempt left and this one cut off.
        sinks: after the end, what became of each sink's records.
    """

    def __init__(self) -> None:
        self.number = 0
        self.status: Status = "done"
        self.error = ""
        self.repaired = 0
        self.sinks: dict[str, Any] = {}

    def interrupt(self) -> None:
        """Lets the attempt end as ``interrupted``."""
        self.status = "interrupted"


class Run:
    """A run folder, open for reading; ``attempt`` opens it for writing.

    Attributes:
        folder: where everything lies.
        recipe: contents of ``recipe.toml``.
    """

    def __init__(self, folder: Path, recipe: dict[str, Any]) -> None:
        self.folder = folder
        self.recipe = recipe
        self._writer: LogWriter | None = None
        self._sinks: FanOut | None = None

    @classmethod
    def create(
        cls, folder: str | Path, recipe: Mapping[str, Any] | str, *, steps: int | None = None, name: str | None = None
    ) -> Self:
        """Makes a new run.

        Args:
            folder: absent or empty, or left half-made by a process that was killed here.
            recipe: a mapping that TOML can write, or TOML text (kept as it is, comments included).
            steps: how many optimizer steps the run will have, for lists and progress.
            name: for lists; the folder's name if None.

        Raises:
            InputError: the folder holds a run or other files, or TOML cannot write the recipe.
        """
        folder = Path(folder)
        if (folder / FILE).exists():
            raise InputError(f"{folder} already holds a run: resume it, or choose another folder")
        _clear_temporary(folder)
        if folder.is_file() or (folder.is_dir() and {path.name for path in folder.iterdir()} - {"recipe.toml"}):
            raise InputError(f"{folder} is not empty and not a run: choose another folder")
        text, recipe = _toml(recipe)
        write_atomic(folder / "recipe.toml", text)
        write_json(folder / FILE, new_state(name or folder.resolve().name, now(), steps))
        return cls(folder, recipe)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Opens an existing run.

        Raises:
            InputError: there is no run, it is of another format version, or one of its files is damaged.
        """
        folder = Path(folder)
        read_state(folder)
        try:
            recipe = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{folder / 'recipe.toml'} cannot be read ({error}): restore it from a copy") from None
        return cls(folder, recipe)

    @classmethod
    def resume_or_create(
        cls, folder: str | Path, recipe: Mapping[str, Any] | str, *, steps: int | None = None, name: str | None = None
    ) -> Self:
        """Opens the run in ``folder`` if it has this very recipe, or makes it (see ``create``).

        Raises:
            InputError: the run there has another recipe (differing entries are named), or as ``create`` and ``open``.
        """
        if not (Path(folder) / FILE).exists():
            return cls.create(folder, recipe, steps=steps, name=name)
        run = cls.open(folder)
        if changed := differences({"there": run.recipe, "asked": _toml(recipe)[1]}):
            listed = "; ".join(f"{key}: {row['there']!r} there, {row['asked']!r} asked" for key, row in changed.items())
            raise InputError(f"{folder} holds a run of another recipe ({listed}): choose another folder")
        return run

    @property
    def state(self) -> dict[str, Any]:
        """Contents of ``run.json``: format, version, name, created, steps, status as written, attempts, error."""
        return read_state(self.folder)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.state["name"]

    @property
    def status(self) -> Status:
        """``new``, ``running``, ``interrupted``, ``done`` or ``failed``.

        A run that was killed is ``interrupted``: it says running, but no process holds its lock.
        """
        return true_status(self.folder, self.state["status"])

    @contextmanager
    def attempt(self, *, device: str = "cpu", sinks: Sequence[Sink] = ()) -> Iterator[Attempt]:
        """Opens the run for writing: takes the lock, repairs the log, numbers the attempt, and records how it ends.

        It ends as ``done``; as ``interrupted`` after ``attempt.interrupt()``, Ctrl-C or an exit; as ``failed`` with any
        other exception, whose text is kept in ``run.json``.

        Args:
            device: recorded in ``environment.json``.
            sinks: receive every record as well; their failures and slowness never reach the caller.

        Raises:
            InputError: another process is writing this run.
        """
        lock = FolderLock(self.folder)
        lock.acquire()
        attempt = Attempt()
        try:
            self._begin(attempt, device, sinks)
            yield attempt
        except Exception as error:
            attempt.status, attempt.error = "failed", f"{type(error).__name__}: {error}"
            raise
        except BaseException:
            attempt.interrupt()
            raise
        finally:
            self._end(attempt)
            lock.release()

    def _begin(self, attempt: Attempt, device: str, sinks: Sequence[Sink]) -> None:
        clear_leftovers(self.folder / "checkpoints")
        _clear_temporary(self.folder)
        state = self.state
        attempt.number = state["attempts"] + 1
        self._writer = LogWriter(self.folder / "log.jsonl", attempt.number)
        attempt.repaired = self._writer.repaired
        state.pop("error", None)
        write_json(self.folder / FILE, state | {"status": "running", "attempts": attempt.number})
        made_with = self.folder / ENVIRONMENT
        known = read_json(made_with) if made_with.exists() else {}
        write_json(made_with, known | {str(attempt.number): environment(device)})
        self._writer.event("start", time=now(), cut_bytes=attempt.repaired)
        self._sinks = FanOut(sinks) if sinks else None

    def _end(self, attempt: Attempt) -> None:
        """Closes everything; a disk that refuses must not hide why the attempt ended."""
        if self._sinks:
            self._sinks.close()
            attempt.sinks = {name: asdict(report) for name, report in self._sinks.report().items()}
            self._sinks = None
        if self._writer:
            with suppress(OSError):
                lost = {"sinks": attempt.sinks} if attempt.sinks else {}
                self._writer.event("end", time=now(), status=attempt.status, **lost)
                self._writer.sync()
            self._writer.close()
            self._writer = None
        ended = {"status": attempt.status} | ({"error": attempt.error} if attempt.error else {})
        with suppress(OSError, InputError):
            write_json(self.folder / FILE, self.state | ended)

    def log(self, step: int, /, **metrics: float) -> None:
        """Records metrics of optimizer step ``step`` (0-based), inside an attempt.

        Raises:
            InputError: no attempt is open, or a metric is no number.
            OSError: the disk refuses; earlier records and checkpoints are intact.
        """
        if self._writer is None:
            raise InputError(f"run {self.folder} is open for reading: log inside `with run.attempt():`")
        self._writer.record(step, metrics)
        if self._sinks:
            self._sinks.log(metrics, step)

    def read(self) -> Log:
        """The whole log: records by step, events, and the size of an unfinished last line."""
        return read_log(self.folder / "log.jsonl")

    def records(self, metric: str | None = None) -> list[dict[str, Any]]:
        """One dict a step, ascending, with ``step`` and the last value of each metric.

        Args:
            metric: only the steps where this was recorded.
        """
        records = self.read().records.items()
        return [{"step": step} | metrics for step, metrics in records if metric is None or metric in metrics]

    def curve(self, metric: str = "loss") -> tuple[np.ndarray, np.ndarray]:
        """Steps int64 (n,) and values float64 (n,) of one metric, where it was recorded."""
        records = self.records(metric)
        steps = np.asarray([record["step"] for record in records], dtype=np.int64)
        return steps, np.asarray([record[metric] for record in records], dtype=np.float64)

    def checkpoint_folder(self, step: int) -> AbstractContextManager[Path]:
        """``with run.checkpoint_folder(step) as folder:`` write files there; it becomes visible whole or not at all.

        The log is synced first: a checkpoint never survives a power cut that its records do not.
        """
        if self._writer is None:
            raise InputError(f"run {self.folder} is open for reading: write checkpoints inside `with run.attempt():`")
        self._writer.sync()
        return checkpoint_folder(self.folder / "checkpoints", step)

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The complete checkpoints, oldest step first."""
        return list_checkpoints(self.folder / "checkpoints")

    def latest_checkpoint(self) -> Checkpoint | None:
        """The newest complete checkpoint, its files' sizes checked.

        Raises:
            InputError: a file of it is missing or has another size than when it was written.
        """
        found = self.checkpoints()
        if not found:
            return None
        found[-1].check()
        return found[-1]

    def prune_checkpoints(self, keep: int, *, always: Collection[int] = ()) -> None:
        """Deletes all checkpoints but the newest ``keep`` and those of the steps ``always``."""
        prune(self.folder / "checkpoints", keep, always=always)


def _clear_temporary(folder: Path) -> None:
    """Removes what killed atomic writes left behind."""
    for name in (FILE, "recipe.toml", ENVIRONMENT):
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink(missing_ok=True)


def _toml(recipe: Mapping[str, Any] | str) -> tuple[str, dict[str, Any]]:
    """The recipe as TOML text and as read back from it."""
    import tomli_w

    try:
        text = recipe if isinstance(recipe, str) else tomli_w.dumps(recipe)
        return text, tomllib.loads(text)
    except (TypeError, ValueError) as error:
        raise InputError(f"recipe cannot be written as TOML: {error}") from None
