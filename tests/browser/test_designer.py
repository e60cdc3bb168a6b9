"""The designer in a real browser: by mouse, by keys, without script, on a phone, twice at once, and back again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import httpx
import pytest

from designer_client import example_law
from thalweg.schedules import parse

WSD = "wsd:peak=2e-3,warmup=100,decay=0.2,floor=2e-4"
POINTS = "piecewise:points=2e-3@100;2e-3@4000;2e-4@5000,warmup=100"


@pytest.fixture(scope="module")
def law_file(tmp_path_factory):
    return example_law().save(tmp_path_factory.mktemp("law") / "law.json")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of one server for all tests, which share nothing else."""
    command = [sys.executable, "-m", "thalweg", "web", str(tmp_path_factory.mktemp("runs")), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().split()[0].rstrip("/")
        process.terminate()


@pytest.fixture(scope="module")
def law(address, law_file):
    """The name of the example's law, uploaded."""
    origin = {"origin": address}
    answer = httpx.post(f"{address}/designer/law", files={"law": law_file.read_bytes()}, headers=origin)
    return parse_qs(urlparse(answer.headers["location"]).query)["law"][0]


@pytest.fixture
def bench(address, law, open_page):
    """``bench(schedule, **context)`` opens the designer with the example's law and a schedule."""

    def start(schedule: str = POINTS, *, panel: str = "points", **context):
        query = f"law={law}&steps=5000&warmup=100&peak=0.002&floor=0.0002&panel={panel}&schedule={schedule}"
        return open_page(f"{address}/designer?{query}", **context)

    return start


def schedule_of(page):
    return parse(parse_qs(urlparse(page.url).query)["schedule"][0])


def final(page) -> float:
    return float(page.locator("#headline .big").inner_text())


def changed(page, before: float) -> None:
    """Waits until another final loss is shown."""
    page.wait_for_function("old => document.querySelector('#headline .big').textContent != old", arg=f"{before:.4f}")


def settled(page, words: str) -> None:
    """Waits until the address holds ``words``."""
    page.wait_for_function("words => decodeURIComponent(location.search).includes(words)", arg=words)


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


def test_exports(bench):
    page = bench(WSD, panel="export")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV of every step").click()
    text = Path(download.value.path()).read_text()
    assert text.count("\n") == 5001
    assert text.startswith("step,lr\n0,2e-05\n")
    for key in ("spec", "torch", "plain", "trainer", "recipe"):
        assert page.locator(f"#snippet-{key}").inner_text()


def test_two_pages_do_not_disturb_each_other(bench):
    one, two = bench(), bench(WSD, panel="form")
    one.locator("#wide-1").focus()
    one.keyboard.press("Shift+ArrowDown")
    settled(one, "0.0018@4000")
    two.get_by_label("decay fraction").first.fill("0.5")
    two.keyboard.press("Enter")
    settled(two, "decay=0.5")
    assert schedule_of(one).name == "piecewise"
    one.keyboard.press("Shift+ArrowDown")
    settled(one, "0.0016@4000")
    assert abs(final(two) - example_law().final_loss(schedule_of(two), 5000)) < 1e-4


def test_without_script_every_way_of_editing_works(bench):
    page = bench(java_script_enabled=False)
    page.get_by_label("Step of point 2").fill("3000")
    page.locator("#points").get_by_role("button", name="Show").click()
    assert schedule_of(page).points[1] == (2e-3, 3000)
    page.get_by_role("button", name="Add a point after point 2").click()
    assert len(schedule_of(page).points) == 4
    page.get_by_role("button", name="Remove point 3").click()
    page.get_by_role("link", name="Parameters").click()
    page.get_by_label("Family").select_option("wsd")
    page.get_by_role("button", name="Choose").click()
    page.locator("#e-decay").fill("0.35")
    page.locator("#form").get_by_role("button", name="Show").click()
    assert schedule_of(page).decay == 0.35
    page.get_by_label("Steps of the run").fill("8000")
    page.locator("#run").get_by_role("button", name="Show").click()
    assert "steps=8000" in page.url
    page.get_by_role("link", name="Optimum", exact=True).click()
    page.get_by_label("Decay at most").fill("0.1")
    page.get_by_role("button", name="Find the optimum").click()
    page.get_by_role("link", name="Take it over as points").click()
    assert schedule_of(page).name == "piecewise"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screen_readers_find_their_way(bench, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for panel in ("points", "form", "optimum", "export"):
        page = bench(WSD, panel=panel, bypass_csp=True, color_scheme=scheme)
        found = axe.run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_and_a_finger_drags(bench, scheme):
    page = bench(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme=scheme)
    for panel in ("points", "form", "text", "optimum", "export", "law"):
        page.goto(re.sub("panel=[a-z]+", f"panel={panel}", page.url))
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, (panel, wide)
    page.goto(page.url.replace("panel=law", "panel=points"))
    handle = page.locator("#narrow-1")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    url = page.url
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for k in range(1, 9):
        point = {"x": x - 8 * k, "y": y + 3 * k}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function("url => location.href != url", arg=url)
    assert schedule_of(page).points[1][1] < 3500
