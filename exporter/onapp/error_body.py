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
from .decode import DECODE_ERRORS, xml_root, xml_value

_MAX_LENGTH = 200


def error_text(body: bytes, body_format: BodyFormat, *, secrets: Iterable[str]) -> str:
    """Return what an error body says, or nothing when it is in no known shape.

    ``hide`` are the forms in which the panel may repeat a secret.
    """
    try:
        text = "; ".join(_texts(_errors(body, body_format)))
    except (*DECODE_ERRORS, Undecodable):
        return ""
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    return one_line(text)


def one_line(text: str) -> str:
    """Return the beginning of a text that somebody else wrote, fit for the log."""
    return printable(" ".join(text.split())[:_MAX_LENGTH])


def printable(text: str) -> str:
    """Blank out what could move a cursor, or turn the direction of writing."""
    return "".join(c if c.isprintable() else " " for c in text)


def _errors(body: bytes, body_format: BodyFormat) -> Any:
    if body_format == "json":
        answer = msgspec.json.decode(body, type=dict[str, Any])
        return answer.get("errors") or answer.get("error")
    tag, content = xml_root(body)
    if tag not in ("errors", "error", "hash"):
        return None
    return content


def _texts(value: Any) -> Iterator[str]:
    """Yield every text, however deep the panel has put it."""
    if isinstance(value, str):
        yield from filter(None, [value.strip()])
    elif isinstance(value, dict):
        text = xml_value(value)
        for part in value.values() if text is None else [text]:
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
