"""Sphinx extension: writes docs/reference and docs/studies from the program itself, before the pages are read.

The reference of the rooms comes from their ``__all__``, that of the commands from their help, that of recipes from the
dataclasses (recipe_page.py), the studies from what they came with. None of these pages is committed.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import shutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from recipe_page import recipe_page

import thalweg
from thalweg.studies import STUDIES

HERE = Path(__file__).parent
NO_LIBRARY = ("cli", "web")
"""Rooms that are used by their commands, not by import."""
STUDY_PARTS = ("thalweg.studies.base", "thalweg.studies.runner")
"""What a study is made with; the studies themselves have their cards."""
STUDY_FOLDERS = tuple(module.rpartition(".")[0] for module in STUDIES.values())


def rooms() -> list[str]:
    """Rooms that are imported by users, as module names."""
    found = [module.name for module in pkgutil.iter_modules(thalweg.__path__) if module.ispkg]
    return [f"thalweg.{name}" for name in sorted(found) if name not in NO_LIBRARY]


def public(room: str) -> dict[str, dict[str, list[str]]]:
    """Where the public names of a room are imported from: {importable module: {module that defines: names}}.

    What a package's ``__init__`` names is public; where a room's names nothing, what its modules define is.
    """
    package = import_module(room)
    named = hasattr(package, "__all__")
    found = {room: _by_home(package)} if named else {}
    for module in pkgutil.iter_modules(package.__path__, f"{room}."):
        if not (module.ispkg or not named or module.name in STUDY_PARTS) or module.name in STUDY_FOLDERS:
            continue
        inner = _by_home(import_module(module.name))
        if not module.ispkg:
            inner = {home: names for home, names in inner.items() if home == module.name}
        shown = {(home, name) for homes in found.values() for home, names in homes.items() for name in names}
        fresh = {home: [name for name in names if (home, name) not in shown] for home, names in inner.items()}
        if any(fresh.values()):
            found[module.name] = {home: names for home, names in fresh.items() if names}
    return found


def _by_home(module: ModuleType) -> dict[str, list[str]]:
    homes: dict[str, list[str]] = {}
    for name in sorted(getattr(module, "__all__", ()), key=str.lower):
        homes.setdefault(_home(module, name), []).append(name)
    return dict(sorted(homes.items()))


def _home(module: ModuleType, name: str) -> str:
    """The module that defines a public name of another."""
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__module__
    for inner in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{module.__name__}."):
        if name in getattr(import_module(inner.name), "__all__", ()):
            return inner.name
    return module.__name__


def room_page(room: str) -> str:
    """The reference of a room: its modules, each with its idea, source, differences and public names."""
    lines = [_title(room, "="), f".. automodule:: {room}", ""]
    for module, homes in public(room).items():
        if module != room:
            lines += [_title(module, "-"), f".. automodule:: {module}", ""]
        for home, names in homes.items():
            if home.startswith(f"{module}."):
                lines += [_title(home, "~" if module != room else "-"), f".. automodule:: {home}", "   :no-index:", ""]
            for name in names:
                lines += [*_entry(module, home, name), ""]
    return "\n".join(lines)


def index_page(modules: list[str]) -> str:
    """The list of the rooms, each with the first line of its docstring."""
    lines = [_title("Rooms", "="), "What can be imported, from where; generated from what each room names public.", ""]
    for module in modules:
        short = module.removeprefix("thalweg.")
        lines.append(f"- :doc:`{module} <{short}>`: {(import_module(module).__doc__ or '').splitlines()[0]}")
    return "\n".join(
        [
            *lines,
            "",
            ".. toctree::",
            "   :hidden:",
            "   :titlesonly:",
            "",
            *(f"   {m.removeprefix('thalweg.')}" for m in modules),
        ]
    )


def _title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _entry(module: str, home: str, name: str) -> list[str]:
    """The directive that documents one public name."""
    value = getattr(import_module(module), name)
    if not home.startswith(module) and home != module:
        return [f".. py:data:: {name}", f"   :module: {module}", "", f"   Is {home}.{name}."]
    if inspect.isclass(value):
        return [f".. autoclass:: {module}.{name}", "   :members:"]
    if inspect.isroutine(value):
        return [f".. autofunction:: {module}.{name}"]
    from sphinx.pycode import ModuleAnalyzer

    comments = ModuleAnalyzer.for_module(home).find_attr_docs()
    said = [f"   {line}" for line in comments.get(("", name), [])]
    return [f".. py:data:: {name}", f"   :module: {module}", "", *said, "", f"   {_value(value)}"]


def _value(value: Any) -> str:
    """A constant in words: the names a table holds, or the value where it is short."""
    if isinstance(value, dict):
        return "Holds " + ", ".join(f"``{key}``" for key in value) + "."
    text = repr(value)
    return f"``{text}``" if len(text) < 300 and "<" not in text else ""


def command_page() -> str:
    """The reference of the commands, from their own help."""
    from thalweg.cli import build

    page = build().generate_docs(output_format="markdown", recursive=True)
    page = re.sub(r"## Table of Contents\n.*?(?=\*\*Commands\*\*)", "", page, flags=re.DOTALL)
    page = re.sub(r"  (thalweg [^\n]+)$", r" `\1`", page, flags=re.MULTILINE)
    return page.replace("# thalweg\n", "# The command line\n", 1)


def study_pages() -> dict[str, str]:
    """The list of studies with their verdicts, and a page a study: its card as it is, with its figure."""
    from thalweg.cli.study import _effect
    from thalweg.studies.base import expected, folder_of

    rows, pages = [], {}
    for slug in STUDIES:
        known = expected(slug)
        rows.append(f"| [{known['title']}]({slug}.md) | {known['verdict']} | {_effect(known)} | {known['runs']} |")
        folder = Path("../..") / folder_of(slug).relative_to(HERE.parent)
        page = [f"```{{include}} {folder / 'card.md'}", "```", ""]
        if (folder_of(slug) / "figure.svg").exists():
            page += [f"![{known['title']}]({folder / 'figure.svg'})", ""]
        pages[slug] = "\n".join(page)
    head = ["# Studies", "", "| claim | verdict | effect | seeds |", "|---|---|---|---|", *rows, ""]
    pages["index"] = "\n".join([*head, "```{toctree}", ":hidden:", ":titlesonly:", "", *STUDIES, "```", ""])
    return pages


def write(folder: Path, pages: dict[str, str]) -> None:
    """Makes the folder hold exactly these files; one that stays as it is keeps its time, so it is not read again."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in pages:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def generate(app: Any) -> None:
    """Writes all generated pages."""
    names = rooms()
    pages = {f"{room.removeprefix('thalweg.')}.rst": room_page(room) for room in names}
    pages["errors.rst"] = f"{_title('thalweg.errors', '=')}\n.. automodule:: thalweg.errors\n   :members:\n"
    pages["index.rst"] = index_page([*names, "thalweg.errors"])
    pages |= {"commands.md": command_page(), "recipes.md": recipe_page()}
    write(HERE / "reference", pages)
    write(HERE / "studies", {f"{name}.md": text for name, text in study_pages().items()})


def setup(app: Any) -> dict[str, bool]:
    """Registers the extension with Sphinx."""
    app.connect("builder-inited", generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
