"""What importing costs: the package and its rooms load nothing heavy, and neither does any help."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import thalweg
from thalweg.cli import COMMANDS

SCRIPT = """
import importlib, sys
for name in sys.argv[3].split(","):
    importlib.import_module(name)
    heavy = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
    if heavy:
        print(name, "loads", *heavy)
        break
if sys.argv[2] == "help":
    from thalweg.cli import main
    for words in sys.argv[4:]:
        assert main([*words.split(), "--help"]) == 0
        heavy = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
        if heavy:
            print(words, "--help loads", *heavy, file=sys.stderr)
            break
"""
HEAVY = ("torch", "scipy", "matplotlib", "transformers", "tokenizers", "starlette", "jinja2")


def run(heavy: tuple[str, ...], what: str, *words: str) -> tuple[str, str]:
    command = [sys.executable, "-c", SCRIPT, ",".join(heavy), what, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_the_package_and_every_help_load_neither_torch_nor_numpy():
    words = ["", *COMMANDS, "runs list", "runs export", "study run", "study list"]
    out, err = run((*HEAVY, "numpy"), "help", "thalweg,thalweg.cli,thalweg.errors,thalweg.files", *words)
    assert err == ""
    assert out.count("Usage: thalweg") == len(words)


def test_no_room_loads_anything_heavy():
    """Their names come when they are used; numpy is all that a room may need at once."""
    rooms = [f"thalweg.{module.name}" for module in pkgutil.iter_modules(thalweg.__path__) if module.ispkg]
    assert len(rooms) > 10
    assert run(HEAVY, "rooms", ",".join(rooms)) == ("", "")
