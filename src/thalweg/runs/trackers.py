"""Sinks of well-known trackers (extra ``track``): TensorBoard, Weights & Biases, Trackio.

Each takes scalars by step and is handed records by ``FanOut`` in a thread of its own, so that none can hold up a run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from thalweg.errors import InputError, MissingExtra, suggest
from thalweg.runs.sinks import JSONLinesSink, Sink

__all__ = ["TRACKERS", "TensorBoardSink", "TrackioSink", "WandbSink", "named", "open_sinks"]

TRACKERS = ("jsonl", "tensorboard", "trackio", "wandb")


class TensorBoardSink:
    """Event files that ``tensorboard --logdir FOLDER`` shows.

    Args:
        folder: of the event files; a resumed run adds one.

    Raises:
        MissingExtra: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self._writer = _module("tensorboard.summary").Writer(str(folder))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Adds a point to each curve."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step=step)

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


class WandbSink:
    """A run of Weights & Biases; offline, its files wait under FOLDER/wandb for ``wandb sync``.

    Args:
        folder: where its files go.
        project: name of the project.
        name: name of the run; its attempts form a group of that name.
        config: shown beside the curves.
        mode: "offline", or "online" for what ``wandb login`` has set up.

    Raises:
        InputError: another mode.
        MissingExtra: wandb is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        project: str = "thalweg",
        name: str = "",
        config: Mapping[str, Any] | None = None,
        mode: str = "offline",
    ) -> None:
        if mode not in ("offline", "online"):
            raise InputError(f"mode = {mode!r} is not known: {suggest(mode, ('offline', 'online'))}")
        wandb = _module("wandb")
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        words = {"project": project, "name": name or None, "group": name or None, "config": dict(config or {})}
        self._run = wandb.init(dir=str(folder), mode=mode, settings=settings, reinit="create_new", **words)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Logs one step; steps must not fall."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


class TrackioSink:
    """A run of Trackio, in its database on this machine.

    Args:
        project: name of the project.
        name: name of the run.
        config: shown beside the curves.

    Raises:
        InputError: trackio is not installed.
    """

    def __init__(self, *, project: str = "thalweg", name: str = "", config: Mapping[str, Any] | None = None) -> None:
        self._run = _module("trackio").init(project=project, name=name or None, config=dict(config or {}))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Logs one step; values that are not finite are left out."""
        self._run.log({key: value for key, value in metrics.items() if math.isfinite(value)}, step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


def named(words: str) -> list[tuple[str, str]]:
    """The trackers that a list names, each with its project or an empty string.

    Raises:
        InputError: an unknown name.
    """
    parts = [word.strip().partition(":") for word in words.split(",") if word.strip()]
    for kind, _, _ in parts:
        if kind not in TRACKERS:
            raise InputError(f"track = {kind!r} is not known: {suggest(kind, TRACKERS)}")
    return [(kind, project) for kind, _, project in parts]


def open_sinks(
    words: str, folder: str | Path, *, name: str = "", config: Mapping[str, Any] | None = None
) -> list[Sink]:
    """The sinks that a list names.

    Args:
        words: names from ``TRACKERS``, each with a project after a colon where it has those: "tensorboard,wandb:mine".
        folder: of the run; files go to FOLDER/track.
        name: of the run.
        config: its recipe.

    Raises:
        InputError: an unknown name.
        MissingExtra: its package is not installed.
    """
    parts = named(words)
    place = Path(folder) / "track"
    made: list[Sink] = []
    for kind, project in parts:
        place.mkdir(parents=True, exist_ok=True)
        told: dict[str, Any] = {"project": project or "thalweg", "name": name, "config": config}
        if kind == "jsonl":
            made.append(JSONLinesSink(place / "metrics.jsonl"))
        elif kind == "tensorboard":
            made.append(TensorBoardSink(place / "tensorboard"))
        else:
            made.append(WandbSink(place, **told) if kind == "wandb" else TrackioSink(**told))
    return made


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        if name == "trackio":  # its releases want another pillow than the rest, so no extra installs it
            raise InputError("trackio is not installed: pip install trackio") from None
        raise MissingExtra(name.partition(".")[0], "track") from None
