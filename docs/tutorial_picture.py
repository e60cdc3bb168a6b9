"""Sphinx extension: draws the tutorial's picture with the tutorial's own command, anew at every build."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def draw(app: Any) -> None:
    """Writes docs/pictures/law.svg as the command under "Fit" does.

    Raises:
        RuntimeError: the command failed.
    """
    from thalweg.cli import main

    (HERE / "pictures").mkdir(exist_ok=True)
    examples = HERE.parent / "examples"
    words = ["fit", f"{examples / 'curves.csv'}", "--schedules", f"{examples / 'schedules.toml'}"]
    with contextlib.redirect_stdout(io.StringIO()):
        code = main([*words, "--plot", f"{HERE / 'pictures' / 'law.svg'}"])
    if code:
        raise RuntimeError(f"thalweg {' '.join(words)} ended with {code}")


def setup(app: Any) -> dict[str, bool]:
    """Registers the extension with Sphinx."""
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
