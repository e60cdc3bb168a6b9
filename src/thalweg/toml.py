"""Frozen dataclasses there and back through TOML: unknown keys are named with the nearest known one.

Whoever defines a document (a recipe, a data plan) writes dataclasses; ``from_document`` checks keys and types, and the
classes check values when they are made.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from thalweg.errors import InputError, suggest

__all__ = ["check_keys", "from_document", "plain", "read_toml", "write_toml"]

T = TypeVar("T")


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """The document in a TOML file.

    Args:
        path: the file.
        what: a word for it in errors, e.g. "recipe".

    Raises:
        InputError: no such file, not UTF-8 or not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{what} {path} is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} {path} cannot be read: {error}") from None


def write_toml(value: Any) -> str:
    """A dataclass as TOML text, which ``read_toml`` and ``from_document`` read back equal."""
    import tomli_w

    return tomli_w.dumps(plain(value))


def plain(value: Any) -> Any:
    """A dataclass as plain dicts, lists and numbers."""
    return msgspec.json.decode(msgspec.json.encode(value))


def from_document(cls: type[T], document: Any, *, what: str, located: bool = False) -> T:
    """The dataclass ``cls`` made from plain dicts, lists and numbers.

    Args:
        cls: a dataclass.
        document: what was read for it.
        what: a word for it in errors, e.g. "recipe".
        located: say where in the document a value stands that a class refuses; for classes whose own errors do not.

    Raises:
        InputError: a wrong type, or a value that the class refuses.
    """
    try:
        return msgspec.convert(document, cls, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(_friendly(error, located)) from None
    except OverflowError:
        raise InputError(f"a number of the {what} has more than 64 bits: make it smaller") from None


def check_keys(cls: type, document: Any, *, more: Mapping[type, set[str]] | None = None, where: str = "") -> None:
    """Refuses keys that ``cls``, or a dataclass inside it, does not have.

    Args:
        cls: a dataclass, also ``dict`` and ``tuple`` types of them, or one of these or None.
        document: what was read for it.
        more: further keys that a class takes.
        where: path of ``document`` in the whole, ending in a point.

    Raises:
        InputError: an unknown key; the nearest known one is named.
    """
    origin, inside = get_origin(cls), get_args(cls)
    if origin in (Union, UnionType):
        for kind in inside:
            check_keys(kind, document, more=more, where=where)
    elif origin is dict and isinstance(document, dict):
        for key, value in document.items():
            check_keys(inside[1], value, more=more, where=f"{where}{key}.")
    elif origin is tuple and isinstance(document, list):
        for number, value in enumerate(document):
            check_keys(inside[0], value, more=more, where=f"{where[:-1]}[{number}].")
    elif is_dataclass(cls) and isinstance(document, dict):
        hints = get_type_hints(cls)
        known = {f.name: hints[f.name] for f in fields(cls)}
        for key, value in document.items():
            if key in known:
                check_keys(known[key], value, more=more, where=f"{where}{key}.")
            elif key not in (more or {}).get(cls, ()):
                options = [*known, *(more or {}).get(cls, ())]
                raise InputError(f"unknown key {where + key!r}: {suggest(key, options)}")


def _friendly(error: msgspec.ValidationError, located: bool) -> str:
    message, _, path = str(error).partition(" - at `$.")
    if isinstance(error.__cause__, InputError) and not located:  # raised by a class's own check, which names the key
        return str(error.__cause__)
    return f"{path.rstrip('`')}: {message}" if path else message
