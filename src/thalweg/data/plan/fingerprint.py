"""What decides the order and the tokens, as one SHA-256.

Left out are what changes neither (``skip``, paths, names of phases) and entries that have their default, so that a plan
keeps its fingerprint when a later version knows more entries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from thalweg.data.plan.schema import Phase, Plan, Source
from thalweg.data.prepared import Prepared

__all__ = ["fingerprint"]

IDLE = {Plan: {"skip", "tokenizer", "sources"}, Source: {"path"}, Phase: {"name"}}
"""Fields that are left out, or that come in another way."""


def fingerprint(plan: Plan, sources: Mapping[str, Prepared]) -> str:
    """SHA-256 of a plan and of the files that it reads."""
    told = _told(plan)
    told["sources"] = [
        [name, _told(source), sources[name].tokenizer, sources[name].fingerprint]
        for name, source in plan.sources.items()
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _told(value: Any) -> Any:
    """Plain dicts and lists, without what has its default."""
    if is_dataclass(value):
        kept = {each.name: getattr(value, each.name) for each in fields(value) if _is_told(each, value)}
        return {name: _told(item) for name, item in kept.items()}
    if isinstance(value, dict):
        return {name: _told(item) for name, item in value.items()}
    return [_told(item) for item in value] if isinstance(value, (list, tuple)) else value


def _is_told(each: Any, owner: Any) -> bool:
    default = each.default_factory() if each.default_factory is not MISSING else each.default
    return each.name not in IDLE.get(type(owner), ()) and getattr(owner, each.name) != default
