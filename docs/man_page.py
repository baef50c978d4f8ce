"""Write the manual page: what docs/cli.md says, as man shows it."""  # noqa: INP001  # no package

from __future__ import annotations

import re
from collections.abc import Iterator

import cli_page

from exporter.config.flags import DESCRIPTION, PROGRAM

_HEAD = rf""".\" Generated from the parser by `make docs`, do not edit.
.TH {PROGRAM.upper()} 1 "" "{PROGRAM}" "User Commands"
.SH NAME
{PROGRAM} \- {DESCRIPTION}
.SH SYNOPSIS
.nf
"""


def text() -> str:
    """Return the page in the language of man."""
    synopsis, _, rest = cli_page.text().split("```text\n", 1)[1].partition("```\n")
    return _HEAD + synopsis + ".fi\n" + "\n".join(_lines(rest)) + "\n"


def _lines(markdown: str) -> Iterator[str]:
    """Yield the requests for paragraphs, headings and tables."""
    after_heading = False
    for block in re.split(r"\n\n+", markdown.strip()):
        if block.startswith("## "):
            yield f".SH {block[3:].upper()}"
        elif block.startswith("|"):
            (_, *names, _), _, *rows = map(_cells, block.split("\n"))
            for tag, *middle, last in rows:
                yield from (".TP", _inline(tag), f"{_inline(_sentence(last))}.")
                for name, cell in zip(names, middle, strict=True):
                    if cell:
                        yield from (".br", f"{_sentence(name)}: {_inline(cell)}")
        else:
            yield from ([] if after_heading else [".PP"])
            yield _inline(block)
        after_heading = block.startswith("## ")


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _inline(markdown: str) -> str:
    """Return text with its code in bold; of a link, its text."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown.replace("\n", " "))
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
