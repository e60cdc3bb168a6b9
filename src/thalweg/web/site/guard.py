"""What stands before every page: whose request it is, how large it may be, and what a browser may do with the answer.

1. ``Host`` must be this server's own, so that a foreign name that resolves to 127.0.0.1 (DNS rebinding) reads nothing.
2. What changes something (any method but GET and HEAD) must carry this server's own ``Origin``, so that a foreign page
   cannot drive it; and only a server started with ``--write`` changes files.
3. A body longer than the limit is refused: by its announced length before it is read, by its true length while it is.
4. Every answer forbids frames, foreign addresses, inline scripts and guessing of its type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from thalweg.web.site.settings import Settings

__all__ = ["POLICY", "BodyTooLarge", "Guard"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser sends forms with the origin "null"
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
SAFE = ("GET", "HEAD")


class BodyTooLarge(Exception):
    """More was sent than the server takes; ``limit`` in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request is larger than {limit / 2**20:.0f} MiB, the most this server takes")
        self.limit = limit


class Guard:
    """ASGI middleware with the four rules above."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers what is refused itself and passes the rest on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self._limit(headers)

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
                answer.setdefault("Cache-Control", "no-store")
            await send(message)

        if refusal := self._refusal(scope["method"], headers, limit):
            status, words = refusal
            await PlainTextResponse(words + "\n", status)(scope, receive, guarded_send)
            return
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise BodyTooLarge(limit)
            return message

        await self.app(scope, bounded, guarded_send)

    def _limit(self, headers: Headers) -> int:
        carries_file = headers.get("content-type", "").startswith("multipart/form-data")
        return self.settings.upload_bytes if carries_file else self.settings.form_bytes

    def _refusal(self, method: str, headers: Headers, limit: int) -> tuple[int, str] | None:
        """Status and sentence where the request is not answered."""
        if headers.get("host", "") not in self.settings.hosts:
            return 421, f"this server answers to http://127.0.0.1:{self.settings.port} only"
        if method in SAFE:
            return None
        origin = headers.get("origin", "")
        if origin.removeprefix("http://") not in self.settings.hosts or not origin.startswith("http://"):
            return 403, "the request comes from another page: open this server's own page and send it from there"
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            return 413, f"{BodyTooLarge(limit)}"
        return None
