"""Starting and stopping a study from a page: only with --write, within bounds, once."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from outcome_folders import make_outcome
from thalweg.web.site.app import build_app
from thalweg.web.site.atlas.worker import Worker, study_command
from thalweg.web.site.settings import Settings

OWN = "http://127.0.0.1:8765"
FORM = {"scale": "smoke", "seeds": "2", "jobs": "1"}


@pytest.fixture
def asked(monkeypatch):
    """What the worker was asked for; it starts nothing."""
    jobs = []
    monkeypatch.setattr(Worker, "submit", lambda self, job: jobs.append(job) or jobs.count(job) == 1)
    return jobs


def client(root, *, write):
    settings = Settings(root, 8765, write)
    return TestClient(build_app(settings), base_url=OWN, headers={"origin": OWN}, follow_redirects=False)


def test_a_server_that_only_reads_refuses(tmp_path, asked):
    reader = client(tmp_path, write=False)
    make_outcome(tmp_path)
    for path in ("/studies/sam/start", "/studies/sam/outcomes/sam-laptop/stop"):
        answer = reader.post(path, data=FORM)
        assert answer.status_code == 403
        assert "--write" in answer.text
    assert asked == []
    page = reader.get("/studies/sam").text
    assert "disabled" in page
    assert "--write" in page


def test_a_start_leads_to_the_outcome(tmp_path, asked):
    writer = client(tmp_path, write=True)
    first = writer.post("/studies/sam/start", data=FORM)
    assert (first.status_code, first.headers["location"]) == (303, "/studies/sam/outcomes/sam-smoke")
    again = writer.post("/studies/sam/start", data=FORM)
    assert again.headers["location"] == "/studies/sam/outcomes/sam-smoke?already=1"
    assert asked[0].seeds == 2
    command = study_command(asked[0], tmp_path)
    assert command[1:6] == ["-m", "thalweg", "study", "run", "sam"]
    assert command[-2:] == ["--out", str(tmp_path)]


@pytest.mark.parametrize(
    "changes",
    [
        *({"seeds": given} for given in ("0", "65", "three", "1e3", "٣", "")),
        *({"jobs": given} for given in ("0", "9999", "-1")),
        *({"scale": given} for given in ("huge", "; rm -rf /")),
    ],
)
def test_what_is_out_of_bounds_is_refused(tmp_path, asked, changes):
    answer = client(tmp_path, write=True).post("/studies/sam/start", data=FORM | changes)
    assert answer.status_code == 400
    assert asked == []


@pytest.mark.parametrize("path", ["nothing/start", "%2e%2e/start", "sam/outcomes/%2e%2e/stop", "sam/outcomes/x/stop"])
def test_what_does_not_exist_is_not_started(tmp_path, asked, path):
    assert client(tmp_path, write=True).post(f"/studies/{path}", data=FORM).status_code == 404
    assert asked == []
    assert not (tmp_path / "studies").exists()


def test_a_foreign_page_cannot_start_anything(tmp_path, asked):
    writer = client(tmp_path, write=True)
    answer = writer.post("/studies/sam/start", data=FORM, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    assert asked == []
