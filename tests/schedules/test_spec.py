"""Spec strings: what is written is read back, and what is wrong is said in one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.errors import InputError
from thalweg.schedules import WSD, WSDS, Cosine, Piecewise, parse
from thalweg.schedules.spec import read_numbers, write_numbers


def test_the_example_of_the_manual() -> None:
    schedule = parse("wsd:peak=3e-4,warmup=100,decay=0.2,shape=1-sqrt,floor=0")
    assert schedule == WSD(peak=3e-4, warmup=100, decay=0.2, shape="1-sqrt", floor=0.0)
    assert str(schedule) == "wsd:peak=0.0003,warmup=100,decay=0.2"


def test_spaces_and_number_forms_do_not_matter() -> None:
    assert parse(" cosine : peak = 3e-4 , warmup = 100.0 ") == Cosine(peak=0.0003, warmup=100)
    assert hash(Cosine(peak=1, warmup=100.0)) == hash(Cosine(peak=1.0, warmup=100))


def test_lists_read_as_tuples() -> None:
    assert parse("wsd-s:peak=1,cycles=0.5;1,floor=0.1") == WSDS(peak=1, cycles=[0.5, 1], floor=0.1)
    assert parse("piecewise:points=0@0;1@100") == Piecewise(points=[[0, 0], [1, 100]])


@given(st.lists(st.sampled_from([0.1, 1e-300, 3e-4, 1 / 3]), min_size=1))
def test_runs_of_numbers_round_trip(values: list[float]) -> None:
    assert list(read_numbers(write_numbers(values))) == values


def test_runs_are_written_short() -> None:
    assert write_numbers([0.5] * 1000 + [0.1, 0.1]) == "0.5*1000;0.1;0.1"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("wds:peak=1", "schedule 'wds' is not known; did you mean 'wsd'?"),
        ("WSD:peak=1", "schedule 'WSD' is not known; did you mean 'wsd'?"),
        ("zzz:peak=1", "schedule 'zzz' is not known; known: array, constant"),
        ("wsd:peek=1", "'peek' is not an option; did you mean 'peak'?"),
        ("wsd:peak=1,shape=invers", "did you mean 'inverse'?"),
        ("cosine:peak=1,ramp=zeros", "did you mean 'zero'?"),
        ("wsd-s:peak=1,cycles=1,of=cycles", "did you mean 'cycle'?"),
        ("wsd", "peak is missing"),
        ("two-stage:peak=1,at=0.5", "then is missing"),
        ("wsd:peak", "is not key=value"),
        ("wsd:peak=1,", "is not key=value"),
        ("wsd:peak=1,peak=2", "peak is given twice"),
        ("wsd:peak=abc", "peak='abc' is not a number"),
        ("wsd:peak=3e-4e", "is not a number"),
        ("wsd:peak=1,warmup=10%", "warmup='10%' is not a number"),
        ("wsd:peak=nan", "is not finite"),
        ("wsd:peak=inf", "is not finite"),
        ("wsd:peak=0", "must be above 0"),
        ("wsd:peak=-1", "must be above 0"),
        ("wsd:peak=1,warmup=-5", "must be at least 0"),
        ("wsd:peak=1,warmup=1.5", "neither a fraction"),
        ("piecewise:points=1@0,warmup=1", "would be the whole run"),
        ("constant:peak=1,warmup=1", "would be the whole run"),
        ("wsd:peak=1,decay=0", "must be above 0"),
        ("wsd:peak=1,floor=2", "is above peak"),
        ("wsd:peak=1,floor=-0.1", "must be at least 0"),
        ("wsd:peak=1,shape=inverse", "cannot reach floor=0"),
        ("wsd:peak=1,shape=exponential", "cannot reach floor=0"),
        ("wsd-s:peak=1,cycles=1,shape=inverse", "cannot reach floor=0"),
        ("wsd:peak=1,shape=power", "needs its exponent"),
        ("wsd:peak=1,shape=power,power=0", "must be above 0"),
        ("wsd:peak=1,power=2", "has no meaning for shape=1-sqrt"),
        ("wsd-s:peak=1,cycles=0.5;0.4", "cycles must increase"),
        ("wsd-s:peak=1,cycles=500;1000,decay=50,of=cycle", "counts steps"),
        ("cyclic:peak=1,cycles=", "is not numbers"),
        ("multistep:peak=1,at=0.5,levels=0.1;0.2", "1 switches in at but 2 levels"),
        ("multistep:peak=1,at=0.5,levels=2", "is outside 0 to peak"),
        ("two-stage:peak=1,at=0.5,then=2", "is above peak"),
        ("inverse-sqrt:peak=1", "give warmup or timescale"),
        ("piecewise:points=1", "is not points rate@position"),
        ("piecewise:points=1@0;2@0", "positions must increase"),
        ("piecewise:points=0@0;0@1", "all rates are 0"),
        ("piecewise:points=-1@0", "must be at least 0"),
        ("array:values=1;x", "is not numbers"),
        ("array:values=1;-1", "must be finite and at least 0"),
        ("array:values=1*99999999999", "is not numbers"),
        ("array:values=1*0", "is not numbers"),
        ("array:warmup=2", "neither values nor a path"),
        ("array:values=1,warmup=2", "must be whole steps from 0 to 1"),
        ("array:values=1,column=rate", "give a path"),
    ],
)
def test_a_wrong_spec_is_refused_in_one_sentence(spec: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(spec)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "steps", "sentence"),
    [
        ("constant:peak=1,warmup=101", 100, "warmup=101 does not fit in 100 steps"),
        ("wsd:peak=1,warmup=60,decay=50", 100, "warmup (60 steps) and decay (50 steps) do not fit in 100 steps"),
        ("wsd-s:peak=1,cycles=50;120", 100, "cycles=120 does not fit"),
        ("wsd-s:peak=1,cycles=50;90", 100, "the last of cycles is step 90"),
        ("wsd-s:peak=1,warmup=50,cycles=50;100", 100, "within the warmup of 50 steps"),
        ("wsd-s:peak=1,cycles=90;100,decay=0.5", 100, "does not fit in the 10 steps"),
        ("wsd-s:peak=1,cycles=0.5;1,decay=60", 100, "the decay of 60 steps before step 50"),
        ("cyclic:peak=1,cycles=0.001;1", 100, "cycles must increase"),
        ("two-stage:peak=1,warmup=60,at=50,then=0", 100, "lies outside steps 60"),
        ("two-stage:peak=1,at=1,then=0", 100, "lies outside steps 0"),
        ("multistep:peak=1,at=80;90,levels=0;0", 85, "at=90 does not fit"),
        ("inverse-sqrt:peak=1,warmup=0.001", 100, "give timescale or more warmup"),
        ("piecewise:points=1@0;0@200", 100, "points=200 does not fit"),
        ("piecewise:points=1@0;0.5@0.001;0@1", 100, "in 100 steps the point at 0 follows the one at 0"),
        ("array:values=1;2", 3, "it holds 2 rates but the run has 3 steps"),
    ],
)
def test_phases_that_do_not_fit_are_refused(spec: str, steps: int, sentence: str) -> None:
    schedule = parse(spec)
    with pytest.raises(InputError) as caught:
        schedule.rates(steps)
    assert sentence in str(caught.value)
    with pytest.raises(InputError):
        schedule.phases(steps)


@pytest.mark.parametrize("value", [True, None, "3e-4", [1.0], 1j])
def test_rates_of_the_wrong_type_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="is not a number"):
        Cosine(peak=value)  # type: ignore[arg-type]


def test_a_spec_that_is_no_text_is_refused() -> None:
    with pytest.raises(InputError, match="is not a spec string"):
        parse(3e-4)  # type: ignore[arg-type]
