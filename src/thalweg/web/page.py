"""How pages are made: templates with everything escaped, the style sheet inside each page, nothing loaded.

Every page carries a Content-Security-Policy that forbids scripts and every address but data inside the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


def render(template: str, **content: Any) -> str:
    """The page ``template`` (a file of web/templates) with ``content``; text is escaped, ``Markup`` is not."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("thalweg.web")
    page = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    return page.get_template(template).render(**content)
