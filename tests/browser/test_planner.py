"""The planner in a real browser: by click and keyboard, without JavaScript, on a phone, with files that are no law."""

from __future__ import annotations

import pytest

from thalweg.laws import ChinchillaSize
from thalweg.laws.budget import Budget, plan_run

LOSS = ".facts .first b"


@pytest.fixture
def law(tmp_path):
    path = tmp_path / "law.json"
    ChinchillaSize(1.5, 300.0, 0.33, 900.0, 0.3).save(path)
    return path


def wanted(flops, **arguments):
    return f"{plan_run(Budget.of(flops=flops), **arguments).loss.value:.3f} nats/token"


def holds(page, selector, words):
    from playwright.sync_api import expect  # not at the top: the package is an extra

    expect(page.locator(selector)).to_contain_text(words)


def test_the_answer_follows_the_form_and_the_address_keeps_it(serve, open_page):
    page = open_page(f"{serve().address}/planner", allow=("400",))
    assert page.locator(LOSS).inner_text() == wanted(1e20)
    page.get_by_label("Amount").fill("3e21")
    holds(page, LOSS, wanted(3e21))
    page.wait_for_url("**amount=3e21**")
    page.get_by_role("textbox", name="Unique tokens").fill("2B")
    said = wanted(3e21, unique=2e9)
    holds(page, LOSS, said)
    assert page.get_by_role("heading", name="Epochs over the data at hand").is_visible()
    page.reload()
    assert page.locator(LOSS).inner_text() == said
    assert page.get_by_role("textbox", name="Unique tokens").input_value() == "2B"
    page.get_by_label("Amount").fill("3e")
    page.get_by_role("alert").wait_for()
    assert "give a number" in page.get_by_role("alert").inner_text()


def test_by_keyboard(serve, open_page):
    page = open_page(f"{serve().address}/planner")
    page.get_by_label("Amount").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("50")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "unit"
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**unit=hours**")
    holds(page, "#plan", "NVIDIA H100")
    for name in ("gpu", "mfu", "price", "unique", "epochs", "context"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == name
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "params"
    page.keyboard.type("1B")
    page.wait_for_url("**params=1B**")
    page.keyboard.press("Enter")
    holds(page, "#plan", "best at these FLOPs")


def test_without_javascript(serve, open_page, law):
    page = open_page(f"{serve().address}/planner", java_script_enabled=False)
    page.get_by_label("Amount").fill("2e20")
    page.get_by_role("button", name="Plan").click()
    assert "amount=2e20" in page.url
    assert page.locator(LOSS).inner_text() == wanted(2e20)
    page.get_by_label("Use an own law").set_input_files(str(law))
    page.get_by_role("button", name="Use it").click()
    assert "law=" in page.url
    assert page.locator(".kept").inner_text() == "own law of size and data (law.json) remove"
    page.get_by_role("button", name="Plan").click()
    assert "law=" in page.url
    assert "amount=2e20" in page.url
    page.get_by_role("link", name="remove").click()
    assert page.get_by_text("published laws alone").is_visible()


def test_a_bad_file_is_said_and_a_good_one_works_after_it(serve, open_page, law, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"law": \n oops}')
    page = open_page(f"{serve().address}/planner?amount=7e19", allow=("400",))
    page.get_by_label("Use an own law").set_input_files(str(bad))
    page.get_by_role("button", name="Use it").click()
    assert "line 2, column 2" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Amount").input_value() == "7e19"
    page.get_by_label("Use an own law").set_input_files(str(law))
    page.get_by_role("button", name="Use it").click()
    page.wait_for_url("**/planner?amount=7e19&law=*")
    page.get_by_label("Amount").fill("8e19")
    page.wait_for_url("**amount=8e19**law=**")
    assert page.get_by_role("link", name="remove").is_visible()


def test_the_recipe_is_downloaded(serve, open_page):
    page = open_page(f"{serve().address}/planner?amount=1e19")
    with page.expect_download() as download:
        page.get_by_role("link", name="Recipe lines").click()
    assert "schedule = " in download.value.path().read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(serve, open_page, scheme):
    address = f"{serve().address}/planner?amount=100&unit=hours&unique=2B&price=2.5"
    page = open_page(address, viewport={"width": 400, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator(".chart.narrow").first.is_visible()
    assert not page.locator(".chart.wide").first.is_visible()
