"""The atlas in a browser: filters, a study's page, and the published atlas."""

from __future__ import annotations

from outcome_folders import make_outcome
from thalweg.studies import STUDIES
from thalweg.web.atlas import write_atlas

PHONE = {"viewport": {"width": 390, "height": 800}}


def shown(page) -> int:
    return page.locator(".cards > li:visible").count()


def sideways(page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_filters_by_click_and_keyboard(serve, open_page):
    page = open_page(serve().address + "/")
    assert shown(page) == len(STUDIES)
    page.get_by_text("not reproduced", exact=False).locator("visible=true").first.wait_for()
    page.locator("label[for=topic-data]").click()
    page.wait_for_url("**/?topic=data")
    some = shown(page)
    assert 0 < some < len(STUDIES)
    assert page.locator("#topic-data-count").inner_text() == str(some)
    page.locator("#topic-data").press("ArrowRight")  # as radio buttons do
    page.wait_for_url("**/?topic=architectures")
    page.locator("#word").focus()
    page.keyboard.type("gate")
    page.wait_for_url("**/?topic=architectures&word=gate")
    assert page.locator("#word").evaluate("field => field === document.activeElement")
    assert page.locator("#shown").inner_text().startswith(f"{shown(page)} of {len(STUDIES)}")
    again = open_page(page.url)  # the address holds the state
    assert shown(again) == shown(page)
    assert again.locator("#word").input_value() == "gate"
    page.get_by_role("link", name="show all").click()
    page.wait_for_url("**/")
    assert shown(page) == len(STUDIES)


def test_without_javascript_on_a_phone(serve, open_page):
    server = serve()
    make_outcome(server.root)
    page = open_page(server.address + "/", java_script_enabled=False, **PHONE)
    page.locator("label[for=verdict-inconclusive]").click()
    page.locator("#word").fill("momentum")
    page.get_by_role("button", name="Show").click()
    assert "verdict=inconclusive" in page.url
    page.get_by_role("link", name="The marginal value of momentum").click()
    assert page.url.endswith("/studies/momentum")
    for address in ("/", "/studies/momentum", "/studies/sam", "/studies/sam/outcomes/sam-laptop"):
        page.goto(server.address + address)
        box = page.locator("body").bounding_box()
        assert box is not None
        assert box["width"] <= 390
        assert sideways(page) <= 0, address


def test_a_server_that_only_reads_offers_no_start(serve, open_page):
    page = open_page(f"{serve().address}/studies/sam")
    page.get_by_text("Start it from here").click()
    assert page.get_by_role("button", name="Start", exact=True).is_disabled()
    assert "--write" in page.locator("#why-not").inner_text()


def test_the_published_atlas_filters_without_a_server(tmp_path, open_page):
    from thalweg.cli.atlas import _read

    slugs = ["sam", "momentum", "qsr", "local-sgd"]
    index = write_atlas([_read(slug) for slug in slugs], tmp_path / "atlas")
    page = open_page(index.as_uri(), java_script_enabled=False)
    assert shown(page) == 4
    page.locator("label[for=topic-batch-and-parallelism]").click()
    assert shown(page) == 2
    page.locator("#verdict-any").press("ArrowRight")
    assert shown(page) == 0  # none of both is reproduced
    page.locator("label[for=verdict-inconclusive]").click()
    assert shown(page) == 2
    assert page.locator(".plate:visible").first.evaluate("image => image.naturalWidth > 0")
    page.get_by_role("link", name="Quadratic synchronisation").first.click()
    assert page.url.endswith("studies/qsr.html")
    assert page.locator(".plate").evaluate("image => image.naturalWidth > 0")
