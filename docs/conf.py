"""How Sphinx makes the pages: `make docs`."""

import re
import sys
from pathlib import Path

import thalweg

sys.path.insert(0, str(Path(__file__).parent))

project, author, release = "Thalweg", "the Thalweg authors", thalweg.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "plain_docstrings",
    "reference_pages",
    "tutorial_picture",
]
exclude_patterns = ["_build"]
smartquotes = False
highlight_language = "text"  # of formulas in docstrings

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 90
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
nitpick_ignore_regex = [("py:(class|obj|data)", ".*")]  # types of other libraries in signatures lead nowhere
myst_heading_anchors = 3


def _colours(colours: dict[str, str]) -> dict[str, str]:
    """The variables of furo, from those of the program's own pages."""
    return {
        "font-stack": colours.get("sans", fonts["sans"]),
        "font-stack--headings": fonts["serif"],
        "font-stack--monospace": fonts["mono"],
        "color-background-primary": colours["paper"],
        "color-background-secondary": colours["raised"],
        "color-background-border": colours["rule"],
        "color-foreground-primary": colours["ink"],
        "color-foreground-secondary": colours["soft"],
        "color-foreground-muted": colours["soft"],
        "color-brand-primary": colours["t0"],
        "color-brand-content": colours["t0"],
        "color-brand-visited": colours["t3"],
        "color-api-name": colours["t1"],
        "color-api-pre-name": colours["soft"],
        "color-problematic": colours["t1"],
    }


style = (Path(thalweg.__file__).parent / "web" / "templates" / "style.css").read_text(encoding="utf-8")
fonts, dark = (dict(re.findall(r"--(\w+): (.*?);", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)[:2])
html_theme = "furo"
html_title = "Thalweg"
html_theme_options = {
    "light_css_variables": _colours(fonts),
    "dark_css_variables": _colours(dark),
    "top_of_page_buttons": [],
}
html_copy_source = html_show_sourcelink = html_show_sphinx = html_show_copyright = False
