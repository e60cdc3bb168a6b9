from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from page_reader import Page, assert_inert
from thalweg.errors import InputError
from thalweg.web.atlas import write_atlas

FIGURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"><path d="M0 0L4 3"/></svg>'
CARD = """# Claim

Losses of *unseen* schedules, `x < y`.

| what | ours |
|---|---|
| error | 0.3 % |

<script>alert(1)</script>

[paper](https://arxiv.org/abs/2503.12811) [bad](javascript:alert(2)) ![picture](https://example.org/x.png)
"""


def study(slug: str = "multi-power-law", **changes: Any) -> dict[str, Any]:
    """A study as its expected.json has it, with card and figure."""
    return {
        "slug": slug,
        "title": f"Title of {slug}",
        "arxiv": "2503.12811",
        "claim": "The law foretells unseen schedules.",
        "unit": "% of the loss",
        "scale": "laptop",
        "verdict": "reproduced",
        "effect": 0.31234,
        "error": 0.0412,
        "runs": 3,
        "command": f"thalweg study run {slug} --seeds 3",
        "date": "2026-11-22T08:00:00.123+00:00",
        "seconds": [10.2, 11.9, 11],
        "device": "cpu",
        "versions": {"thalweg": "0.1.0", "torch": "2.13.0"},
        "paper": [{"what": "mean MAE", "value": 0.0032, "source": "Table 2"}],
        "ours": [
            {"what": "seconds of a fit", "value": 0.41, "unit": "s"},
            {"what": "mean MAE", "value": 0.00284, "unit": "nats/token"},
        ],
        "card": CARD,
        "figure": FIGURE,
    } | changes


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_the_index_shows_every_study_with_its_verdict(tmp_path):
    studies = [
        study(),
        study("second", verdict="not reproduced", effect=-1.5, error=0.25),
        study("third", verdict="inconclusive", effect=0.02, error=None, runs=1, figure=None),
    ]
    index = write_atlas(studies, tmp_path / "atlas")
    assert index == tmp_path / "atlas" / "index.html"
    page = read(index)
    assert_inert(page)
    order = [page.words.index(f"Title of {slug}") for slug in ("multi-power-law", "second", "third")]
    assert order == sorted(order)
    assert "all verdicts 3 reproduced 1 not reproduced 1 inconclusive 1" in page.words
    assert "0.312 ± 0.041 % of the loss" in page.words
    assert "seeds 3 (laptop) cost 10 to 12 s a seed date 22 November 2026 paper arXiv 2503.12811" in page.words
    assert "-1.50 ± 0.25 % of the loss" in page.words
    assert "0.02 % of the loss" in page.words
    badges = [attrs["class"] for attrs in page.tags("span") if (attrs.get("class") or "").startswith("badge")]
    assert badges == ["badge reproduced", "badge not-reproduced", "badge inconclusive"]
    for attrs in page.tags("a"):
        assert (index.parent / (attrs["href"] or "")).exists()
    assert len(page.tags("img")) == 2
    for attrs in page.tags("img"):
        assert (index.parent / (attrs["src"] or "")).read_text() == FIGURE
        assert (attrs["loading"], attrs["width"], attrs["height"]) == ("lazy", "4", "3")


def test_a_study_page_has_card_numbers_figure_and_command(tmp_path):
    write_atlas([study()], tmp_path)
    page = read(tmp_path / "studies" / "multi-power-law.html")
    assert_inert(page)
    assert "thalweg study run multi-power-law --seeds 3" in page.words
    assert "mean MAE 0.0032 Table 2 0.00284 nats/token" in page.words
    assert "seconds of a fit -- 0.41 s" in page.words
    assert "22 November 2026, 08:00:00 UTC" in page.words
    assert "thalweg 0.1.0, torch 2.13.0" in page.words
    (image,) = page.tags("img")
    assert (tmp_path / "studies" / (image["src"] or "")).read_text() == FIGURE


def test_a_card_is_rendered_and_can_do_no_harm(tmp_path):
    write_atlas([study(figure=None)], tmp_path)
    page = read(tmp_path / "studies" / "multi-power-law.html")
    assert [tag for tag, _ in page.elements].count("h1") == 1
    assert "Claim" in page.parts
    assert len(page.tags("em")) == 1
    assert "<script>alert(1)</script>" in page.words
    assert "error 0.3 %" in page.words
    web = [address for address in page.addresses() if "://" in address]
    assert web[:2] == ["https://arxiv.org/abs/2503.12811"] * 2  # links to follow, by name
    assert not page.tags("img")


def test_strings_of_a_study_stay_text(tmp_path):
    hostile = "<script>alert(1)</script>\"'{{ 7*7 }}"
    keys = ("title", "arxiv", "claim", "unit", "scale", "command", "date", "device")
    changes = dict.fromkeys(keys, hostile)
    numbers = [{"what": hostile, "value": hostile, "source": hostile, "unit": hostile}]
    made = study(**changes, versions={hostile: hostile}, paper=numbers, ours=numbers, figure=hostile)
    for path in (write_atlas([made], tmp_path), tmp_path / "studies" / "multi-power-law.html"):
        page = read(path)
        assert_inert(page)
        assert "alert(1)" in page.words
        assert "49" not in page.words


def test_only_what_a_verdict_needs_is_needed(tmp_path):
    need = ("slug", "title", "arxiv", "claim", "unit", "scale", "verdict", "effect", "error", "runs")
    index = write_atlas([{key: value for key, value in study().items() if key in need}], tmp_path)
    assert_inert(read(index))
    page = read(tmp_path / "studies" / "multi-power-law.html")
    assert not page.tags("table")
    assert "Run it again" not in page.words


def test_an_atlas_without_studies_says_so(tmp_path):
    assert "There is no study yet." in read(write_atlas([], tmp_path)).words


@pytest.mark.parametrize(
    ("studies", "message"),
    [
        ([study("../../etc")], "cannot name a page"),
        ([study(), study()], "used by two studies"),
        ([study(verdict="proved")], "must be one of reproduced, not reproduced, inconclusive"),
    ],
)
def test_studies_that_cannot_be_shown_are_refused(tmp_path, studies, message):
    with pytest.raises(InputError, match=message):
        write_atlas(studies, tmp_path)


def test_the_command_reads_every_study(tmp_path, monkeypatch, capsys):
    from thalweg import studies
    from thalweg.cli import main
    from thalweg.studies import base

    for slug in ("one", "two"):
        document = study(slug)
        folder = tmp_path / slug
        folder.mkdir()
        (folder / "card.md").write_text(document.pop("card"))
        figure = document.pop("figure")
        if slug == "one":
            (folder / "figure.svg").write_text(figure)
        (folder / "expected.json").write_text(json.dumps(document))
    monkeypatch.setattr(studies, "STUDIES", {"one": "x.one", "two": "x.two"})
    monkeypatch.setattr(base, "folder_of", lambda slug: tmp_path / slug)
    out = tmp_path / "atlas"
    assert main(["atlas", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    assert len(read(out / "index.html").tags("img")) == 1
    assert main(["atlas", "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["result"] == {"page": str(out / "index.html"), "studies": ["one", "two"]}


def test_the_command_file_imports_nothing_heavy():
    heavy = "torch numpy scipy matplotlib jinja2 markdown_it"
    check = f"import sys, thalweg.cli.atlas; sys.exit(any(name in sys.modules for name in {heavy.split()}))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
