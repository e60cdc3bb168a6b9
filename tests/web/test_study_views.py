"""Effects drawn against their threshold, numbers with their errors, sizes of figures, filters."""

from __future__ import annotations

import re

import pytest

from thalweg.errors import InputError
from thalweg.studies.base import decide
from thalweg.web.atlas_filter import Selection, choices, select
from thalweg.web.effect_bar import alone, effect_bar, remark
from thalweg.web.study_views import figure_size, study_view

STUDY = {
    "slug": "sam",
    "title": "A <title>",
    "arxiv": "0000.00000",
    "claim": "It falls.",
    "unit": "nats",
    "scale": "laptop",
    "verdict": "reproduced",
    "effect": 0.5,
    "error": 0.1,
    "runs": 3,
    "threshold": 0.2,
}


@pytest.mark.parametrize("values", [[1.0, 1.1, 0.9], [0.1, 0.0, 0.05], [0.1, 0.9, 0.5], [1.0]])
def test_alone_says_what_the_rule_says(values):
    verdict = decide(values, threshold=0.4)
    assert alone(verdict.effect, verdict.error, 0.4) == verdict.state


def test_the_bar_is_to_scale():
    drawn = effect_bar(0.5, 0.1, 0.2, "Effect & more")
    (mark,) = re.findall(r'class="goal" d="M([\d.]+)', drawn)
    ((low, high),) = re.findall(r'class="whisker" d="M([\d.]+) 12H([\d.]+)"', drawn)
    (dot,) = re.findall(r'cx="([\d.]+)"', drawn)
    unit = (float(high) - float(low)) / 0.4  # two standard errors to each side
    assert float(dot) - float(low) == pytest.approx(0.2 * unit, abs=0.2)
    assert float(dot) - float(mark) == pytest.approx(0.3 * unit, abs=0.2)
    assert 'aria-label="Effect &amp; more"' in drawn
    assert "threshold 0.2" in drawn


def test_bars_of_odd_numbers():
    assert effect_bar(None, None, 0.0, "x") == effect_bar(float("nan"), 0.1, 0.0, "x") == ""
    assert "whisker" not in effect_bar(0.0, None, 0.0, "x")
    assert ">0<" in effect_bar(-3.0, 0.2, None, "x")
    assert "nan" not in effect_bar(1e-300, 0.0, None, "x")


def test_a_remark_says_what_the_bar_does_not():
    assert remark(0.5, 0.1, 0.2, "reproduced") == ""
    assert "other demands" in remark(0.5, 0.1, 0.2, "inconclusive")
    assert "reported beside" in remark(0.5, 0.1, None, "reproduced")
    assert remark(None, None, 0.2, "inconclusive") == ""


def test_errors_stand_beside_their_numbers_and_the_rest_is_folded():
    ours = [{"what": f"number {k}", "value": 0.25, "unit": "s"} for k in range(30)]
    ours += [{"what": "number 3, standard error", "value": 0.0123, "unit": "s"}]
    view = study_view(STUDY | {"ours": ours, "paper": [{"what": "number 7", "value": 0.3, "source": "Table 1"}]})
    (table,) = view["numbers"]
    rows, more = table.rows, view["more_numbers"].rows
    assert rows[0][:1] + rows[0][2:] == ["number 7", "0.25", "s"]
    assert [row[2] for row in rows if row[0] == "number 3"] == ["0.25\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.012"]
    assert len(rows) + len(more) == 30
    assert not [row for row in [*rows, *more] if "standard error" in row[0]]


def test_numbers_of_different_things_have_a_table_each():
    view = study_view(
        STUDY
        | {
            "ours": [{"what": "a", "value": 1, "unit": "s"}],
            "paper": [{"what": "b", "value": "none", "source": "Table 1"}],
        }
    )
    assert [[row[0] for row in table.rows] for table in view["numbers"]] == [["b"], ["a"]]
    assert view["more_numbers"] is None
    assert study_view(STUDY)["numbers"] == []


@pytest.mark.parametrize(
    ("svg", "size"),
    [
        ('<svg viewBox="0 0 900 532.8">', (900, 533)),
        ('<svg viewBox=" -5,-5 , 40, 30">', (40, 30)),
        ('<svg viewBox="0 0 0 9">', (800, 600)),
        ("", (800, 600)),
    ],
)
def test_the_size_of_a_figure(svg, size):
    assert figure_size(svg) == size


def test_filters_count_what_each_choice_would_leave():
    views = [study_view(STUDY), study_view(STUDY | {"slug": "qsr", "verdict": "inconclusive", "title": "Rounds"})]
    assert [view["slug"] for view in select(views, Selection(word="ROUNDS"))] == ["qsr"]
    counts = {choice.key: choice.count for choice in choices(views, Selection(topic="sharpness"))["verdict"]}
    assert counts == {"verdict-any": 1, "verdict-reproduced": 1, "verdict-inconclusive": 0}
    with pytest.raises(InputError, match="did you mean 'sharpness'"):
        Selection(topic="sharpnes")
