"""Rates given one by one: in memory, and from CSV files that may change under us."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.schedules import Array, parse
from thalweg.testing import check_schedule

RATES = np.linspace(3e-4, 1e-5, 50)


def write_csv(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return write_csv(
        tmp_path / "a, b=50%; ü.csv", "step,lr", [f"{i},{rate!r}" for i, rate in enumerate(RATES.tolist())]
    )


def test_memory_keeps_every_bit() -> None:
    schedule = Array(values=RATES, warmup=3)
    np.testing.assert_array_equal(schedule.rates(50), RATES)
    np.testing.assert_array_equal(parse(str(schedule)).rates(50), RATES)
    assert schedule.phases(50) == (("warmup", 0, 3), ("values", 3, 50))
    check_schedule(schedule, steps=50)


def test_later_changes_of_the_callers_array_do_not_matter() -> None:
    values = RATES.copy()
    schedule = Array(values=values)
    values[:] = 1.0
    np.testing.assert_array_equal(schedule.rates(50), RATES)


def test_equal_rates_are_equal_whatever_they_came_in() -> None:
    assert Array(values=RATES) == Array(values=RATES.tolist()) == Array(values=tuple(RATES))
    assert hash(Array(values=[0.0, 1])) == hash(Array(values=np.array([-0.0, 1.0])))
    assert Array(values=[1, 2]) != Array(values=[1, 3])


def test_a_file_is_named_by_path_and_hash(saved: Path) -> None:
    schedule = Array(path=str(saved))
    np.testing.assert_array_equal(schedule.rates(50), RATES)
    assert str(schedule).startswith("array:path=")
    assert f"sha256={schedule.sha256}" in str(schedule)
    assert len(str(schedule)) < 200 + len(str(saved))
    assert schedule.sha256 == Array(values=RATES).sha256
    check_schedule(schedule, steps=50)


def test_a_changed_file_is_refused(saved: Path) -> None:
    spec = str(Array(path=str(saved)))
    saved.write_text(saved.read_text().replace("0.0003", "0.0004", 1))
    with pytest.raises(InputError, match="they changed"):
        parse(spec)


def test_other_layout_of_the_same_rates_is_accepted(saved: Path) -> None:
    spec = str(Array(path=str(saved)))
    write_csv(saved, "note,lr", [f"x,{rate:.20e}" for rate in RATES])
    np.testing.assert_array_equal(parse(spec).rates(50), RATES)


def test_one_of_several_schedules_is_picked(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "many.csv", "schedule,step,rate", ["a,0,1", "a,1,2", "b,0,3"])
    schedule = Array(path=str(path), column="rate", schedule="a")
    np.testing.assert_array_equal(schedule.rates(2), [1, 2])
    assert parse(str(schedule)) == schedule
    with pytest.raises(InputError, match="several schedules; pick one"):
        Array(path=str(path), column="rate")
    with pytest.raises(InputError, match="no schedule 'c'"):
        Array(path=str(path), column="rate", schedule="c")


@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        ("step,learning_rate", ["0,1"], "no column 'lr'; known: learning_rate, step"),
        ("step,lr", ["0,1", "2,1"], "without gaps"),
        ("step,lr", ["1,1", "2,1"], "without gaps"),
        ("step,lr", ["0,1", "1,x"], "no number"),
        ("step,lr", ["0,1", "1"], "no number"),
        ("lr", ["1", "nan"], "rate nan of step 1"),
        ("lr", [], "at least one"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, header: str, rows: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Array(path=str(write_csv(tmp_path / "bad.csv", header, rows)))


def test_absent_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Array(path=str(tmp_path / "absent.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00lr")
    with pytest.raises(InputError, match="cannot be read"):
        Array(path=str(tmp_path / "binary.csv"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.ones((2, 2)), "shape"),
        (["a"], "must be numbers"),
        ([1.0, np.inf], "rate inf of step 1"),
        ([0.0, 0.0], "all rates are 0"),
        (b"123", "3 bytes"),
        ([], "neither values nor a path"),
        (np.array([]), "at least one"),
    ],
)
def test_unusable_values_are_refused(values: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Array(values=values)  # type: ignore[arg-type]


def test_a_wrong_hash_of_values_is_refused() -> None:
    with pytest.raises(InputError, match="sha256=00"):
        Array(values=[1.0], sha256="00")  # type: ignore[arg-type]
