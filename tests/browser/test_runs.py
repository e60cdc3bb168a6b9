"""The runs in a real browser: found, ticked, compared, read, zoomed; without scripts, on a phone, by the thousand."""

from __future__ import annotations

import http.client
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.runs import Run

ODD = "naïve ☃ <b>&amp; 100%2F?"
RECIPE = {"steps": 200, "batch": 4, "schedule": "constant:peak=0.1", "data": {"context": 8}}


def make(root: Path, path: str, *, steps: int = 200, floor: float = 1.0, seed: int = 0) -> Run:
    run = Run.create(root / path, RECIPE | {"seed": seed}, steps=200)
    with run.attempt() as attempt:
        for step in range(steps):
            run.log(step, loss=floor + 4 * math.exp(-step / 30), lr=0.1, seconds=0.5)
        if steps < 200:
            attempt.interrupt()
    return run


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of one server for all tests, over three runs that none of them changes."""
    folder = tmp_path_factory.mktemp("served") / "runs"
    for k, name in enumerate(["group/alpha", "group/beta", ODD]):
        make(folder, name, floor=1.0 + k, seed=k, steps=200 - 50 * k)
    command = [sys.executable, "-m", "thalweg", "web", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().split()[0].rstrip("/")
        process.terminate()


def points(page) -> dict:
    return json.loads(page.locator(".plot").get_attribute("data-points"))


def filled(field, wanted: bool = True) -> None:
    """Waits until a field holds something, or nothing."""
    from playwright.sync_api import expect  # not at the top: the package is an extra

    (expect(field).not_to_have_value if wanted else expect(field).to_have_value)("")


def test_find_tick_and_compare_by_click(address, open_page):
    page = open_page(f"{address}/runs")
    assert page.locator("tbody tr").count() == 3
    page.get_by_label("Words in name, recipe or error").fill("group")
    page.locator("tbody tr").nth(2).wait_for(state="detached")
    assert "words=group" in page.url
    for path in ("group/alpha", "group/beta"):
        page.get_by_label(f"Tick {path}").check()
    page.get_by_label("Status").select_option("interrupted")
    page.locator("tbody tr").nth(1).wait_for(state="detached")
    assert page.locator(".chosen input").is_checked()  # alpha is done, and stays ticked
    page.get_by_label("Status").select_option("")
    page.locator("tbody tr").nth(1).wait_for()
    page.get_by_role("button", name="Compare the ticked").click()
    page.get_by_role("heading", name="2 runs compared").wait_for()
    assert [line["name"] for line in points(page)["lines"]] == ["beta", "alpha"]
    assert page.locator(".differences tbody th").all_inner_texts() == ["seed"]
    page.get_by_label("Curve", exact=True).select_option("lr")
    page.locator("svg.wide[aria-label^='learning rate']").wait_for()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Recipes as TOML").click()
    assert "seed = 1" in saved.value.path().read_text()
    page.get_by_role("link", name="Runs", exact=True).last.click()
    assert page.get_by_label("Tick group/alpha").is_checked()


def test_find_tick_and_compare_by_keyboard(address, open_page):
    page = open_page(f"{address}/runs")
    page.get_by_label("Words in name, recipe or error").focus()
    page.keyboard.type("group")
    page.keyboard.press("Enter")
    page.locator("tbody tr").nth(2).wait_for(state="detached")
    for path in ("group/alpha", "group/beta"):
        page.get_by_label(f"Tick {path}").focus()
        page.keyboard.press("Space")
    page.get_by_role("button", name="Compare the ticked").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="2 runs compared").wait_for()
    page.wait_for_load_state()
    plot = page.locator(".plot")
    plot.focus()
    page.keyboard.press("Home")
    assert "optimizer step 0" in plot.locator(".readout").inner_text()
    page.keyboard.press("ArrowRight")
    assert "optimizer step 1" in plot.locator(".readout").inner_text()
    page.keyboard.press("+")
    filled(page.locator("#from"))
    assert "from=" in page.url
    assert float(page.locator("#from").input_value()) == pytest.approx(49.8, abs=0.1)
    page.locator(".plot").focus()
    page.keyboard.press("0")
    filled(page.locator("#from"), False)


def test_a_plot_is_read_dragged_and_averaged(address, open_page):
    page = open_page(f"{address}/runs/show/group/alpha")
    svg = page.locator(".plot svg.wide")
    box = svg.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    said = page.locator(".readout").inner_text()
    step = int(said.split("optimizer step ")[1].split()[0])
    assert 90 < step < 105
    assert f"{1 + 4 * math.exp(-step / 30):.4g}"[:4] in said
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 100, steps=4)
    assert page.locator(".drag").count() == 1
    page.mouse.up()
    filled(page.locator("#to"))
    low, high = (float(page.locator(name).input_value()) for name in ("#from", "#to"))
    assert 90 < low < 105 < 150 < high < 165
    page.get_by_label("Average over").focus()
    page.get_by_label("Average over").select_option("30")
    page.locator(".plot .smooth").first.wait_for(state="attached")
    assert "smooth=30" in page.url
    assert page.evaluate("document.activeElement.id") == "smooth"  # the focus stays
    page.reload()
    assert float(page.locator("#from").input_value()) == low


def test_what_is_wrong_is_said_and_the_plot_stays(address, open_page):
    page = open_page(f"{address}/runs/show/group/alpha", allow=("400",))
    page.locator("#from").fill("nonsense")
    page.get_by_role("button", name="Show").click()
    assert "no finite number" in page.locator(".refused").inner_text()
    assert page.locator(".plot svg.wide").is_visible()
    page.locator("#from").fill("10")
    page.get_by_role("button", name="Show").click()
    page.locator(".refused").wait_for(state="detached")


def test_an_odd_name_is_text_and_leads_to_its_run(address, open_page):
    page = open_page(f"{address}/runs")
    page.get_by_role("link", name=ODD).click()
    assert page.get_by_role("heading", level=1).inner_text() == ODD
    page.get_by_role("button", name="Zoom in").click()
    filled(page.locator("#from"))
    page.locator(".multiples a").first.click()
    page.wait_for_url("**metric=**")


def test_without_scripts_every_action_is_a_form_or_a_link(address, open_page):
    page = open_page(f"{address}/runs", java_script_enabled=False)
    page.get_by_label("Words in name, recipe or error").fill("group")
    page.get_by_role("button", name="Show").click()
    assert page.locator("tbody tr").count() == 2
    for path in ("group/alpha", "group/beta"):
        page.get_by_label(f"Tick {path}").check()
    page.get_by_role("button", name="Compare the ticked").click()
    assert page.get_by_role("heading", level=1).inner_text() == "2 runs compared"
    page.get_by_label("log up").check()
    page.get_by_role("button", name="Zoom in").click()
    assert "logy=1" in page.url
    assert float(page.locator("#from").input_value()) > 0
    page.get_by_text("The same as a table").click()
    assert page.locator(".numbers tbody tr").count() > 10
    page.locator(".ends a").first.click()
    assert page.get_by_role("heading", level=1).inner_text() in ("alpha", "beta")
    assert page.locator("[data-copy]").is_hidden()


def faults(page) -> list[str]:
    """Broken rules of accessibility."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {fault['nodes'][0]['html'][:120]}" for fault in found]


