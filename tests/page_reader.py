"""Reading pages as a browser does: every element with its attributes, and whether all are closed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

ASCII = str.maketrans(
    {
        "\N{NO-BREAK SPACE}": " ",
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "--",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    }
)
VOID = {"meta", "link", "img", "br", "hr", "input"}
LOADS = {"src", "href", "srcset", "poster", "data", "action", "xlink:href", "background"}


class Page(HTMLParser):
    """A parsed page: ``elements`` as (tag, attributes), ``words`` as its text on one line,
    with typographic dashes, quotes and spaces as ASCII (an en dash is two hyphens)."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.parts: list[str] = []
        self.feed(content)
        self.close()
        self.words = re.sub(r"\s+", " ", " ".join(self.parts)).translate(ASCII)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.parts.append(data)

    def addresses(self) -> list[str]:
        """What the page could load or lead to."""
        return [value or "" for _, attrs in self.elements for key, value in attrs.items() if key in LOADS]

    def tags(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every element of this name."""
        return [attrs for tag, attrs in self.elements if tag == name]


def assert_inert(page: Page) -> None:
    """Nothing runs: no script, frame or object, no event attribute, and a policy that forbids them."""
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.elements}
    assert not [key for _, attrs in page.elements for key in attrs if key.startswith("on")]
    assert not [value for value in page.addresses() if value.lower().startswith("javascript:")]
    policy = next(attrs["content"] for attrs in page.tags("meta") if "http-equiv" in attrs)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert page.open == []
