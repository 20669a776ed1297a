"""Markdown: tables, and sections of a page that a program fills."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table; ``lines`` have as many cells as ``header``."""
    rule = ["---"] * len(header)
    return "".join("| " + " | ".join(line) + " |\n" for line in [header, rule, *lines])


def number(value: float, digits: int = 3) -> str:
    """Return ``value`` with ``digits`` decimals; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def short(bound: float) -> str:
    """Return a bound as 1e-3 is written."""
    return f"{bound:.0e}".replace("e-0", "e-")


def fill_section(page: str, name: str, text: str) -> str:
    r"""Return ``page`` with ``text`` between the marks of section ``name``; at its end where there are none.

    Examples
    --------
    >>> fill_section("# Page\n<!-- bench:a -->\nold\n<!-- /bench:a -->\n", "a", "new\n")
    '# Page\n<!-- bench:a -->\nnew\n<!-- /bench:a -->\n'
    """
    opening, closing = f"<!-- bench:{name} -->\n", f"<!-- /bench:{name} -->\n"
    before, found, rest = page.partition(opening)
    _, closed, after = rest.partition(closing)
    if found and closed:
        return before + opening + text + closing + after
    return f"{page.rstrip()}\n\n## {name.capitalize()}\n\n{opening}{text}{closing}"
