"""A client of the local pages with a law at hand, for the designer's tests."""

from __future__ import annotations

from functools import cache
from html import unescape
from pathlib import Path

from starlette.testclient import TestClient

from thalweg.laws import Law, fit, read_curves
from thalweg.web.site.app import build_app
from thalweg.web.site.settings import Settings

OWN = "http://127.0.0.1:8765"
POST = {"origin": OWN}
PART = {"hx-request": "true"}
WSD = "wsd:peak=2e-3,warmup=100,decay=0.2,floor=2e-4"
POINTS = "piecewise:points=2e-3@100;2e-3@4000;2e-4@5000,warmup=100"
EXAMPLES = Path(__file__).parents[1] / "examples"


@cache
def example_law() -> Law:
    """The example's law with few draws."""
    return fit(read_curves(EXAMPLES / "curves.csv", schedules=EXAMPLES / "schedules.toml"), draws=20)


def client(root: Path, **settings) -> TestClient:
    return TestClient(build_app(Settings(root, 8765, **settings)), base_url=OWN, follow_redirects=False)


def upload_law(pages: TestClient, law: Law | None = None) -> str:
    """The name under which the pages keep a law."""
    files = {"law": ("law.json", (law or example_law()).to_json())}
    answer = pages.post("/designer/law", files=files, headers=POST)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].partition("law=")[2]


def problem(text: str) -> str:
    """The sentence of refusal on a page."""
    found = text.partition('<p class="problem" role="alert">')[2].partition("</p>")[0]
    return unescape(found)
