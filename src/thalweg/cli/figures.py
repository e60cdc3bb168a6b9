"""Figures on disk: the format by the file's ending, written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.errors import InputError
from thalweg.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check", "save"]


def check(path: Path | None) -> None:
    """Refuses a path whose ending is no format, before work starts; None asks for no picture.

    Raises:
        InputError: an ending other than .png, .svg and .pdf.
    """
    if path is not None and path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"picture {path} must end in .png, .svg or .pdf")


def save(figure: Figure, path: Path) -> None:
    """Writes ``figure`` to ``path``, whose ending (.png, .svg, .pdf) names the format.

    Raises:
        InputError: another ending.
    """
    check(path)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.removeprefix("."), dpi=150)
    write_atomic(path, content.getvalue())
