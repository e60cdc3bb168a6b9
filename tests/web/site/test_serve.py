"""The server as a process: its address, its port, its end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from thalweg.errors import InputError
from thalweg.web.site.serve import bind, serve


def test_an_occupied_port_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} is taken by another program: give another, or --port 0"):
            bind(port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_refused(port):
    with pytest.raises(InputError, match=f"--port {port} must be from 0"):
        bind(port)


def test_small_pieces_are_sent_at_once():
    """As asyncio decides it: without TCP's number it leaves Nagle's algorithm on, and answers wait for an ACK."""
    with closing(bind(0)) as listener, socket.create_connection(listener.getsockname()) as caller:
        accepted, _ = listener.accept()
        with accepted:
            assert (accepted.proto, caller.proto) == (socket.IPPROTO_TCP, socket.IPPROTO_TCP)


def test_a_file_is_no_root(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file: name the folder of the runs"):
        serve(tmp_path / "file", port=0, write=False)


@pytest.fixture
def server(tmp_path):
    """A running server: its port and process."""
    command = [sys.executable, "-m", "thalweg", "web", str(tmp_path / "runs"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"THALWEG_HOME": ""}) as process:
        line = process.stdout.readline()
        yield int(line.split("/")[2].split(":")[1]), process
        process.kill()


def test_ctrl_c_ends_it_and_nothing_was_written(server, tmp_path):
    port, process = server
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert not (tmp_path / "runs").exists()


def test_it_is_bound_to_this_machine_only():
    with bind(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
