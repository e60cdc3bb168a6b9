"""What the tests run in processes of their own: a pool of jobs, and a small forecast that stops where it is told."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

from thalweg.errors import Interrupted
from thalweg.launch import forecast
from thalweg.launch.local import Job, LocalPool
from thalweg.launch.plan import Plan
from thalweg.train.recipe import Recipe, load_recipe


def forked() -> None:
    """Workers as copies of this process, which has torch already: only tests can promise that no thread minds."""
    real = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: real("fork")  # type: ignore[assignment]


def jobs(folder: Path, listed: list[dict]) -> list[Job]:
    return [
        Job(folder / job["name"], load_recipe(job["recipe"]), folder / job["source"] if job.get("source") else None)
        for job in listed
    ]


def pool(words: list[str]) -> int:
    """Trains the jobs of a JSON file under a folder; 130 where it was interrupted, 1 where a job failed."""
    os.setpgrp()  # a Ctrl-C of a terminal reaches all processes of the group
    folder, listed, start = Path(words[0]), json.loads(Path(words[1]).read_text()), words[2]
    if start == "fork":
        forked()
    todo = jobs(folder, listed)
    try:
        folder.mkdir(exist_ok=True)  # says that it begins
        with LocalPool(workers=2) as workers:
            workers.run(todo)
    except (Interrupted, KeyboardInterrupt):
        return 130
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def small_plan(words: dict) -> Plan:
    return Plan(
        recipe=Recipe.from_dict(words["recipe"]), **{key: value for key, value in words.items() if key != "recipe"}
    )


def run_forecast(words: list[str]) -> int:
    """Runs the forecast of a JSON plan in a folder; stops in the stage words[2]."""
    forked()
    folder, plan, stop = Path(words[0]), small_plan(json.loads(Path(words[1]).read_text())), words[2]
    now, sent = [""], []

    def stage(name: str) -> None:
        now[0] = name
        print(name, flush=True)
        if name == stop == "result":
            raise Interrupted

    def progress(event: object) -> None:
        if now[0] == stop and not sent:
            sent.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    if stop == "law":
        forecast.design = interrupted
    try:
        forecast.Forecaster(plan, folder, workers=2, on_stage=stage, on_progress=progress).run()
    except Interrupted:
        return 130
    return 0


def interrupted(*words: object, **options: object) -> None:
    raise Interrupted
