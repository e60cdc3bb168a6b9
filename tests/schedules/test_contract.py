"""Every schedule keeps the public contract and survives its spec string."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.schedules import (
    SCHEDULES,
    SHAPES,
    WSD,
    WSDS,
    Array,
    Constant,
    Cosine,
    Cyclic,
    InverseSqrt,
    Linear,
    MultiStep,
    Phase,
    Piecewise,
    Schedule,
    TwoStage,
    WarmedSchedule,
    parse,
)
from thalweg.testing import check_schedule

EXAMPLES = {
    "constant": "constant:peak=3e-4,warmup=10",
    "cosine": "cosine:peak=3e-4,warmup=0.1,floor=3e-5,ramp=zero",
    "linear": "linear:peak=1,warmup=5",
    "wsd": "wsd:peak=3e-4,warmup=100,decay=0.2,shape=1-sqrt,floor=0",
    "wsd-s": "wsd-s:peak=3e-4,cycles=250;500;1000,decay=0.1,shape=inverse,floor=3e-5",
    "two-stage": "two-stage:peak=3e-4,warmup=50,at=0.5,then=1e-4",
    "multistep": "multistep:peak=1e-3,at=0.8;0.9,levels=3e-4;1e-4",
    "cyclic": "cyclic:peak=1e-3,cycles=0.25;0.5;1,floor=1e-4",
    "inverse-sqrt": "inverse-sqrt:peak=1e-3,warmup=50",
    "piecewise": "piecewise:points=0@0;3e-4@100;3e-4@0.8;0@1,warmup=100",
    "array": "array:values=1e-4*400;3e-4;2e-4*599,warmup=2",
}

STEPS = 400  # every schedule made here fits in as many steps

rates = st.floats(1e-12, 10.0)
shares = st.floats(0.0, 1.0)
warmups = st.one_of(st.integers(2, 60), st.floats(0.0, 0.15), st.just(0))
ramps = st.sampled_from(["linear", "zero"])


@st.composite
def warmed(draw: st.DrawFn) -> dict:
    """The arguments that all warmed schedules share."""
    return {"peak": draw(rates), "warmup": draw(warmups), "ramp": draw(ramps)}


@st.composite
def shaped(draw: st.DrawFn, peak: float) -> dict:
    """A decay shape with a floor and an exponent that go with it."""
    shape = draw(st.sampled_from(SHAPES))
    lowest = 1e-3 if shape in ("exponential", "inverse") else 0.0
    power = draw(st.floats(0.1, 5.0)) if shape == "power" else None
    return {"shape": shape, "floor": peak * draw(st.floats(lowest, 1.0)), "power": power}


switches = st.sampled_from([(0.2, 0.5, 0.9), (70, 80, 300), (0.3, 200, 300)])
cycle_ends = st.sampled_from([(0.25, 0.5, 1.0), (100, 200, 400), (0.5, 1), (400,), (200, 1.0)])


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """A valid schedule of any class but those read from files, for a run of ``STEPS`` steps."""
    common = draw(warmed())
    peak = common["peak"]
    floor = {"floor": peak * draw(shares)}
    kind = draw(st.sampled_from([Constant, Cosine, Linear, WSD, WSDS, TwoStage, MultiStep, Cyclic, InverseSqrt]))
    other = draw(st.sampled_from([kind, kind, Piecewise, Array]))
    if other is Piecewise:
        places = draw(st.sampled_from([(0, 30, 0.5, 1), (0.1,), (2, 399), (0.25, 0.75, 400)]))
        points = tuple((draw(rates), place) for place in places)
        return Piecewise(points=points, warmup=common["warmup"])
    if other is Array:
        values = draw(st.lists(st.one_of(rates, st.just(3e-4)), min_size=4, max_size=4))
        return Array(values=values * (STEPS // 4), warmup=draw(st.integers(0, STEPS)))
    if kind is WSD:
        decay = draw(st.one_of(st.integers(2, 300), st.floats(0.01, 0.8)))
        return WSD(**common, decay=decay, **draw(shaped(peak)))
    if kind is WSDS:
        of = draw(st.sampled_from(["elapsed", "cycle"]))
        return WSDS(**common, cycles=draw(cycle_ends), decay=draw(st.floats(0.01, 0.35)), of=of, **draw(shaped(peak)))
    if kind is TwoStage:
        return TwoStage(**common, at=draw(st.one_of(st.integers(60, 399), st.floats(0.2, 0.99))), then=floor["floor"])
    if kind is MultiStep:
        levels = tuple(peak * draw(shares) for _ in range(3))
        return MultiStep(
            **common, at=draw(st.sampled_from([(0.2, 0.5, 0.9), (70, 80, 300), (0.3, 200, 300)])), levels=levels
        )
    if kind is Cyclic:
        return Cyclic(**common, cycles=draw(cycle_ends), **floor)
    if kind is InverseSqrt:
        return InverseSqrt(**common, timescale=draw(st.one_of(st.integers(2, 9000), st.floats(0.01, 1.0))), **floor)
    return kind(**common, **({} if kind is Constant else floor))


def test_every_entry_has_an_example_and_its_own_name() -> None:
    assert set(EXAMPLES) == set(SCHEDULES)
    assert {name: kind.name for name, kind in SCHEDULES.items()} == {name: name for name in SCHEDULES}


@pytest.mark.parametrize("name", SCHEDULES)
def test_contract(name: str) -> None:
    check_schedule(parse(EXAMPLES[name]))


@settings(max_examples=300, deadline=None)
@given(schedules())
def test_contract_of_random_schedules(schedule: Schedule) -> None:
    check_schedule(schedule, steps=STEPS)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "array"])
def test_million_steps(name: str) -> None:
    spec = EXAMPLES[name].replace("250;500;1000", "250000;500000;1000000")
    rates = parse(spec).rates(1_000_000)
    assert rates.shape == (1_000_000,)
    assert rates.max() == parse(spec).peak


def test_pickle_between_processes_keeps_the_spec() -> None:
    schedule = parse(EXAMPLES["wsd-s"])
    code = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", code, pickle.dumps(schedule).hex()], capture_output=True, text=True)
    assert done.stdout.strip() == str(schedule)


def test_import_needs_neither_torch_nor_matplotlib_nor_scipy() -> None:
    code = (
        "import sys, thalweg.schedules as s; s.parse('cosine:peak=1').rates(9); "
        "print([m for m in ('torch', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken(WarmedSchedule):
    """A schedule whose fault is chosen by its name."""

    name: ClassVar[str] = "broken"
    fault: str

    def _body(self, start: int, steps: int) -> np.ndarray:
        faults = {
            "shape": np.ones(steps + 1),
            "type": np.ones(steps, np.float32),
            "nan": np.full(steps, np.nan),
            "above": np.full(steps, 2.0),
            "below": np.full(steps, -1.0),
        }
        return faults.get(self.fault, np.ones(steps))

    def rates(self, steps: int) -> np.ndarray:
        return self._body(0, steps)

    def _plan(self, start: int, steps: int) -> list[Phase]:
        return [Phase("stable", start, steps - (self.fault == "phases"))]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("shape", "has shape"),
        ("type", "float32"),
        ("nan", "finite"),
        ("above", "above peak"),
        ("below", "below 0"),
        ("phases", "phases end"),
        ("steps", r"rates\(0\) must raise"),
    ],
)
def test_check_schedule_finds_the_fault(fault: str, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_schedule(Broken(peak=1.0, fault=fault))


class Thawed(Constant):
    """A subclass that gives the same array at every call."""

    def rates(self, steps: int) -> np.ndarray:
        return KEPT


KEPT = np.full(1000, 1.0)


def test_check_schedule_finds_a_kept_array() -> None:
    with pytest.raises(AssertionError, match="fresh"):
        check_schedule(Thawed(peak=1.0))


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Soft(Schedule):
    """A schedule whose peak can be set."""

    name: ClassVar[str] = "soft"
    peak: float


def test_check_schedule_finds_what_is_not_frozen() -> None:
    with pytest.raises(AssertionError, match="frozen"):
        check_schedule(Soft(peak=1.0))
