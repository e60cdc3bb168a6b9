"""The guard: whose requests are answered, how large, with which headers."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from thalweg.web.site.app import build_app
from thalweg.web.site.guard import POLICY, BodyTooLarge, Guard
from thalweg.web.site.settings import Settings

OWN = "http://127.0.0.1:8765"


@pytest.fixture
def client(tmp_path):
    settings = Settings(tmp_path, 8765, form_bytes=1000)
    return TestClient(build_app(settings), base_url=OWN)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:80", "localhost.evil:8765", ""])
def test_a_foreign_host_is_refused(client, host):
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "http://127.0.0.1:8765" in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765"])
def test_own_names_are_answered(client, host):
    assert client.get("/static/style.css", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8765", "127.0.0.1:8765", None])
def test_what_another_page_sends_is_refused(client, origin):
    headers = {} if origin is None else {"origin": origin}
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/nowhere", headers=headers).status_code == 403
    assert client.post("/nowhere", headers={"origin": OWN}).status_code == 404


def test_a_large_body_is_refused_before_it_is_read(client):
    assert client.post("/nowhere", headers={"origin": OWN}, content=b"x" * 1001).status_code == 413


def test_a_body_of_unknown_length_is_cut_off(tmp_path):
    taken = 0

    async def read(request):
        nonlocal taken
        async for piece in request.stream():
            taken += len(piece)
        return Response()

    async def too_large(_, error):
        return PlainTextResponse(str(error), 413)

    guard = Middleware(Guard, settings=Settings(tmp_path, 8765, form_bytes=1000))
    app = Starlette(routes=[Route("/", read, methods=["POST"])], middleware=[guard])
    app.add_exception_handler(BodyTooLarge, too_large)
    client = TestClient(app, base_url=OWN)
    assert client.post("/", headers={"origin": OWN}, content=iter([b"x" * 500] * 2)).status_code == 200
    taken = 0
    assert client.post("/", headers={"origin": OWN}, content=iter([b"x" * 500] * 9)).status_code == 413
    assert taken <= 1000


def test_every_answer_forbids_what_is_foreign(client):
    for path in ("/nowhere", "/static/site.css"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
    assert client.get("/", headers={"host": "evil"}).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/page.py", "..%2fpage.py", "//etc/passwd", "style.css/.."])
def test_no_path_leaves_the_static_folder(client, path):
    assert client.get(f"/static/{path}").status_code == 404


def test_what_is_asked_for_is_escaped(client):
    text = client.get("/<script>alert(1)</script>").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
