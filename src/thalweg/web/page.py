"""How pages are made: templates with everything escaped, the style sheet inside each page, nothing loaded.

Every page carries a Content-Security-Policy that forbids scripts and every address but data inside the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Column", "Table", "render"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading, and whether it holds numbers."""

    name: str
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table for the templates' macro: the first cell of each row names the row."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]


@cache
def _templates() -> Environment:
    """The templates, compiled once a process; every value is escaped, an unknown name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("thalweg.web")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render(template: str, **content: Any) -> str:
    """The page ``template`` (a file of web/templates) with ``content``; text is escaped, ``Markup`` is not."""
    return _templates().get_template(template).render(**content)
