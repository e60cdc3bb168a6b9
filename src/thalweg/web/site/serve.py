"""The server: binds 127.0.0.1, says its address once it answers, and stops at Ctrl-C."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path
from types import FrameType

from thalweg.errors import InputError
from thalweg.web.site.settings import HOST, Settings

__all__ = ["bind", "serve"]


def bind(port: int) -> socket.socket:
    """A listening socket at 127.0.0.1.

    Raises:
        InputError: the port is out of range, taken, or needs a privilege.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port} must be from 0 (any free one) to 65535")
    # the protocol by name: only then asyncio sends small pieces at once, else each page waits 40 ms for an ACK
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        why = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise InputError(f"port {port} {why}: give another, or --port 0 for a free one") from None
    return listener


def serve(root: Path, *, port: int, write: bool) -> None:
    """Serves until interrupted; prints the address on stdout."""
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file: name the folder of the runs")
    listener = bind(port)
    from uvicorn import Config, Server

    from thalweg.web.site.app import build_app

    settings = Settings(root.absolute(), listener.getsockname()[1], write)
    app = build_app(settings)

    class Stopping(Server):
        """Tells the application first, so that its streams end by themselves."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.stopping = True
            super().handle_exit(sig, frame)

    server = Stopping(Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2))
    hint = "" if write else "; read-only: --write lets the pages start work"
    print(f"http://{HOST}:{settings.port}/  (Ctrl-C stops it{hint})", flush=True)
    with listener, suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
