"""Encoding of rows: JSON, and XML as Rails writes it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

Format = Literal["json", "xml"]
Fields = dict[str, Any]

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_INDENT = "  "


class Timestamp(str):
    """A formatted date."""

    __slots__ = ()


class Symbol(str):
    """A string that is a symbol in Ruby."""

    __slots__ = ()


@dataclass(slots=True)
class RowList:
    """A list of rows, each in its own element."""

    root: str
    element: str
    rows: list[Fields]


@dataclass(slots=True)
class Row:
    """One row in an element."""

    element: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class XmlStyle:
    """XML details that differ between versions of the panel, or are unknown."""

    nil: Literal["short", "long"] = "short"
    timestamp_type: Literal["datetime", "dateTime"] = "datetime"
    empty: Literal["root", "nil-classes", "nil_classes"] = "root"
    flat: bool = False
    """Whether a list of one row contains its fields without an enclosing element."""


def to_json(content: RowList | Row | Fields) -> bytes:
    """Encode rows as JSON."""
    return json.dumps(_as_json(content), ensure_ascii=False).encode()


def to_xml(content: RowList | Row | Fields, style: XmlStyle) -> bytes:
    """Encode rows as XML."""
    lines = "\n".join(_document(content, style))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{lines}\n'.encode()


def _as_json(value: Any) -> Any:
    if isinstance(value, RowList):
        return [{value.element: _as_json(row)} for row in value.rows]
    if isinstance(value, Row):
        return {value.element: _as_json(value.fields)}
    if isinstance(value, dict):
        return {
            name: _as_json(field) if isinstance(field, RowList) else field
            for name, field in value.items()
        }
    return value


def _document(content: RowList | Row | Fields, style: XmlStyle) -> Iterator[str]:
    if isinstance(content, RowList):
        return _list(content, style)
    if isinstance(content, Row):
        return _element(content.element, content.fields, style, "")
    return (
        line
        for name, value in content.items()
        for line in _element(name, value, style, "")
    )


def _list(content: RowList, style: XmlStyle) -> Iterator[str]:
    if not content.rows:
        root = content.root if style.empty == "root" else style.empty
        yield f'<{root} type="array"/>'
    elif style.flat and len(content.rows) == 1:
        yield f'<{content.root} type="array">'
        yield from _children(content.rows[0], style, _INDENT)
        yield f"</{content.root}>"
    else:
        yield from _element(content.root, content, style, "")


def _element(name: str, value: Any, style: XmlStyle, indent: str) -> Iterator[str]:
    if isinstance(value, RowList):
        yield f'{indent}<{name} type="array">'
        for row in value.rows:
            yield from _element(value.element, row, style, indent + _INDENT)
        yield f"{indent}</{name}>"
    elif isinstance(value, Mapping):
        yield f"{indent}<{name}>"
        yield from _children(value, style, indent + _INDENT)
        yield f"{indent}</{name}>"
    else:
        yield indent + _leaf(name, value, style)


def _children(fields: Mapping[str, Any], style: XmlStyle, indent: str) -> Iterator[str]:
    for name, value in fields.items():
        yield from _element(name, value, style, indent)


def _leaf(name: str, value: object, style: XmlStyle) -> str:
    if value is None:
        short = style.nil == "short"
        return f'<{name} nil="true"/>' if short else f'<{name} nil="true"></{name}>'
    if isinstance(value, bool):
        return f'<{name} type="boolean">{"true" if value else "false"}</{name}>'
    if isinstance(value, int):
        return f'<{name} type="integer">{value}</{name}>'
    if isinstance(value, Timestamp):
        return f'<{name} type="{style.timestamp_type}">{value}</{name}>'
    text = escape(_NOT_IN_XML.sub("", str(value)), quote=False)
    if isinstance(value, Symbol):
        return f'<{name} type="symbol">{text}</{name}>'
    return f"<{name}>{text}</{name}>"
