"""Render docs/runbooks/ for the exporter, which serves them at /runbooks/."""  # noqa: INP001  # no package

from __future__ import annotations

import tomllib
from pathlib import Path
from urllib.parse import urljoin

from markdown_it import MarkdownIt
from markdown_it.token import Token

_DOCS = Path(__file__).parent
SOURCES = sorted((_DOCS / "runbooks").glob("*.md"))
RENDERED = _DOCS.parent / "exporter" / "status" / "runbooks"


def html(source: Path) -> str:
    """Return a runbook as a part of a page.

    Links to other runbooks are relative; those to the rest of docs/ lead to where the
    project is published, as the exporter does not serve them.
    """
    markdown = MarkdownIt()
    tokens = markdown.parse(source.read_text("utf-8"))
    for token in tokens:
        for part in token.children or ():
            if part.type == "link_open":
                _redirect(part)
    rendered: str = markdown.renderer.render(tokens, markdown.options, {})
    return rendered


def _redirect(link: Token) -> None:
    target = str(link.attrs["href"])
    if target.removesuffix(".md") in {source.stem for source in SOURCES}:
        link.attrs["href"] = target.removesuffix(".md")
    else:
        link.attrs |= {"href": urljoin(_published(), target), "rel": "noreferrer"}


def _published() -> str:
    project = tomllib.loads((_DOCS.parent / "pyproject.toml").read_text("utf-8"))
    return f"{project['project']['urls']['Homepage']}/blob/main/docs/runbooks/"
