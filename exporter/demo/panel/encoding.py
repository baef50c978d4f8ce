"""How rows look on the wire: JSON, and XML as Rails writes it."""

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
    """A date that is written already."""

    __slots__ = ()


class Symbol(str):
    """A string that Ruby holds as a symbol."""

    __slots__ = ()


@dataclass(slots=True)
class RowList:
    """A list of rows, each wrapped in its own name."""

    root: str
    element: str
    rows: list[Fields]


@dataclass(slots=True)
class Row:
    """One row in its own name."""

    element: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class XmlStyle:
    """What differs in XML between versions of the panel, or is not known."""

    nil: Literal["short", "long"] = "short"
    timestamp_type: Literal["datetime", "dateTime"] = "datetime"
    empty: Literal["root", "nil-classes", "nil_classes"] = "root"
    flat: bool = False
    """Whether a list of one is printed without the element around its fields."""


def to_json(answer: RowList | Row | Fields) -> bytes:
    """Write an answer as JSON."""
    return json.dumps(_as_json(answer), ensure_ascii=False).encode()


def to_xml(answer: RowList | Row | Fields, style: XmlStyle) -> bytes:
    """Write an answer as XML."""
    lines = "\n".join(_document(answer, style))
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


def _document(answer: RowList | Row | Fields, style: XmlStyle) -> Iterator[str]:
    if isinstance(answer, RowList):
        return _list(answer, style)
    if isinstance(answer, Row):
        return _element(answer.element, answer.fields, style, "")
    return (
        line
        for name, value in answer.items()
        for line in _element(name, value, style, "")
    )


def _list(answer: RowList, style: XmlStyle) -> Iterator[str]:
    if not answer.rows:
        root = answer.root if style.empty == "root" else style.empty
        yield f'<{root} type="array"/>'
    elif style.flat and len(answer.rows) == 1:
        yield f'<{answer.root} type="array">'
        yield from _children(answer.rows[0], style, _INDENT)
        yield f"</{answer.root}>"
    else:
        yield from _element(answer.root, answer, style, "")


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
