"""Tables, JSON and progress: plain where nobody watches, coloured where somebody does."""

from __future__ import annotations

import json
import math
import re
import signal
import sys

import numpy as np
import pytest
import torch

from thalweg.cli import progress
from thalweg.cli.output import emit, plain, table
from thalweg.cli.progress import Bar, duration, flag_on_interrupt


def test_plain_values():
    value = {"a": np.float64(0.1), 2: (math.nan, np.array([1, 2]), torch.tensor(3)), "c": [math.inf, None, True, {1}]}
    assert plain(value) == {"a": 0.1, "2": [None, [1, 2], 3], "c": [None, None, True, "{1}"]}


def test_numbers_are_not_rounded(capsys):
    emit("x", {"value": 0.1 + 0.2})
    assert json.loads(capsys.readouterr().out)["result"]["value"] == 0.1 + 0.2


def test_a_table_for_a_pipe(capsys):
    table(("name", "n"), [("a long one", 1), ("b", 22)], title="title")
    assert capsys.readouterr().out == "title\nname        n\na long one  1\nb           22\n"
    table(("name",), [])
    assert capsys.readouterr().out == "name\n"


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_on_a_terminal_unless_it_is_refused(capsys, monkeypatch, no_color):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR") if not no_color else None
    table(("name",), [("a",)])
    with Bar("train", 2) as bar:
        bar.update(2, 1.0)
    out, err = capsys.readouterr()
    assert ("\x1b" in out, "\x1b" in err) == (not no_color, not no_color)
    assert "a" in out


def test_a_plain_line_every_ten_seconds_and_at_the_end(capsys, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with Bar("train", 1000) as bar:
        for done in range(1, 1001):
            clock[0] += 0.0625
            bar.update(done, 2.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7  # 62.5 seconds: after 10, 20, … 60 and at the end
    assert lines[0] == "train: 160/1000, 16.0/s, 0:52 left, loss 2.000"
    assert lines[-1].startswith("train: 1000/1000, 16.0/s, 0:00 left")


def test_a_resumed_bar_counts_the_rate_from_where_it_began(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with Bar("train", 1000) as bar:
        bar.update(900)
        clock[0] = 10.0
        bar.update(950, math.nan)
    assert capsys.readouterr().err == "train: 950/1000, 5.0/s, 0:10 left\n"


def test_durations():
    assert [duration(s) for s in (0, 59.6, 61, 3600, 36061)] == ["0:00", "1:00", "1:01", "1:00:00", "10:01:01"]


def test_the_first_signal_is_a_flag_and_the_second_an_interrupt(capfd):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def twice() -> None:
        with flag_on_interrupt() as stop:
            assert not stop()
            signal.raise_signal(signal.SIGTERM)
            assert stop()
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert re.search("once more stops at once", capfd.readouterr().err)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
