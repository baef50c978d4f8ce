"""Write the table of docs/sizing.md from the measured figures."""  # noqa: INP001  # no package

from __future__ import annotations

import re
from pathlib import Path

_DOCS = Path(__file__).parent
_PAGE = _DOCS / "sizing.md"
_MEASURED = _DOCS / "performance.md"
_HEADINGS = "backups|series|memory|a scrape, gzip|compressed|plain"
_ROWS = ("series", "in use", "gzip", "size, gzip", "size, plain")
"""The rows of the measurement that stand in these columns, but the first."""


def text() -> str:
    """Return the page as it is, with its first table written again."""
    page = _PAGE.read_text("utf-8")
    columns = _HEADINGS.split("|")
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    before, found, after = page.partition(head)
    if not found:
        raise ValueError(f"{_PAGE.name}: no table of {_HEADINGS}")
    rest = re.sub(r"\A(\|.*\n)+", "", after)
    return before + head + "".join(_rows()) + rest


def _rows() -> list[str]:
    measured = _MEASURED.read_text("utf-8")
    sizes = re.findall(r"(\d[\d ]*) backups", _line(measured, ""))
    columns = [_cells(_line(measured, name)) for name in _ROWS]
    return [f"| {' | '.join(row)} |\n" for row in zip(sizes, *columns, strict=True)]


def _line(measured: str, name: str) -> str:
    """Return the first row of this name."""
    found = re.search(rf"^\| +{re.escape(name)} ?\| *(.*) \|$", measured, re.MULTILINE)
    if found is None:
        raise ValueError(f"{_MEASURED.name}: no row {name!r}")
    return found[1]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")]
