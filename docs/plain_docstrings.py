"""Sphinx extension: docstrings are plain text, shown as they stand; short names in them find their page.

An indented paragraph is a formula, set as it is typed; ``*``, ``|`` and a final ``_`` mean nothing but themselves.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.util.nodes import make_refnode

SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Example|Examples|Note|Warns):$")
KEPT = re.compile(r"(``.+?``|^::\n\n(?: {4}[^\n]*\n|\n)+|^ *>>> [^\n]*(?:\n *\S[^\n]*)*)", re.DOTALL | re.MULTILINE)
"""Literals, formulas and examples: shown as they are."""


def as_typed(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Makes a docstring what reStructuredText shows unchanged; runs before napoleon reads the sections."""
    lines[:] = _escaped("\n".join(_formulas(lines))).split("\n")


def _formulas(lines: list[str]) -> list[str]:
    """Indented paragraphs of the description become literal blocks."""
    made: list[str] = []
    section = inside = False
    for at, line in enumerate(lines):
        indented = line.startswith("    ")
        if not indented and line.strip():
            section, inside = bool(SECTION.match(line)), False
        starts = indented and not inside and not section and (at == 0 or not lines[at - 1].strip())
        if starts:
            made += ["::", ""]
            inside = True
        if made and made[-1].strip() and line.startswith(("Source:", "Differs:")):
            made.append("")
        made.append(line)
        if inside and (at + 1 == len(lines) or (lines[at + 1].strip() and not lines[at + 1].startswith("    "))):
            made.append("")
    return made


def _escaped(text: str) -> str:
    """Escapes what would be markup outside literals and examples."""
    pieces = KEPT.split(text)
    for at in range(0, len(pieces), 2):
        plain = re.sub(r"(?m)(?<!^)(?<!\*)\*(?!\*)(?=\S)|\|", r"\\\g<0>", pieces[at])
        plain = re.sub(r"(?<=\w)_(?=[^\w`]|$)", r"\_", plain)
        pieces[at] = re.sub(r"(?<!`)`([^`\n]+)`(?!`)", r"``\1``", plain)
    return re.sub(r"(``\S(?:.*?\S)??``)(?=\w)", r"\1\\ ", "".join(pieces), flags=re.DOTALL)


def find(app: Any, env: Any, node: Any, content: Any) -> nodes.reference | None:
    """Resolves a name, as annotations and ``Raises:`` have it, to the one public object of its room that ends in it.

    A name without its package is looked for on the same page and among the errors: rooms may use one word for two.
    """
    if node.get("refdomain") != "py":
        return None
    package, _, target = node["reftarget"].rpartition(".")
    room = ".".join([*package.split(".")[:2], ""])
    near = (node["refdoc"], "reference/errors")
    homes = {
        entry.docname + entry.node_id: entry
        for name, entry in env.domains.python_domain.objects.items()
        if name.rpartition(".")[2] == target
        and entry.objtype in ("class", "exception", "function", "data")
        and (name.startswith(room) if package else entry.docname in near)
    }
    if len(homes) != 1:
        return None
    (entry,) = homes.values()
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, target)


def tidy(app: Any, doctree: nodes.document) -> None:
    """Sets a dash between an argument and its meaning, and keeps paths of files from leading to ``dynamics.Path``."""
    for node in doctree.findall(pending_xref):
        if node.get("reftarget") == "Path" and not (node.get("py:module") or "").startswith("thalweg.dynamics"):
            node["reftarget"] = "pathlib.Path"
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def setup(app: Any) -> dict[str, bool]:
    """Registers the extension with Sphinx."""
    app.connect("autodoc-process-docstring", as_typed, priority=400)
    app.connect("doctree-read", tidy)
    app.connect("missing-reference", find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
