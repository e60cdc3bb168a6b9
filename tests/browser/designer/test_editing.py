"""Editing in a real browser: points by mouse and keys, parameters, text, the optimum, and back again."""

from __future__ import annotations

import re

import pytest

from designer_client import POINTS, WSD, example_law
from designer_page import changed, final, schedule_of, settled
from thalweg.schedules import parse


def test_a_point_is_dragged_and_the_prediction_follows(bench):
    page = bench()
    before = final(page)
    box = page.locator("#wide-1").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for k in range(1, 11):
        page.mouse.move(x - 20 * k, y + 4 * k)
    changed(page, before)
    assert "schedule=piecewise:points=2e-3@100" in page.url  # nothing is pushed while it is held
    page.mouse.up()
    page.wait_for_function("url => location.href != url", arg=page.url)
    schedule = schedule_of(page)
    (_, at), (rate, _) = schedule.points[1], schedule.points[1]
    assert 2000 < at < 3000
    assert 1e-3 < rate < 1.9e-3
    expected = example_law().final_loss(schedule, 5000)
    page.wait_for_function(
        "loss => document.querySelector('#headline .big').textContent == loss", arg=f"{expected:.4f}"
    )
    assert page.locator("input[name='e.at']").nth(1).input_value() == str(at)
    page.go_back()
    page.wait_for_function("loss => document.querySelector('#headline .big').textContent == loss", arg=f"{before:.4f}")
    assert page.locator("input[name='e.at']").nth(1).input_value() == "4000"


def test_a_point_is_moved_added_and_removed_by_keys(bench):
    page = bench()
    handle = page.locator("#wide-1")
    handle.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowLeft")
    settled(page, "0.00198@3900")
    assert page.evaluate("document.activeElement.id") == "wide-1"
    assert page.locator("#wide-1").get_attribute("aria-valuetext").startswith("step 3,900, learning rate 1.98e")
    page.keyboard.press("+")
    settled(page, "@4450")
    assert page.locator("#picture .wide .handle").count() == 4
    page.keyboard.press("Delete")
    page.wait_for_function("() => document.querySelectorAll('#picture .wide .handle').length == 3")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "wide-2"


def test_the_table_is_edited_by_keys(bench):
    page = bench()
    page.get_by_label("Learning rate of point 2").fill("1e-")
    page.get_by_label("Learning rate of point 2").fill("1e-3")
    page.keyboard.press("Tab")
    settled(page, "0.001@4000")
    assert page.evaluate("document.activeElement.id") == "add-2"
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('input[name=\"e.at\"]').length == 4")
    assert page.evaluate("document.activeElement.id") == "add-2"
    page.get_by_label("Steps of the run").fill("10000")
    page.keyboard.press("Enter")
    settled(page, "steps=10000")
    assert schedule_of(page).points[-1][1] == 10000
    page.go_back()
    page.wait_for_function("() => document.querySelector('#e-steps').value == '5000'")
    assert page.get_by_role("alert").count() == 0


def test_a_double_click_adds_a_point(bench):
    page = bench()
    box = page.locator("#picture .wide .pad").bounding_box()
    page.mouse.dblclick(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    page.wait_for_function("() => document.querySelectorAll('#picture .wide .handle').length == 4")
    settled(page, "@2000")
    rate, at = schedule_of(page).points[1]
    assert abs(at - 2000) < 20
    assert rate == pytest.approx(1.25e-3, rel=0.02)  # half of the axis, which ends a quarter above the peak


def test_a_parameter_is_changed_by_number_slider_and_family(bench):
    page = bench(WSD, panel="form")
    before = final(page)
    page.get_by_label("decay fraction").first.fill("0.4")
    changed(page, before)
    page.keyboard.press("Enter")
    settled(page, "decay=0.4")
    slider = page.locator("#e-decay-slider")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => document.querySelector('#e-decay').value != '0.4'")
    page.select_option("#e-shape", "power")
    settled(page, "power=2")
    assert page.locator("#e-power").input_value() == "2"
    page.select_option("#e-family", "cosine")
    settled(page, "schedule=cosine:")
    assert page.locator("#e-shape").count() == 0


def test_what_is_typed_wrong_is_said_and_stays(bench):
    page = bench(panel="text")
    page.locator("textarea").fill("wsb:peak=1")
    page.locator("textarea").press("Tab")
    page.get_by_role("alert").wait_for()
    assert "schedule 'wsb' is not known" in page.get_by_role("alert").inner_text()
    assert page.locator("textarea").input_value() == "wsb:peak=1"
    assert schedule_of(page) == parse(POINTS)
    page.locator("textarea").fill("linear:peak=2e-3,warmup=100")
    page.locator("textarea").press("Tab")
    settled(page, "schedule=linear:")
    assert page.get_by_role("alert").count() == 0


def test_the_optimum_is_found_under_constraints_and_taken_over(bench):
    page = bench(panel="optimum")
    page.get_by_label("Decay at most").fill("0.1")
    page.get_by_label("Floor").fill("4e-4")
    page.keyboard.press("Enter")
    settled(page, "decay=0.1")
    page.wait_for_selector("#panel .said a[href*='floor=0.0004'][href*='decay=0.1']")
    promised = float(re.search(r"ends at ([\d.]+)", page.locator("#panel .said").inner_text())[1])
    page.get_by_role("link", name="Take it over as points").click()
    settled(page, "schedule=piecewise:")
    page.wait_for_function("() => document.querySelector('#panel').dataset.panel == 'points'")
    rates = schedule_of(page).rates(5000)
    assert abs(final(page) - promised) < 1e-3
    assert rates[100:4500].min() == rates[100:4500].max()
    assert rates[100:].min() >= 3.9e-4
