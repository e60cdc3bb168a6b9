"""The pages of docs/: what they show is what happens, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fenced import ROOT, agree, blocks, parse, run_page, workplace

DOCS = ROOT / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]
SLOW = ("optimizers",)
WRITTEN = [*PAGES, DOCS / "index.md", *sorted((DOCS / "cards").glob("*.md"))]
GENERATED = ("pictures/", "reference/", "studies/")


def name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=pytest.mark.slow if path.stem in SLOW else ()) for path in PAGES], ids=name
)
def test_what_a_page_shows_is_what_happens(path, tmp_path, monkeypatch):
    monkeypatch.delenv("THALWEG_HOME", raising=False)
    for block, printed in run_page(path.read_text(encoding="utf-8"), workplace(tmp_path)):
        agree(block.text, printed)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_commands_that_are_not_run_parse(path):
    for block in blocks(path.read_text(encoding="utf-8")):
        assert block.language in ("console", "python", "text", "toml", "sh", ""), block.language
        for line in block.text.splitlines():
            if block.language == "sh" and (found := re.search(r"\bthalweg .*", line)):
                parse(found[0])


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_links_lead_to_pages(path):
    text = path.read_text(encoding="utf-8")
    inside = re.findall(
        r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"^```(?!\{).*?^```", "", text, flags=re.M | re.S)
    )
    for target in inside:
        place = (path.parent / target).resolve().relative_to(DOCS)
        assert place.as_posix().startswith(GENERATED) or (DOCS / place).exists(), target


def test_every_page_is_listed():
    listed = re.findall(r"^([\w/-]+)$", (DOCS / "howto" / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted([*listed, "index"]) == sorted(path.stem for path in (DOCS / "howto").glob("*.md"))
    cards = re.findall(
        r"^[\w ]+ <(\w+)>$", (DOCS / "cards" / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert sorted([*cards, "index"]) == sorted(path.stem for path in (DOCS / "cards").glob("*.md"))


def test_a_page_that_says_otherwise_is_caught():
    shown = "$ thalweg x\nloss  1.234  in 3 s\n"
    agree(shown, "$ thalweg x\nloss  1.236 in 90 s\n")
    for wrong in ("$ thalweg x\nloss  1.334  in 3 s\n", "$ thalweg x\ngain  1.234  in 3 s\n", "$ thalweg x\n"):
        with pytest.raises(AssertionError, match="page"):
            agree(shown, wrong)
    agree("$ x\n1\n…\n9\n", "$ x\n1\n2\n3\n9\n")
    with pytest.raises(AssertionError, match="page"):
        agree("$ x\n1\n…\n9\n", "$ x\n1\n2\n3\n8\n")


def test_blocks_that_fail_or_print_unseen_are_caught(tmp_path):
    for page in ("```python\nprint(1)\n```\n", "```console\n$ thalweg fit absent.csv\n```\n"):
        with pytest.raises(AssertionError):
            list(run_page(page, tmp_path))
    with pytest.raises(AssertionError, match="only thalweg"):
        list(run_page("```console\n$ rm -r x\n```\n", tmp_path))
    (shown,) = run_page("```toml\n# a.toml\nb = 1\n```\n\n```python\nprint(open)\n```\n\n```text\n```\n", tmp_path)
    assert shown[1].startswith("<built-in")
    assert (tmp_path / "a.toml").read_text() == "# a.toml\nb = 1\n"
