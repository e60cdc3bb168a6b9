"""A walk through every kind of page: none fails, scrolls sideways, or breaks a rule of accessibility (axe)."""

from __future__ import annotations

import re

import pytest

from thalweg.runs import Run
from thalweg.schedules import parse

RECIPE = {"steps": 40, "model": {"width": 32}, "schedule": "cosine:peak=1e-3,warmup=4"}
KINDS = 2  # pages visited of each kind: same path but for names and numbers, same names of parameters


@pytest.fixture
def site(serve, tmp_path):
    """A server over two finished runs."""
    root = tmp_path / "runs"
    root.mkdir()
    for name, shift in (("first", 0.0), ("second", 0.2)):
        run = Run.create(root / name, RECIPE | {"seed": int(10 * shift)}, steps=40)
        with run.attempt():
            for step, rate in enumerate(parse(RECIPE["schedule"]).rates(40)):
                run.log(step, loss=4 / (1 + step / 8) + shift, lr=float(rate))
    return serve(root=root)


def kind(address: str) -> str:
    """What pages of one kind have in common."""
    path, _, query = address.partition("?")
    parts = path.strip("/").split("/")
    return "/".join([*parts[:1], *("*" for _ in parts[1:])]) + "?" + "&".join(sorted(set(re.findall(r"(\w+)=", query))))


def links(page, address: str) -> list[str]:
    """Addresses of this server that the page leads to, without downloads."""
    found = page.eval_on_selector_all("a[href]:not([download])", "all => all.map(a => a.href)")
    inside = (link.split("#")[0] for link in found if link.startswith(address))
    return list(dict.fromkeys(link[len(address) :] for link in inside))


def faults(page) -> list[str]:
    """Broken rules of accessibility, each with the first element that breaks it."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {fault['help']} {fault['nodes'][0]['html'][:120]}" for fault in found]


@pytest.mark.slow
@pytest.mark.parametrize(
    "look", [{"color_scheme": "light"}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}}]
)
def test_every_kind_of_page(site, open_page, look):
    page = open_page(site.address, **look)
    waiting, seen, visited = ["/", "/runs", "/designer", "/planner"], {}, set()
    wrong = []
    while waiting:
        address = waiting.pop(0)
        if address in visited or seen.get(kind(address), 0) >= KINDS:
            continue
        visited.add(address)
        seen[kind(address)] = seen.get(kind(address), 0) + 1
        peek = page.request.get(site.address + address)
        if not peek.headers["content-type"].startswith("text/html") or "content-disposition" in peek.headers:
            continue
        answer = page.goto(site.address + address)
        if answer.status != 200:
            wrong.append(f"{address}: status {answer.status}")
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1"):
            wrong.append(f"{address}: scrolls sideways")
        wrong += [f"{address}: {fault}" for fault in faults(page)]
        waiting += [link for link in links(page, site.address) if link not in visited]
    assert not wrong, "\n".join(wrong)
    assert len(visited) > 4
