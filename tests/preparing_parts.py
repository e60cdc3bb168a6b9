"""Small corpora and whole folders, for the tests of preparation."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np

VOCABULARY = [a + b + c for a in "bdfglm" for b in "aeiou" for c in ("n", "r", "st", "ck")]


def story(seed: int, words: int = 80) -> str:
    """Sentences of made-up words, the same for the same seed."""
    draw = np.random.default_rng(seed)
    picked = [VOCABULARY[i] for i in draw.integers(0, len(VOCABULARY), words)]
    return ". ".join(" ".join(picked[i : i + 8]).capitalize() for i in range(0, words, 8)) + "."


def write_lines(path: Path, rows: list[dict]) -> Path:
    """A file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def mixed_corpus(folder: Path) -> Path:
    """Forty stories in two files with five equal and five nearly equal ones, numbered from the last to the first."""
    texts = [story(i) for i in range(30)]
    texts += [f"  {texts[i]}\n" for i in range(5)]
    texts += [texts[i].replace(".", "!") + f" {VOCABULARY[i]}" for i in range(10, 15)]
    rows = [{"id": f"d{99 - i:02d}", "text": text, "grade": i / 2, "kind": "ab"[i % 2]} for i, text in enumerate(texts)]
    write_lines(folder / "one.jsonl", rows[:25])
    write_lines(folder / "two.jsonl", rows[25:])
    return folder


def settings(folder: Path, **more: object) -> dict:
    """A preparation of ``mixed_corpus`` with every step, in several parts."""
    every = {
        "inputs": [{"path": str(folder), "source": "made", "id": "id", "domain": "kind", "scores": ["grade"]}],
        "normalise": {},
        "filters": {"limits": {"words": [5, 1000]}},
        "scores": [{"name": "length", "statistic": "characters"}],
        "exact": {},
        "minhash": {"check": 100},
        "tokens": {"tokenizer": "byte"},
        "part_mb": 0.004,
    }
    return {**every, **more}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


class Killer:
    """A score that kills the process that asks for it, as a lack of memory would, the first few times."""

    def __init__(self, mark: Path, times: int = 1) -> None:
        self.mark, self.times = mark, times

    def __call__(self, texts: list[str]) -> list[float]:
        deaths = len(list(self.mark.parent.glob(f"{self.mark.name}*")))
        if deaths < self.times:
            self.mark.with_name(f"{self.mark.name}{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [float(len(text)) for text in texts]


class Slow:
    """A score that takes its time; equal to every other, so that a quick one may end what a slow one began."""

    fingerprint = "length"

    def __init__(self, seconds: float = 0.3) -> None:
        self.seconds = seconds

    def __call__(self, texts: list[str]) -> list[float]:
        time.sleep(self.seconds)
        return [float(len(text)) for text in texts]