def test_on_a_phone_nothing_is_wider_than_the_page(address, open_page):
    for path in ("/runs", "/runs/show/group/alpha", "/runs/compare?run=group/alpha&run=group/beta"):
        page = open_page(f"{address}{path}", viewport={"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert not faults(page)
        if "show" in path:
            assert page.locator("svg.narrow").is_visible()
            assert page.locator("svg.wide").is_hidden()


def test_a_thousand_runs_are_leafed_through(serve, open_page, tmp_path):
    root = tmp_path / "many"
    for k in range(1000):
        folder = root / f"run-{k:04d}"
        folder.mkdir(parents=True)
        head = {"format": "thalweg-run", "version": 1, "name": folder.name, "created": f"2026-01-01T00:00:00.{k:04d}"}
        (folder / "run.json").write_text(json.dumps(head | {"steps": 3, "status": "done", "attempts": 1}))
        (folder / "recipe.toml").write_text(f"seed = {k}\n")
        (folder / "log.jsonl").write_text("".join(f'{{"attempt":1,"step":{s},"loss":{k + s}}}\n' for s in range(3)))
    page = open_page(f"{serve(root=root).address}/runs")
    assert "1\N{EN DASH}50 of 1,000" in page.locator("#listed [role=status]").inner_text()
    assert page.locator("tbody th a").first.inner_text() == "run-0999"
    page.get_by_label("Tick run-0999").check()
    page.get_by_role("button", name="Page 20").click()
    page.get_by_text("951\N{EN DASH}1,000 of 1,000").wait_for()
    assert page.locator("tbody th a").last.inner_text() == "run-0000"
    page.get_by_label("Order").select_option("loss")
    page.get_by_label("Words in name, recipe or error").fill("run-05")
    page.get_by_text("51\N{EN DASH}100 of 100 that match").or_(page.get_by_text("1\N{EN DASH}50 of 100")).wait_for()
    page.get_by_role("button", name="Compare the ticked").click()
    assert page.get_by_role("heading", level=1).inner_text() == "1 run compared"


@pytest.mark.parametrize(
    "path", ["/runs/show/../../etc/passwd", "/runs/show/%2e%2e/%2e%2e/etc", "/runs/live?run=../.."]
)
def test_raw_requests_do_not_leave_the_root(address, path):
    link = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    link.request("GET", path)
    assert link.getresponse().status == 404
    link.close()
