"""Cards: CommonMark with tables to HTML. Raw HTML is shown as text, images are not loaded, scripts cannot be linked."""

from __future__ import annotations

from markupsafe import Markup

__all__ = ["to_html"]


def to_html(source: str) -> Markup:
    """The card as HTML; its headings move down a level, since the page has the first, and wide tables scroll."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = reader.parse(source)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
    html = reader.renderer.render(tokens, reader.options, {})
    html = html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("<th></th>", "<td></td>")
    html = html.replace("<pre>", '<pre tabindex="0">')  # what scrolls must be reachable by keyboard
    return Markup(html.replace("</table>", "</table></div>"))
