"""What the browser tests of the designer read off its page."""

from __future__ import annotations

from urllib.parse import parse_qs, urlparse

from thalweg.schedules import parse


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
