"""The page of a recipe's fields, from the dataclasses and the optimizers' own defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any


def recipe_page() -> str:
    """The fields of a recipe, from the dataclasses and the optimizers' own defaults."""
    from thalweg.optim import OPTIMIZERS, defaults
    from thalweg.train.recipe import Recipe

    lines = [
        "# Recipe fields",
        "",
        "What stands in the TOML file that `thalweg train` reads; `recipes/` has examples.",
        "",
    ]
    for table, kind in _tables("", Recipe):
        lines += [f"## `[{table}]`" if table else "## Top level", "", *_field_rows(kind), ""]
    lines += ["## `[optimizer]`", ""]
    lines += ["`name` and the options of that optimizer; what each means stands in its class.", ""]
    lines += ["| name | options and defaults |", "|---|---|"]
    for name, kind in OPTIMIZERS.items():
        options = ", ".join(f"`{key} = {_toml(value)}`" for key, value in defaults(name).items())
        lines.append(f"| {{py:class}}`{name} <thalweg.optim.{kind.__name__}>` | {options} |")
    return "\n".join(lines)


def _tables(name: str, kind: type) -> Iterator[tuple[str, type]]:
    """Every table of a recipe's TOML with the dataclass that it fills, outer ones first."""
    yield name, kind
    for field in dataclasses.fields(kind):
        value = field.default_factory() if field.default_factory is not dataclasses.MISSING else None
        if dataclasses.is_dataclass(value):
            yield from _tables(f"{name}.{field.name}" if name else field.name, type(value))


def _field_rows(kind: type) -> Iterator[str]:
    from docstring_parser import parse_from_object

    meant = {entry.arg_name: entry.description for entry in parse_from_object(kind).params}
    yield from ("| field | meaning |", "|---|---|")
    for field in dataclasses.fields(kind):
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        if dataclasses.is_dataclass(made):
            continue
        default = "required" if made is dataclasses.MISSING else f"default `{_toml(made)}`"
        meaning = " ".join((meant.get(field.name) or "").split()).replace("``", "`").replace("|", "\\|")
        kind_of = str(field.type).replace("|", "\\|")
        yield f"| `{field.name}`<br>{kind_of},<br>{default} | {meaning} |"


def _toml(value: Any) -> str:
    """A default as a recipe would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return f"{value}"
