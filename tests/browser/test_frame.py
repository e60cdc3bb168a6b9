"""What all pages share: navigation, refusals, and that nothing is loaded from outside."""

from __future__ import annotations


def test_a_missing_page_says_so_and_leads_on(serve, open_page):
    page = open_page(f"{serve().address}/nowhere", allow=("404",))
    assert page.get_by_role("alert").inner_text() == "there is no page /nowhere"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert [link.inner_text() for link in page.locator("nav a").all()] == ["Atlas", "Runs", "Designer", "Planner"]
