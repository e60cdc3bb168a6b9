"""Run folders: a recipe, an append-only log, checkpoints and the environment; lists, comparison, sinks to trackers."""

from __future__ import annotations

from thalweg.runs.checkpoints import Checkpoint
from thalweg.runs.run import Attempt, Run
from thalweg.runs.sinks import FanOut, JSONLinesSink, Sink
from thalweg.runs.state import Status, run_root

__all__ = ["Attempt", "Checkpoint", "FanOut", "JSONLinesSink", "Run", "Sink", "Status", "run_root"]
