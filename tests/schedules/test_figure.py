"""The picture: what is drawn is what the schedules say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.schedules import Array, parse, plot

WSD = parse("wsd:peak=3e-4,warmup=0.1,decay=0.2")
TWO = parse("two-stage:peak=3e-4,at=0.5,then=1e-4")


def test_one_schedule_is_drawn_with_units_and_phases(tmp_path: Path) -> None:
    figure = plot(WSD, 1000)
    top, bottom = figure.axes
    (line,) = top.lines
    np.testing.assert_array_equal(line.get_ydata(), WSD.rates(1000))
    assert "optimizer step" in bottom.get_xlabel()
    assert top.get_ylabel() == "learning rate (per optimizer step)"
    assert [text.get_text() for text in bottom.texts] == ["warmup", "stable", "decay"]
    figure.savefig(tmp_path / "schedule.png")
    assert (tmp_path / "schedule.png").stat().st_size > 5000


def test_a_long_run_keeps_both_sides_of_every_jump() -> None:
    shown = plot(TWO, 1_000_000).axes[0].lines[0]
    assert len(shown.get_xdata()) < 5000
    assert {499_999, 500_000} <= set(shown.get_xdata())


def test_several_schedules_differ_in_colour_and_dash() -> None:
    lines = plot([WSD, TWO], 1000).axes[0].lines
    assert len({line.get_color() for line in lines}) == len({line.get_linestyle() for line in lines}) == 2
    assert lines[0].get_label() == str(WSD)


def test_labels_are_given_or_cut() -> None:
    assert [line.get_label() for line in plot({"a": WSD, "b": TWO}, 100).axes[0].lines] == ["a", "b"]
    noise = Array(values=np.random.default_rng(0).random(100))
    assert len(plot(noise, 100).axes[0].lines[0].get_label()) <= 64


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="no schedule"):
        plot([], 100)
    with pytest.raises(InputError, match="at least 1"):
        plot(WSD, 0)
