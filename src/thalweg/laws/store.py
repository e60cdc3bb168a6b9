"""Laws as JSON: every number by its shortest exact text, so that a loaded law predicts bit for bit the same.

Source: our own. Format 1: {"format": 1, "law", "warmup", "params", "record"}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.laws.law import Law
from thalweg.laws.record import Identifiability, Record, Rival, Seen

__all__ = ["FORMAT", "from_json", "load_law", "to_json"]

FORMAT = 1


def to_json(law: Law) -> str:
    """The law as JSON text."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "law": law.name,
        "warmup": law.warmup,
        "params": dict(law.params),
        "record": None if law.record is None else _plain(law.record),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _plain(record: Record) -> dict[str, Any]:
    content = {name: getattr(record, name) for name in Record.__dataclass_fields__}
    content["seen"] = asdict(record.seen)
    content["draws"] = record.draws.tolist()
    content["rivals"] = {name: asdict(rival) for name, rival in record.rivals.items()}
    if record.identifiability is not None:
        content["identifiability"] = asdict(record.identifiability)
    return content


def from_json(text: str, source: str = "the law") -> Law:
    """A law from JSON text.

    Raises:
        InputError: not JSON, not a law, of a later format, or of an unknown law; the sentence starts with ``source``.
    """
    from thalweg.laws.registry import LAWS

    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{source} is not JSON ({error}); give a file written by Law.save or thalweg fit") from None
    if not isinstance(content, Mapping) or "law" not in content or "params" not in content:
        raise InputError(f"{source} is JSON but no law; give a file written by Law.save or thalweg fit")
    if content.get("format") != FORMAT:
        raise InputError(f"{source} has format {content.get('format')!r}; this version reads format {FORMAT}")
    name = content["law"]
    if not isinstance(name, str) or name not in LAWS:
        raise InputError(f"{source} holds the law {name!r}, which is unknown; {suggest(str(name), LAWS)}")
    try:
        record = None if content["record"] is None else _record(content["record"], len(LAWS[name].names))
        return LAWS[name](params=content["params"], warmup=content["warmup"], record=record)
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{source} is damaged ({type(error).__name__}: {error}); fit and save the law again") from None


def _record(content: Mapping[str, Any], count: int) -> Record:
    report = content["identifiability"]
    return Record(
        method=content["method"],
        seen=Seen(**(dict(content["seen"]) | {"curves": tuple(content["seen"]["curves"])})),
        noise=content["noise"],
        correlation=content["correlation"],
        error=content["error"],
        objective=content["objective"],
        draws=np.array(content["draws"], dtype=np.float64).reshape(len(content["draws"]), count),
        identifiability=Identifiability(**(dict(report) | {"loose": tuple(report["loose"])})) if report else None,
        rivals={name: Rival(**rival) for name, rival in content["rivals"].items()},
        notes=tuple(content["notes"]),
        backtest=content["backtest"],
    )


def load_law(path: str | Path) -> Law:
    """Reads a law that `Law.save` wrote.

    Raises:
        InputError: no such file, or not a law.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"law {str(path)!r} does not exist; give a file written by Law.save or thalweg fit") from None
    except IsADirectoryError:
        raise InputError(f"law {str(path)!r} is a folder; give the JSON file itself") from None
    except UnicodeDecodeError:
        raise InputError(f"law {str(path)!r} is not text; give a file written by Law.save or thalweg fit") from None
    return from_json(text, f"law {str(path)!r}")
