"""Run folders as training leaves them, small and quick to make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from thalweg.runs import Run
from thalweg.web.site.app import build_app
from thalweg.web.site.settings import Settings

OWN = "http://127.0.0.1:8765"
RECIPE = {"steps": 40, "batch": 4, "schedule": "constant:peak=0.1", "data": {"context": 8}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the runs."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def client(root: Path) -> TestClient:
    """The pages over that folder."""
    return TestClient(build_app(Settings(root, 8765)), base_url=OWN)


@pytest.fixture
def make(root: Path) -> Callable[..., Run]:
    """``make(path, losses, status="done", **recipe)`` writes a run with a loss, lr and seconds at every step."""

    def made(path: str, losses=(3.0, 2.0, 1.0), *, status: str = "done", name: str | None = None, **recipe) -> Run:
        run = Run.create(root / path, RECIPE | recipe, steps=40, name=name)
        with run.attempt() as attempt:
            for step, loss in enumerate(losses):
                run.log(step, loss=loss, lr=0.1, seconds=0.5)
            if status == "interrupted":
                attempt.interrupt()
        if status not in ("done", "interrupted"):
            state = json.loads((run.folder / "run.json").read_text())
            (run.folder / "run.json").write_text(json.dumps(state | {"status": status, "error": "it broke"}))
        return run

    return made
