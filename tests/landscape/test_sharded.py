"""A model in shards over two processes gives the numbers of the same model held whole, and trains on as before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gloo_pair import logs_of, run_pair

WORKER = Path(__file__).with_name("sharded_worker.py")


def test_two_processes_with_half_of_the_weights_each(tmp_path):
    run_pair(WORKER, tmp_path, limit=120.0)  # seconds; a few when nothing else runs
    for rank in range(2):
        path = tmp_path / f"rank{rank}.json"
        assert path.exists(), logs_of(tmp_path)
        found = json.loads(path.read_text())
        assert found["sharded"] == pytest.approx(found["whole"], rel=1e-9)
        assert found["sharded, shared data"] == pytest.approx(found["whole"], rel=1e-5)  # norms in float32
        assert found["slope"][1] == pytest.approx(found["slope"][0], rel=1e-6)
        assert any("sharded weights are gathered" in note for note in found["notes"])
        assert found["same"]
