"""The designer without a script, on a phone, twice at once, read aloud, and what is taken away from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from designer_client import WSD, example_law
from designer_page import final, schedule_of, settled


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
