"""thalweg sweep and its report: what they print, `--json`, the page, dry runs, bad input."""

from __future__ import annotations

import json
import math

import pytest

from page_reader import Page, assert_inert
from thalweg.cli import main
from thalweg.launch.sweep_report import sweep_report
from thalweg.runs.ledger import Ledger
from thalweg.web.sweep_page import write_sweep_page

DOCUMENT = """
recipe = "recipe.toml"
{more}
[[regimes]]
tokens = 512
[[regimes]]
tokens = 1024
[optimizers.adamw]
start = {{lr = 0.01, warmup = 0.1}}
grid = {{lr = [0.01, 0.02, 0.04]}}
[optimizers.lion]
start = {{lr = 0.001}}
grid = {{lr = [0.001, 0.002]}}
"""


def said(capsys, *words: object, code: int = 0) -> str:
    assert main([str(word) for word in words]) == code
    out, err = capsys.readouterr()
    if code:
        assert err.startswith("thalweg: ")
        assert err.count("\n") == 1
    return err if code else out


@pytest.fixture
def document(tiny, tmp_path):
    (tmp_path / "recipe.toml").write_text(tiny().to_toml())
    path = tmp_path / "sweep.toml"
    path.write_text(DOCUMENT.format(more=""))
    return path


@pytest.fixture
def ledger(tiny, tmp_path, document):
    """A ledger as a sweep of both optimizers in four budgets leaves it, its losses drawn from formulas."""
    from thalweg.launch.sweep import Regime, load_sweep, recipe_of
    from thalweg.toml import plain

    sweep = load_sweep(document)
    sweep = type(sweep)(sweep.recipe, tuple(Regime(512 * 2**k) for k in range(4)), sweep.optimizers)
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as book:
        book.add({"sweep": plain(sweep)})
        for label, factor in (("adamw", 1.0), ("lion", 1.5)):
            for regime in sweep.regimes:
                space = sweep.space(label)
                for values in [dict(space.start), *space.neighbours(space.start)]:
                    gap = 0.05 * abs(math.log2(values["lr"] / (0.02 if label == "adamw" else 0.001)))
                    recipe = recipe_of(sweep, label, regime, values).to_dict()
                    book.add(
                        {"optimizer": label, "recipe": recipe},
                        optimizer=label,
                        params=sweep.parameters(regime),
                        tokens=regime.tokens,
                        values=values,
                        seed=0,
                        loss=2.0 + 30 * (factor * regime.tokens) ** -0.5 + gap,
                        seconds=0.5,
                    )
    return path


def test_dry_run(capsys, document, tmp_path, monkeypatch):
    monkeypatch.setenv("THALWEG_HOME", str(tmp_path / "home"))
    result = json.loads(said(capsys, "sweep", document, "--dry-run", "--json"))["result"]
    assert result["runs"] == 3 + 3 + 2 + 2
    assert result["known"] == 0
    assert result["seconds"] > 0
    assert [cell["runs"] for cell in result["cells"]] == [3, 3, 2, 2]
    out = said(capsys, "sweep", document, "--dry-run")
    assert "first rounds: 10 runs" in out
    assert not (tmp_path / "home").exists()  # nothing is left behind


def test_report(capsys, ledger, tmp_path):
    result = json.loads(said(capsys, "sweep", "report", ledger, "--json", "--out", tmp_path / "page.html"))["result"]
    cells = {(cell["optimizer"], cell["tokens"]): cell for cell in result["cells"]}
    for tokens in (512, 1024, 2048, 4096):
        assert cells["adamw", tokens]["values"]["lr"] == 0.02
        assert cells["adamw", tokens]["speedup"]["value"] == pytest.approx(1, abs=1e-6)
        speed = cells["lion", tokens]["speedup"]
        assert speed["value"] == pytest.approx(1.5, abs=1e-4)
        assert speed["low"] < 1.5 < speed["high"]
    assert result["sensitivity"]["adamw"]["sensitive"] == {}
    assert result["sensitivity"]["adamw"]["fixed"]["lr"] == 0.02
    assert result["runs"] == 4 * 5
    out = said(capsys, "sweep", "report", ledger)
    assert "1.50 (" in out
    page = Page((tmp_path / "page.html").read_text())
    assert_inert(page)
    assert "lion needs 1.50 times fewer tokens than a tuned adamw" in page.words


def test_a_best_value_at_the_end_of_its_grid_is_not_called_tuned(ledger, tmp_path):
    result = sweep_report(ledger)
    next(cell for cell in result["cells"] if cell["optimizer"] == "adamw")["at_end"].append("lr")
    words = Page(write_sweep_page(result, tmp_path / "page.html").read_text()).words
    assert "a tuned" not in words
    assert "(adamw at the end of its grid: lr)" in words
    for cell in result["cells"]:
        cell["speedup"] = None
    assert "tuned alike" not in Page(write_sweep_page(result, tmp_path / "page.html").read_text()).words


def test_bad_input(capsys, document, ledger, tmp_path):
    assert "cannot be read" in said(capsys, "sweep", tmp_path / "absent.toml", code=2)
    assert "holds no sweep" in said(capsys, "sweep", "report", tmp_path / "absent.jsonl", code=2)
    assert "workers = 0" in said(capsys, "sweep", document, "--workers", 0, code=2)
    whole = ledger.read_text()
    ledger.write_text(whole.replace('{"ledger":1}', '{"ledger":7}'))
    for words in (["report", ledger], [document, "--ledger", ledger], [document, "--ledger", ledger, "--dry-run"]):
        assert "written in version 7" in said(capsys, "sweep", *words, code=2)
    ledger.write_text(whole)
    with Ledger(ledger):
        assert "another process" in said(capsys, "sweep", document, "--ledger", ledger, code=2)
    assert ledger.read_text() == whole
    document.write_text(DOCUMENT.format(more="delta = -1"))
    assert "delta = -1" in said(capsys, "sweep", document, code=2)
    document.write_text(DOCUMENT.format(more="dleta = 1"))
    assert "did you mean 'delta'" in said(capsys, "sweep", document, code=2)
