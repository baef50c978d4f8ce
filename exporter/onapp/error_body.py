"""What a panel says when it refuses: its error bodies → one short line.

Source: recorded bodies ``{"error": "…"}``, ``{"errors": ["…"]}``,
``{"errors": {"base": ["…"]}}``, ``<errors><error>…</error></errors>``, and HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ..config.schema import BodyFormat
from ..errors import Undecodable
from .decode import UNREADABLE, xml_root, xml_value

_LONGEST = 200


def refusal(body: bytes, form: BodyFormat, *, hide: Iterable[str]) -> str:
    """Return what an error body says, or nothing when it is in no known shape.

    ``hide`` are the forms in which the panel may repeat a secret.
    """
    try:
        said = "; ".join(_texts(_errors(body, form)))
    except (*UNREADABLE, Undecodable):
        return ""
    for secret in filter(None, hide):
        said = said.replace(secret, "…")
    return one_line(said)


def one_line(text: str) -> str:
    """Return the beginning of a text that somebody else wrote, fit for the log."""
    return printable(" ".join(text.split())[:_LONGEST])


def printable(text: str) -> str:
    """Blank out what could move a cursor, or turn the direction of writing."""
    return "".join(c if c.isprintable() else " " for c in text)


def _errors(body: bytes, form: BodyFormat) -> Any:
    if form == "json":
        answer = msgspec.json.decode(body, type=dict[str, Any])
        return answer.get("errors") or answer.get("error")
    tag, content = xml_root(body)
    if tag not in ("errors", "error", "hash"):
        return None
    return content


def _texts(said: Any) -> Iterator[str]:
    """Yield every text, however deep the panel has put it."""
    if isinstance(said, str):
        yield from filter(None, [said.strip()])
    elif isinstance(said, dict):
        text = xml_value(said)
        for part in said.values() if text is None else [text]:
            yield from _texts(part)
    elif isinstance(said, list):
        for part in said:
            yield from _texts(part)
