"""Decoder of a panel's error bodies to one short line for the log.

Source: recorded bodies ``{"error": "…"}``, ``{"errors": ["…"]}``, ``{"errors": {"base":
["…"]}}``, ``<errors><error>…</error></errors>``, and HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..config.schema import BodyFormat
from ..errors import Undecodable
from .decode import DECODE_ERRORS, json_value, xml_root

_MAX_LENGTH = 200


def error_text(body: bytes, body_format: BodyFormat, *, secrets: Iterable[str]) -> str:
    """Return the message in an error body; empty if it is not in the API's format.

    ``secrets`` are removed, because the panel may repeat them in the body.
    """
    try:
        text = "; ".join(_texts(_errors(body, body_format)))
    except (*DECODE_ERRORS, Undecodable):
        return ""
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    return one_line(text)


def one_line(text: str) -> str:
    """Return the beginning of an untrusted text as one printable line."""
    return printable(" ".join(text.split())[:_MAX_LENGTH])


def printable(text: str) -> str:
    """Replace control characters and changes of the writing direction with spaces."""
    return "".join(c if c.isprintable() else " " for c in text)


def _errors(body: bytes, body_format: BodyFormat) -> Any:
    if body_format == "json":
        tag, content = "hash", json_value(body, dict[str, Any])
    else:
        tag, content = xml_root(body)
    if tag == "hash" and isinstance(content, dict):
        return content.get("errors") or content.get("error")
    return content if tag in ("errors", "error") else None


def _texts(value: Any) -> Iterator[str]:
    """Yield all non-empty texts in nested objects and lists."""
    if isinstance(value, str):
        yield from filter(None, [value.strip()])
    elif isinstance(value, dict):
        for key, part in value.items():
            if not key.startswith("@"):  # an attribute of XML
                yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
