"""Streams of runs that are watched: they grow, end with the reason, and are bounded."""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import suppress
from types import SimpleNamespace

import anyio
import pytest
from starlette.requests import Request

from thalweg.web.site.runs import live
from thalweg.web.site.runs.live import look, stream
from thalweg.web.site.runs.shelf import Shelf

RUNNING = SimpleNamespace(state=SimpleNamespace(stopping=False))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(live, "EVERY", 0.01)


def asked(path: str, app: object = RUNNING) -> dict:
    """The scope of a request for a stream."""
    query = f"run={path}".encode()
    return {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": query, "app": app}


def heard(shelf: Shelf, path: str, then=None) -> list[tuple[str, dict]]:
    """All events of a stream; ``then`` is called after the first."""
    found: list[tuple[str, dict]] = []

    async def listen() -> None:
        scope = asked(path)
        answer = await stream(shelf, Request(scope))
        assert answer.media_type == "text/event-stream"

        async def receive():
            await anyio.sleep_forever()

        async def send(message) -> None:
            for event in message.get("body", b"").decode().split("\n\n"):
                if event.startswith("event: "):
                    name, data = event.split("\n")
                    found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
                    if then and len(found) == 1:
                        await anyio.to_thread.run_sync(then)

        with anyio.fail_after(10):
            await answer({"type": "http", "asgi": {"spec_version": "2.0"}}, receive, send)

    anyio.run(listen)
    return found


def test_a_run_that_is_done_ends_at_once(make, root):
    make("a")
    shelf = Shelf(root)
    assert heard(shelf, "a") == [("grown", {"step": 2}), ("ended", {"why": "The run is done."})]
    assert shelf.enter_stream()


def test_a_run_is_seen_to_grow_and_to_fail(make, root):
    run = make("a", (), status="interrupted")
    begun, go_on = threading.Event(), threading.Event()

    def writes() -> None:
        with suppress(RuntimeError), run.attempt():
            run.log(0, loss=3.0)
            begun.set()
            go_on.wait(10)
            run.log(1, loss=2.0)
            raise RuntimeError("too hot")

    writer = threading.Thread(target=writes)
    writer.start()
    assert begun.wait(10)
    found = heard(Shelf(root), "a", then=go_on.set)
    writer.join()
    assert found[0] == ("grown", {"step": 0})
    assert ("grown", {"step": 1}) in found
    assert found[-1] == ("ended", {"why": "The run failed: RuntimeError: too hot."})


def test_why_it_ended_is_said(make, root):
    run = make("killed", status="running")
    assert "stopped or killed" in look(Shelf(root), "killed").end
    make("new", ())
    state = json.loads((root / "new" / "run.json").read_text())
    (root / "new" / "run.json").write_text(json.dumps(state | {"status": "new"}))
    assert look(Shelf(root), "new").end == ""
    (run.folder / "log.jsonl").write_text("{}\n{}\n")
    assert "line 1 is damaged" in look(Shelf(root), "killed").end
    shelf = Shelf(root)
    shelf.folder("killed")
    shutil.rmtree(run.folder)
    assert look(shelf, "killed").end == "The folder of the run disappeared."


def test_a_folder_that_disappears_while_watched_ends_the_stream(make, root):
    run = make("a", (), status="interrupted")
    with run.attempt():
        run.log(0, loss=3.0)
        found = heard(Shelf(root), "a", then=lambda: os.rename(run.folder, root.parent / "away"))
        os.rename(root.parent / "away", run.folder)
    assert found[-1] == ("ended", {"why": "The folder of the run disappeared."})


def test_streams_are_bounded_and_counted_out(client, make, root):
    make("a")
    shelf = Shelf(root, streams=2)
    assert [shelf.enter_stream() for _ in range(3)] == [True, True, False]
    shelf.leave_stream()
    assert heard(shelf, "a")[-1][0] == "ended"
    assert shelf.enter_stream()
    assert not shelf.enter_stream()

    async def one_more():
        scope = asked("a")
        return await stream(shelf, Request(scope))

    assert anyio.run(one_more).status_code == 503
    assert client.get("/runs/live?run=a").text.count("event: ended") == 1


def test_logs_are_kept_within_their_bytes(make, root):
    for name in "abc":
        make(name, [1.0] * 400)
    shelf = Shelf(root, log_bytes=25_000)
    kept = [shelf.columns(name, root / name) for name in "abcab"]
    assert kept[0] is not kept[3]
    assert shelf.log_bytes <= 25_000 + kept[0].nbytes
    assert shelf.columns("b", root / "b") is kept[4]
    one = Shelf(root, log_bytes=1)
    assert one.columns("a", root / "a") is one.columns("a", root / "a")  # the newest stays in any case


def test_two_threads_read_one_log_together(make, root):
    run = make("a", [1.0] * 2000)
    shelf, found = Shelf(root), []

    def read() -> None:
        for _ in range(20):
            steps, values = shelf.columns("a", run.folder).curve("loss")
            found.append((len(steps), len(values)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {(2000, 2000)}


def test_a_server_that_stops_ends_its_streams(make, root):
    run = make("a", (), status="interrupted")
    app = SimpleNamespace(state=SimpleNamespace(stopping=False))
    sent = []

    async def listen() -> None:
        answer = await stream(Shelf(root), Request(asked("a", app)))
        async for event in answer.body_iterator:
            sent.append(event)
            app.state.stopping = True

    with run.attempt():
        run.log(0, loss=3.0)
        anyio.run(listen)
    assert len(sent) == 1
