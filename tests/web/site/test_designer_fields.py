"""Forms of schedule families: filled from a schedule and read back they give the same one."""

from __future__ import annotations

import pytest

from thalweg.errors import InputError
from thalweg.schedules import SCHEDULES, parse
from thalweg.web.site.designer.fields import FAMILIES, begin, form, read
from thalweg.web.site.designer.state import Frame

FRAME = Frame(peak=3e-4, floor=3e-5, warmup=100)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_form_gives_back_its_schedule(family):
    schedule = begin(family, FRAME, 5000)
    fields = form(schedule, 5000)
    assert read(family, {field.name: field.value for field in fields}) == schedule
    assert schedule.peak == FRAME.peak
    assert schedule.warmup_steps(5000) == 100
    for field in fields:
        assert field.help or field.name == "power", field.name
        assert "`" not in field.help
        assert field.unit or field.choices or field.name == "power"


def test_all_families_but_points_and_files_have_one():
    assert set(FAMILIES) == set(SCHEDULES) - {"piecewise", "array"}


def test_the_exponent_comes_and_goes_with_its_shape():
    given = {"peak": "1", "shape": "power"}
    assert read("wsd", given) == parse("wsd:peak=1,shape=power,power=2")
    assert read("wsd", given | {"shape": "linear", "power": "3"}) == parse("wsd:peak=1,shape=linear")
    assert "power" in [field.name for field in form(parse("wsd:peak=1,shape=power,power=2"), 100)]
    assert "power" not in [field.name for field in form(parse("wsd:peak=1"), 100)]


@pytest.mark.parametrize(
    ("family", "given", "says"),
    [
        ("wsb", {}, "no form; did you mean 'wsd'"),
        ("piecewise", {}, "no form"),
        ("wsd", {"peak": ""}, "peak is missing"),
        ("wsd", {"peak": "x"}, "not a number such as"),
        ("wsd", {"peak": "1,decay=0.9"}, "holds a comma"),
        ("wsd", {"peak": "-1"}, "must be above 0"),
    ],
)
def test_bad_fields(family, given, says):
    with pytest.raises(InputError, match=says):
        read(family, given)
