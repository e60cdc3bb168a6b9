"""From curves to a law in a real browser: the example, good and bad files, pasted text, a file too large, no script."""

from __future__ import annotations

from pathlib import Path

import pytest

from designer_client import EXAMPLES

CURVES, SCHEDULES = EXAMPLES / "curves.csv", EXAMPLES / "schedules.toml"


@pytest.mark.parametrize("script", [True, False])
def test_the_example_is_one_click_away(address, open_page, script):
    page = open_page(f"{address}/designer", java_script_enabled=script)
    page.get_by_role("button", name="Try the example").click()
    page.wait_for_url("**/designer?law=*")
    assert page.locator("#headline .big").inner_text().startswith("1.4")
    assert page.get_by_role("row").filter(has_text="optimum").count() == 1


def test_own_files_by_keyboard(address, open_page):
    page = open_page(f"{address}/designer")
    page.locator("input[name=curves][type=file]").set_input_files(CURVES)
    page.locator("input[name=schedules][type=file]").set_input_files(SCHEDULES)
    page.get_by_role("button", name="Read the curves").press("Enter")
    page.wait_for_url("**/designer/curves?curves=*")
    page.get_by_label("pilot-cosine").press("Space")
    page.get_by_label("Law").select_option("momentum")
    page.get_by_role("button", name="Fit the law").press("Enter")
    page.wait_for_url("**/designer?law=*")
    page.get_by_role("link", name="Law", exact=True).press("Enter")
    page.locator("#panel dl").wait_for()
    assert page.locator("#panel").get_by_text("not fitted").count() == 1
    with page.expect_download() as download:
        page.get_by_role("link", name="Download law.json").click()
    assert '"law": "momentum"' in Path(download.value.path()).read_text()


def test_a_bad_file_is_said_and_nothing_is_lost(address, open_page, tmp_path):
    bad = tmp_path / "mine.csv"
    bad.write_text("step,loss,lr\n0,3,1e-3\n1,oops,1e-3\n")
    page = open_page(f"{address}/designer", allow=("400",))
    page.get_by_text("Or paste the text").click()
    page.get_by_label("Schedules: one line a curve").fill("mine = 3")
    page.locator("input[name=curves][type=file]").set_input_files(bad)
    page.get_by_role("button", name="Read the curves").click()
    assert page.get_by_role("alert").first.inner_text() == "mine.csv line 3: loss is 'oops', which is no number"
    assert page.get_by_label("Schedules: one line a curve").input_value() == "mine = 3"
    page.get_by_label("Curves: the columns").fill(CURVES.read_text())
    page.get_by_label("Schedules: one line a curve").fill(SCHEDULES.read_text())
    page.get_by_role("button", name="Read the curves").click()
    assert page.get_by_role("heading", level=1).inner_text() == "3 curves from pasted.csv"


def test_a_gigabyte_is_refused_before_it_is_sent(address, open_page, tmp_path):
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(2**30)
    page = open_page(f"{address}/designer")
    page.get_by_text("Or paste the text").click()
    page.get_by_label("Schedules: one line a curve").fill("typed")
    page.locator("input[name=curves][type=file]").set_input_files(large)
    page.get_by_role("button", name="Read the curves").click()
    said = page.locator("#upload [data-said]")
    said.wait_for()
    assert "The files have 1024 MiB together; the server takes 64 MiB" in said.inner_text()
    assert page.url == f"{address}/designer"
    assert page.get_by_label("Schedules: one line a curve").input_value() == "typed"


def test_a_law_that_is_gone_says_what_to_do(address, open_page):
    page = open_page(f"{address}/designer?law={'0' * 32}&steps=100", allow=("400",))
    assert "fit it again or upload its law.json" in page.get_by_role("alert").inner_text()
