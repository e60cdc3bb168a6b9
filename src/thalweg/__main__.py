"""``python -m thalweg``, which torchrun starts as ``-m thalweg``."""

from __future__ import annotations

if __name__ == "__main__":
    from thalweg.cli import entry

    entry()
