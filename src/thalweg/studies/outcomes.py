"""The folders of studies that were run: which there are, what their seeds recorded, and whether one is running now.

The format is the runner's (``studies.runner``). ``FOLDER/request.json`` is written by a program that starts studies:
what was asked for, and how it ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "REQUEST",
    "Outcome",
    "find_outcome",
    "find_outcomes",
    "read_records",
    "read_request",
    "read_seed",
    "writer_of",
]

REQUEST = "request.json"
SEED = re.compile(r"seed-(\d{1,6})\.json")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A folder of a study's records.

    Attributes:
        name: of the folder.
        folder: its path.
        slug: which study.
        scale: "smoke", "laptop" or "gpu".
        seeds: those that are done, in order.
        verdict: what ``verdict.json`` holds; empty before the first end.
        request: what ``request.json`` holds; empty for studies started in a terminal.
        changed: seconds since 1970 of the last seed, verdict or request.
        judged: seconds since 1970 of the verdict; 0 before the first.
    """

    name: str
    folder: Path
    slug: str
    scale: str
    seeds: tuple[int, ...]
    verdict: dict[str, Any]
    request: dict[str, Any]
    changed: float
    judged: float


def find_outcomes(root: Path, slug: str | None = None) -> list[Outcome]:
    """The outcomes under ``root/studies``, the latest first; damaged ones and links out of ``root`` are left out.

    Args:
        root: folder of the runs.
        slug: only of this study.
    """
    try:
        folders = [entry for entry in (root / "studies").iterdir() if entry.is_dir()]
        home = root.resolve()
    except OSError:
        return []
    found = (_read(folder) for folder in folders if folder.resolve().is_relative_to(home))
    kept = [outcome for outcome in found if outcome and slug in (None, outcome.slug)]
    return sorted(kept, key=lambda outcome: (-outcome.changed, outcome.name))


def find_outcome(root: Path, slug: str, name: str) -> Outcome | None:
    """The outcome ``name`` of a study; None where the listing has none."""
    return next((outcome for outcome in find_outcomes(root, slug) if outcome.name == name), None)


def read_seed(folder: Path, seed: int) -> dict[str, Any]:
    """``seed``, ``seconds``, ``environment`` and ``records`` of a seed that is done.

    Raises:
        OSError: the file is gone.
        ValueError: it is damaged.
    """
    return json.loads((folder / f"seed-{seed}.json").read_text(encoding="utf-8"))


def read_records(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """The records of all seeds, one seed's file at a time."""
    for seed in outcome.seeds:
        yield from read_seed(outcome.folder, seed)["records"]


def read_request(folder: Path) -> dict[str, Any]:
    """What ``request.json`` holds; empty where there is none."""
    return _json(folder / REQUEST)


def writer_of(folder: Path) -> int | None:
    """The process that writes the folder right now; None where nobody does. Never stale: the lock ends with it."""
    from thalweg.runs.lock import FILE, is_locked

    try:
        if not is_locked(folder):
            return None
        return int((folder / FILE).read_text())
    except (OSError, ValueError):
        return None


def _read(folder: Path) -> Outcome | None:
    about, request = _json(folder / "study.json"), read_request(folder)
    slug, scale = ((about.get(key) or request.get(key)) for key in ("slug", "scale"))
    if not isinstance(slug, str) or not isinstance(scale, str):
        return None
    verdict, seeds, changed, judged = _json(folder / "verdict.json"), [], 0.0, 0.0
    try:
        for entry in folder.iterdir():
            found = SEED.fullmatch(entry.name)
            if found or entry.name in ("verdict.json", "study.json", REQUEST):
                time = entry.stat().st_mtime
                changed, judged = max(changed, time), time if entry.name == "verdict.json" else judged
            if found:
                seeds.append(int(found[1]))
    except OSError:
        return None
    whole = {"verdict", "effect", "error", "unit", "runs"} <= verdict.keys()
    done = tuple(sorted(seeds))
    return Outcome(folder.name, folder, slug, scale, done, verdict if whole else {}, request, changed, judged)


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
