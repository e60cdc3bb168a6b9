"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch loads: tests share the cores, with each other too

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published results that lies beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.exists():
        pytest.skip(f"published data not found at {SHARED}")
    return SHARED
