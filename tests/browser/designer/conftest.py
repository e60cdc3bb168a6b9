"""One server with the example's law for all tests of the designer in a file, and what they read off its page."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import parse_qs, urlparse

import httpx
import pytest

from designer_client import POINTS, example_law


@pytest.fixture(scope="module")
def law_file(tmp_path_factory):
    return example_law().save(tmp_path_factory.mktemp("law") / "law.json")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of one server for all tests, which share nothing else."""
    command = [sys.executable, "-m", "thalweg", "web", str(tmp_path_factory.mktemp("runs")), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().split()[0].rstrip("/")
        process.terminate()


@pytest.fixture(scope="module")
def law(address, law_file):
    """The name of the example's law, uploaded."""
    origin = {"origin": address}
    answer = httpx.post(f"{address}/designer/law", files={"law": law_file.read_bytes()}, headers=origin)
    return parse_qs(urlparse(answer.headers["location"]).query)["law"][0]


@pytest.fixture
def bench(address, law, open_page):
    """``bench(schedule, **context)`` opens the designer with the example's law and a schedule."""

    def start(schedule: str = POINTS, *, panel: str = "points", **context):
        query = f"law={law}&steps=5000&warmup=100&peak=0.002&floor=0.0002&panel={panel}&schedule={schedule}"
        return open_page(f"{address}/designer?{query}", **context)

    return start
