"""The reference that `make docs` generates: every public name is there, and nothing comes from outside."""

from __future__ import annotations

import pkgutil
import re
import sys
import zlib
from importlib import import_module
from types import ModuleType

import pytest

import thalweg
from fenced import ROOT
from thalweg.cli import COMMANDS
from thalweg.studies import STUDIES

BUILT = ROOT / "docs" / "_build" / "html"
ROOMS = [module.name for module in pkgutil.iter_modules(thalweg.__path__) if module.ispkg]
ROOMS = [f"thalweg.{name}" for name in ROOMS if name not in ("cli", "web")]


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    """The extension that writes the reference."""
    pytest.importorskip("sphinx", reason="extra docs")
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return import_module("reference_pages")
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def inventory() -> set[str]:
    """All names that the built pages document."""
    newest = max(path.stat().st_mtime for path in (ROOT / "src" / "thalweg").glob("*/__init__.py"))
    path = BUILT / "objects.inv"
    if not path.exists() or path.stat().st_mtime < newest:
        pytest.skip("pages are not built, or older than a room: make docs")
    packed = path.read_bytes().split(b"\n", 4)[4]
    return {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines() if " py:" in line}


def public(room: str) -> dict[str, object]:
    """What a room names, or its modules where it names nothing, by full name."""
    package = import_module(room)
    modules = [package]
    if not hasattr(package, "__all__"):
        modules = [import_module(module.name) for module in pkgutil.iter_modules(package.__path__, f"{room}.")]
    return {f"{module.__name__}.{name}": getattr(module, name) for module in modules for name in module.__all__}


def homes(name: str, value: object) -> set[str]:
    """The name, and the one it has where it is defined: a module's imports from its own room are documented once."""
    return {name, f"{getattr(value, '__module__', '')}.{name.rpartition('.')[2]}"}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_an_entry(room, pages):
    page = pages.room_page(room)
    entries = set(re.findall(r"^\.\. auto(?:class|function):: (\S+)$", page, flags=re.MULTILINE))
    data = re.findall(r"^\.\. py:data:: (\S+)\n   :module: (\S+)$", page, flags=re.MULTILINE)
    entries |= {f"{module}.{name}" for name, module in data}
    assert sorted(name for name, value in public(room).items() if not homes(name, value) & entries) == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_in_the_inventory(room, inventory):
    assert sorted(name for name, value in public(room).items() if not homes(name, value) & inventory) == []


def test_every_command_and_every_study_is_there(pages):
    commands = pages.command_page()
    assert [name for name in COMMANDS if f"\n## thalweg {name}\n" not in commands] == []
    assert set(pages.study_pages()) == {"index", *STUDIES}


def test_every_field_of_a_recipe_is_there(pages):
    from thalweg.nn import ModelConfig
    from thalweg.optim import OPTIMIZERS
    from thalweg.train.recipe import Recipe

    page = pages.recipe_page()
    tables = ("model", "data", "evaluation", "checkpoint", "model.moe")
    assert [name for name in (*tables, "optimizer") if f"## `[{name}]`" not in page] == []
    fields = [*Recipe.__dataclass_fields__, *ModelConfig.__dataclass_fields__]
    assert [name for name in fields if f"| `{name}`<br>" not in page and f"{name}]`" not in page] == []
    assert [name for name in OPTIMIZERS if f"`{name} <" not in page] == []
    assert "|  |\n" not in page, "a field without a meaning"


def test_the_built_pages_load_nothing_from_outside(inventory):
    for path in BUILT.rglob("*.html"):
        loads = re.findall(
            r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"([^\"]+)\"", path.read_text(encoding="utf-8")
        )
        assert [address for address in loads if re.match(r"(?:https?:)?//", address)] == [], path.name
    for path in BUILT.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\s]+", path.read_text(encoding="utf-8")) == [], (
            path.name
        )


def test_the_links_of_the_built_pages_lead_somewhere(inventory):
    texts = {path: path.read_text(encoding="utf-8") for path in BUILT.rglob("*.html")}
    places = {path: set(re.findall(r"\bid=\"([^\"]+)\"", text)) for path, text in texts.items()}
    lost = set()
    for path, text in texts.items():
        for address in re.findall(r"<a\b[^>]*?\bhref=\"([^\"]+)\"", text):
            file, _, anchor = address.partition("#")
            if re.match(r"\w+:", address):
                continue
            target = (path.parent / file).resolve() if file else path
            known = target in places and (not anchor or anchor in places[target])
            if not known and not (target.suffix != ".html" and target.exists()):
                lost.add(f"{path.name}: {address}")
    assert sorted(lost) == []
