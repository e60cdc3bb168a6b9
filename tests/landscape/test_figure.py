"""What the pictures of measurements say: lines, bars, edges, axes and captions."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.landscape import Measurement, plot_measurements, stability_edge

GRID = np.linspace(-1, 5, 50)


def number(name, value, error=0.1, kind="standard error"):
    return Measurement(name, value, error, kind)


def point(top, density=False):
    found = {"loss": number("loss", 2.0, 0.0, "exact")}
    found["lambda_max:2"] = number("lambda_max", top[0], top[1], "residual")
    if density:
        curve = np.exp(-(GRID**2))
        found["density"] = Measurement("density", curve, 0.1 * curve, "standard error", extra={"grid": GRID})
    return found


TOPS = [(np.array([5.0, 3.0]), np.array([0.5, 0.2])), (np.array([6.0, 2.0]), np.array([0.1, 0.3]))]
RATES = np.array([0.1, 0.1, 0.05, 0.02])


def caption(figure):
    return figure.get_supxlabel()


def test_the_top_eigenvalues_along_a_run_with_bars_and_their_edge():
    edges = {"a": stability_edge(RATES, {"name": "sgd", "momentum": 0.5})}
    figure = plot_measurements([("a", 4, point(TOPS[1])), ("a", 2, point(TOPS[0]))], edges, unit="nats/token")
    loss, top = figure.axes
    assert loss.get_ylabel() == "loss (nats/token)"
    assert top.get_yscale() == "log"
    assert [container.lines[0].get_xydata().tolist() for container in top.containers] == [
        [[2, 5.0], [4, 6.0]],
        [[2, 3.0], [4, 2.0]],
    ]
    bars = top.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[4.5, 5.5], [5.9, 6.1]])
    (dashed,) = [line for line in top.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed.get_xydata(), [[2, 30], [3, 60], [4, 150]])
    assert "Bars of lambda_max:2: residual." in caption(figure)
    assert "edge of stability" in caption(figure)


def test_of_another_optimizer_the_caption_says_whose_edge_it_is():
    edges = {"a": stability_edge(RATES, {"name": "adamw"})}
    figure = plot_measurements([("a", 1, point(TOPS[0])), ("a", 3, point(TOPS[1]))], edges)
    assert "not of the optimizer that trained" in caption(figure)


def test_two_runs_are_two_lines_with_names():
    points = [("a", 1, point(TOPS[0])), ("b", 1, point(TOPS[1])), ("a", 2, point(TOPS[1])), ("b", 2, point(TOPS[0]))]
    edges = {label: stability_edge(RATES, {"name": "sgd", "momentum": 0.0}) for label in "ab"}
    loss, top = plot_measurements(points, edges).axes
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["a", "b"]
    assert [text.get_text() for text in top.get_legend().get_texts()][-4:] == ["a λ1", "a λ2", "b λ1", "b λ2"]
    assert len([line for line in top.lines if line.get_linestyle() == "--"]) == 1  # both runs have the same


def test_checkpoints_without_steps_stand_by_name():
    top = plot_measurements([("one", None, point(TOPS[0])), ("two", None, point(TOPS[1]))]).axes[1]
    assert [text.get_text() for text in top.get_xticklabels()] == ["one", "two"]
    assert top.get_xlabel() == "checkpoint"


def test_one_spectrum_with_its_eigenvalues_marked():
    figure = plot_measurements([("a", 4, point(TOPS[0], density=True))])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a, 4 updates"]
    assert axes.lines[1].get_xdata().tolist() == [5.0, 3.0]
    assert "Triangles" in caption(figure)


def test_many_spectra_are_told_apart_by_a_colour_bar():
    figure = plot_measurements([("a", step, point(TOPS[0], density=True)) for step in range(1, 10)])
    assert figure.axes[-1].get_ylabel() == "finished updates"
    assert figure.axes[0].get_legend() is None


def test_nothing_to_draw():
    with pytest.raises(InputError, match="nothing that was measured can be drawn"):
        plot_measurements([])
