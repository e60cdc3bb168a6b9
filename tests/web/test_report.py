from __future__ import annotations

import copy
import json
import math
import re
import tomllib

import numpy as np
import pytest

from page_reader import Page, assert_inert
from thalweg.web.report import write_report

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&{{ 7*7 }}"


@pytest.fixture
def page(result, tmp_path):
    return Page(write_report(result, tmp_path / "report.html").read_text(encoding="utf-8"))


def test_the_page_needs_nothing_but_itself(result, tmp_path):
    path = write_report(result, tmp_path / "deep" / "report.html")
    assert path == tmp_path / "deep" / "report.html"
    content = path.read_text(encoding="utf-8")
    page = Page(content)
    assert_inert(page)
    assert page.addresses() == ["data:,"]
    assert "://" not in content
    assert not re.search(r"url\(|@import|@font-face", content)
    assert path.stat().st_size < 500_000  # the limit is 2 MB; a real result has about five times the points of this one


def test_headline_says_what_was_predicted_and_how_far_off(page):
    worst = max(abs(1.2611 / 1.2645 - 1), abs(1.2211 / 1.2245 - 1), abs(1.2301 / 1.2224 - 1))
    assert f"Three training runs predicted to within {100 * worst:.2f} % before they started" in page.words
    assert "WSD : predicted 1.2211 ± 0.0121, measured 1.2245 (-0.28 %)" in page.words
    assert "designed : predicted 1.2301 ± 0.0132, measured 1.2224 (+0.63 %)" in page.words
    assert "22 November 2026, 07:54:10 UTC" in page.words
    assert page.tags("time")[0]["datetime"] == "2026-11-22T07:54:10+0000"
    assert "before the long runs started" in page.words


def test_every_number_of_the_result_is_in_the_tables(page, result):
    for row in result["table"].values():
        low, high = row["interval"]
        said = f"{row['final_loss']:.4f} {low:.4f} to {high:.4f} {row['measured']:.4f} {row['measured_error']:.4f}"
        assert said in page.words
    assert "1.127 1.1 to 1.14 nats/token" in page.words
    assert "-0.1291 -0.196 to 0.612 no unit" in page.words
    assert "pilot: two-stage 150 0 12.5 s 83.3 ms 30,123" in page.words
    assert "long: WSD 200 100 12.5 s 62.5 ms 30,123" in page.words
    assert "all 900 300 62.5 s" in page.words
    assert "Long runs trained: 2 min 16 s" in page.words
    assert "2 of 3 measured losses" not in page.words
    assert "3 of 3 measured losses" in page.words
    assert "the 90 % interval is ±0.9 % wide" in page.words


def test_figures_name_their_axes_and_say_what_they_show(page):
    charts = [attrs for attrs in page.tags("svg") if "role" in attrs]
    assert [attrs["class"] for attrs in charts] == ["chart wide", "chart narrow"] * 4
    assert all(len(attrs["aria-label"] or "") > 40 for attrs in charts)
    names = [part for part in page.parts if part.endswith(")")]
    assert names.count("validation loss (nats/token)") == 4  # figures 1 and 3 in both forms
    for label in (
        "measured above the fit (%)",
        "final validation loss (nats/token)",
        "learning rate (10⁻³ per optimizer step)",
    ):
        assert names.count(label) == 2
    assert page.words.count("optimizer step") >= 3 * 2 + 2
    assert [f"Figure {k}." in page.words for k in (1, 2, 3, 4)] == [True] * 4
    assert "WSD predicted 1.2211, measured 1.2245" in (charts[0]["aria-label"] or "")


def test_measured_points_stand_where_the_axes_say(result, tmp_path):
    """The dots of figure 1, read back through its tick marks, are the measured losses."""
    content = write_report(result, tmp_path / "r.html").read_text(encoding="utf-8")
    chart = content[content.index('<svg class="chart narrow"') :]
    first = re.split(r'<svg x="', chart)[1]  # the first of three panels: its drawing, then its words
    assert first.startswith('46" y="46"')
    labels = re.findall(r'<text x="39" y="([\d.]+)" class="tick" text-anchor="end">([\d.]+)</text>', first)
    (y0, v0), (y1, v1) = ((float(y) - 4 - 46, float(value)) for y, value in (labels[0], labels[-1]))
    across = re.findall(r'<text x="([\d.]+)" y="[\d.]+" class="tick" text-anchor="middle">(\d+)</text>', first)[-2:]
    (x0, s0), (x1, s1) = ((float(x) - 46, float(step)) for x, step in across)
    dots = re.search(r'<path class="dots k0" d="([^"]+)"', first)
    assert dots
    pixels = np.array(re.findall(r"M([-\d.]+) ([-\d.]+)h0", dots[1]), dtype=float)
    steps = s0 + (pixels[:, 0] - x0) * (s1 - s0) / (x1 - x0)
    losses = v0 + (pixels[:, 1] - y0) * (v1 - v0) / (y1 - y0)
    run = result["runs"]["long-cosine"]
    pixel = abs((v1 - v0) / (y1 - y0))
    np.testing.assert_allclose(steps, run["steps"], atol=0.3)  # a tenth of a pixel is a tenth of a step here
    np.testing.assert_allclose(losses, run["losses"], atol=0.3 * pixel)  # rounding of dot and of both ticks


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (0.0031, "is lower than that of WSD (by 0.0031 ± 0.0015)"),
        (0.0021, "is at most that of WSD within its error (below by 0.0021 ± 0.0015)"),
        (-0.0029, "is at most that of WSD within its error (above by 0.0029 ± 0.0015)"),
        (-0.0031, "is higher than that of WSD (by 0.0031 ± 0.0015)"),
    ],
)
def test_the_designed_schedule_is_judged_by_two_standard_errors(result, tmp_path, gap, words):
    result["table"]["wsd"]["above_designed"] = gap
    del result["table"]["cosine"]
    assert words in Page(write_report(result, tmp_path / "r.html").read_text(encoding="utf-8")).words


