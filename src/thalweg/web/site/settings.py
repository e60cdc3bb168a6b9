"""What the local pages were started with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from thalweg.web.site.designer.shelf import Shelf

__all__ = ["HOST", "Settings"]

HOST = "127.0.0.1"
"""The pages are bound to this address and no other."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What every section of the pages may know.

    Attributes:
        root: folder of the runs.
        port: the port of the server, 1 to 65535.
        write: whether a page may start studies and write files under ``root``; else nothing is written.
        upload_bytes: largest body of a request that carries a file, bytes.
        form_bytes: largest body of any other request, bytes.
        hosts: own names with the port.
        shelf: uploads and fitted laws, which designer and planner share.
        closing: what sections want done when the server stops, in order; each takes at most a few seconds.
    """

    root: Path
    port: int
    write: bool = False
    upload_bytes: int = 64 * 2**20
    form_bytes: int = 2**20
    closing: list[Callable[[], None]] = field(default_factory=list, compare=False)
    hosts: frozenset[str] = field(init=False)
    shelf: Shelf = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        names = ("127.0.0.1", "localhost", "[::1]")
        object.__setattr__(self, "hosts", frozenset(f"{name}:{self.port}" for name in names))
        object.__setattr__(self, "shelf", Shelf(self.root / "designer" if self.write else None))
