"""Sphinx configuration: MyST pages, API pages out of the numpydoc docstrings."""

import re
from importlib.metadata import version as installed_version
from typing import Any

project = "sciflow"
author = "The sciflow developers"
project_copyright = "The sciflow developers, Apache-2.0"
version = release = installed_version("sciflow")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False

html_theme = "pydata_sphinx_theme"
html_theme_options = {"navigation_with_keys": False}


def keep_bars(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Let docstrings write |x - x'| and (batch, *space): outside of code these would be markup."""
    for number, line in enumerate(lines):
        around_code = re.split(r"(`.*?`)", line)
        around_code[::2] = [text.replace("|", r"\|").replace(", *", r", \*") for text in around_code[::2]]
        if not line.lstrip().startswith((">>>", "...")):
            lines[number] = "".join(around_code)


def setup(app: Any) -> None:
    """Register `keep_bars` with Sphinx."""
    app.connect("autodoc-process-docstring", keep_bars)