def test_strings_of_users_stay_text(result, tmp_path):
    plain = Page(write_report(result, tmp_path / "plain.html").read_text(encoding="utf-8"))
    hostile = copy.deepcopy(result)
    hostile["data"] = hostile["made"] = HOSTILE
    for row in hostile["table"].values():
        row["spec"] = row["reason"] = row["trust"] = HOSTILE
    for part in ("table", "schedules"):
        hostile[part] = {name.replace("cosine", HOSTILE): value for name, value in hostile[part].items()}
    hostile["runs"] = {name.replace("cosine", HOSTILE): value for name, value in hostile["runs"].items()}
    hostile["law"]["params"] = {HOSTILE: 1.0, "A": 2.0, "gamma": 3.0}
    law = {"record": {"identifiability": {"loose": [HOSTILE]}}}
    page = Page(write_report(hostile, tmp_path / "r.html", law=law).read_text(encoding="utf-8"))
    assert_inert(page)
    assert page.addresses() == ["data:,"]
    assert page.words.count("alert(1)") >= 6
    assert "49" not in re.findall(r"&(\d+)", page.words)
    assert len(page.tags("td")) == len(plain.tags("td"))
    assert not page.tags("img")


def test_what_is_absent_is_left_out(result, tmp_path):
    for key in ("data", "made", "law", "seconds"):
        del result[key]
    result["runs"] = {}
    del result["table"]["designed"]
    page = Page(write_report(result, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert_inert(page)
    assert len([attrs for attrs in page.tags("svg") if "role" in attrs]) == 4  # figures 1 and 2 in both forms
    assert not page.tags("time")
    assert "Two training runs predicted" in page.words
    for gone in ("The pilots and the law", "Use the designed schedule", "The designed schedule's final loss"):
        assert gone not in page.words


def test_what_is_not_a_number_is_a_dash(result, tmp_path):
    result["table"]["wsd"] |= {"measured": math.nan, "error": math.nan, "measured_error": None}
    result["law"]["intervals"] = {}
    result["runs"]["long-wsd"] |= {"updates": 0, "seconds": 0.0, "tokens_per_second": 0.0}
    content = write_report(result, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "nan" not in Page(content).words.split()
    assert "measured -- (--)" in Page(content).words
    assert not re.search(r'[ "M]nan', content)


def test_poorly_determined_parameters_are_marked(result, tmp_path):
    law = {"record": {"identifiability": {"loose": ["A"]}}}
    page = Page(write_report(result, tmp_path / "r.html", law=law).read_text(encoding="utf-8"))
    assert page.words.count("poorly determined") == 1
    assert "summed learning rate poorly determined" in page.words
    assert "Poorly determined" not in Page(write_report(result, tmp_path / "s.html").read_text(encoding="utf-8")).words


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    first = write_report(result, tmp_path / "a.html").read_bytes()
    again = write_report(json.loads(json.dumps(result)), tmp_path / "b.html").read_bytes()
    assert first == again


def test_the_lines_to_copy_work(result, tmp_path):
    """The Python lines give the spec's rates to a real optimizer; the recipe is one that `thalweg train` reads."""
    import torch

    from thalweg.cli.demo import demo_plan
    from thalweg.launch.outcome import plan_dict
    from thalweg.schedules import parse
    from thalweg.train.recipe import load_recipe

    result["plan"] = plan_dict(demo_plan(300, 3))
    page = Page(write_report(result, tmp_path / "r.html").read_text(encoding="utf-8"))
    spec = result["table"]["designed"]["spec"]
    lines = next(part for part in page.parts if part.startswith("from thalweg.schedules import"))
    scope = {"optimizer": torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.002)}
    exec(lines, scope)
    rates = []
    for _ in range(300):
        rates.append(scope["optimizer"].param_groups[0]["lr"])
        scope["optimizer"].step()
        scope["scheduler"].step()
    np.testing.assert_allclose(rates, parse(spec).rates(300), rtol=1e-12)  # rate · (lr / peak) rounds twice
    toml = next(part for part in page.parts if "[model]" in part)
    assert tomllib.loads(toml)["steps"] == 300
    (tmp_path / "designed.toml").write_text(toml)
    recipe = load_recipe(tmp_path / "designed.toml")
    assert (recipe.schedule, recipe.steps, recipe.seed) == (spec, 300, 3)
    assert "3 (one seed)" in page.words
    from thalweg.nn import LanguageModel

    weights = sum(weight.numel() for weight in LanguageModel(recipe.model).parameters())
    assert f"{weights:,} parameters" in page.words
