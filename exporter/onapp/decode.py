"""Decoder of response bodies to typed rows, for JSON and XML; knows nothing of backups.

Only the fields of the row type are decoded: lists of servers contain root passwords,
which must not be passed on. A row that cannot be decoded is skipped, the others are
kept. If only descriptive fields of a row are unreadable, the row counts without them.
Old panels write invalid characters in texts; these are replaced (``repaired_json``),
but only if an answer cannot be decoded as it is.

Accepted shapes: a list of one-key objects (as all recorded panels send), a list of bare
rows, one wrapped row; in XML also a list whose fields are directly in the root (as on
the vendor's page) and Rails' ``nil-classes`` for an empty list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from xml.parsers import expat

import msgspec
import xmltodict

from ..config.schema import BodyFormat
from ..errors import Undecodable
from .xml_filter import FieldFilter, SafeExpat, repaired_xml

Row = TypeVar("Row", bound=msgspec.Struct)

DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""The errors that msgspec raises for a body that it cannot decode."""
UNKNOWN_ID = "?"
"""Replaces the ID of a row whose ID is unreadable."""
_EMPTY_ROOTS = ("nil-classes", "nil_classes")
_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_JSON_ESCAPE = re.compile(
    rb"""[\x00-\x1f] | \\["\\/bfnrt] | \\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}
    | \\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}
    | (?P<invalid>\\(?:u[0-9a-fA-F]{4})?)""",
    re.VERBOSE,
)
_KNOWN_ROOTS = ("html", "error", "errors", "hash", "objects")
"""Root elements that an error message may name; others could be any text."""
_STRIPPED_TYPES = ("integer", "boolean", "datetime", "float", "decimal", "symbol")


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that cannot be used: only its ID and the error, without its content."""

    row_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Rows(Generic[Row]):
    """The rows of one answer."""

    rows: tuple[Row, ...]
    skipped: tuple[SkippedRow, ...] = ()


class _RowId(msgspec.Struct):
    """The ID of a row that cannot be used."""

    id: Any = None


class RowDecoder(Generic[Row]):
    """Decoder of lists of one row type; ``name`` is its element or key."""

    def __init__(
        self, name: str, row: type[Row], descriptive: str = "", nested: str = ""
    ) -> None:
        """Build the decoders once, which takes longer than decoding a body.

        ``descriptive`` names the fields without which a row still counts, ``nested``
        the elements of a list in such a field.
        """
        self.name = name
        self.row = row
        self._descriptive_types = {
            field.name: field.type
            for field in msgspec.structs.fields(row)
            if field.name in descriptive.split()
        }
        self._field_filter = FieldFilter(
            frozenset({*row.__struct_encode_fields__, *nested.split()})
        )
        wrapped = msgspec.defstruct(
            f"Wrapped_{name}", [("row", row)], rename={"row": name}, gc=False
        )
        with_id = msgspec.defstruct(
            f"Named_{name}",
            [("id", Any, None), ("row", _RowId | None, None)],
            rename={"row": name},
        )
        self._id_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(with_id)
        self._row_decoder = msgspec.json.Decoder(row, strict=False)
        self._wrapped_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            wrapped, strict=False
        )
        self._list_decoder: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(
            list[wrapped],  # type: ignore[valid-type]  # created at run time
            strict=False,
        )

    def decode(self, body: bytes, body_format: BodyFormat) -> Rows[Row]:
        """Return the rows of ``body``; raise Undecodable if it is not such a list."""
        return (
            self._decode_json(body) if body_format == "json" else self._decode_xml(body)
        )

    def _decode_json(self, body: bytes) -> Rows[Row]:
        try:
            return Rows(tuple(item.row for item in self._list_decoder.decode(body)))
        except DECODE_ERRORS:
            return self._collect(self._raw_rows(body), self._json_row)

    def _raw_rows(self, body: bytes) -> list[msgspec.Raw]:
        """Split a list into rows, because some of them cannot be decoded."""
        try:
            root = json_value(body, list[msgspec.Raw] | dict[str, msgspec.Raw])
            if isinstance(root, list):
                return root
            if self.name in root:
                return [root[self.name]]
            if f"{self.name}s" in root:
                return msgspec.json.decode(
                    root[f"{self.name}s"], type=list[msgspec.Raw]
                )
        except DECODE_ERRORS as error:
            raise Undecodable(f"not a list of {self.name} rows: {error}") from None
        raise Undecodable(f"a JSON object without {self.name!r}")

    def _json_row(self, raw: msgspec.Raw) -> Row:
        try:
            row: Row = self._wrapped_decoder.decode(raw).row
        except msgspec.ValidationError as error:
            try:
                return self._bare_row(raw)
            except msgspec.ValidationError:
                raise error from None
        return row

    def _bare_row(self, raw: msgspec.Raw) -> Row:
        try:
            return self._row_decoder.decode(raw)
        except msgspec.ValidationError:
            fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
            if self.name in fields:
                fields = msgspec.json.decode(
                    fields[self.name], type=dict[str, msgspec.Raw]
                )
            # Only the fields in use: a list of servers also contains passwords.
            return self._lenient_row(
                {
                    key: _any_value(fields[key])
                    for key in self.row.__struct_encode_fields__
                    if key in fields
                }
            )

    def _lenient_row(self, fields: dict[str, Any]) -> Row:
        """Decode a row that has values in an unexpected notation."""
        used = {key: _normalized(value) for key, value in fields.items()}
        try:
            return msgspec.convert(used, self.row, strict=False)
        except msgspec.ValidationError:
            readable = {k: v for k, v in used.items() if self._is_usable(k, v)}
            return msgspec.convert(readable, self.row, strict=False)

    def _is_usable(self, field: str, value: Any) -> bool:
        """Return whether a field is required or can be decoded."""
        try:
            msgspec.convert(
                value, self._descriptive_types.get(field, Any), strict=False
            )
        except msgspec.ValidationError:
            return False
        return True

    def _decode_xml(self, body: bytes) -> Rows[Row]:
        return self._collect(
            self._row_elements(xml_root(body, self._field_filter)), self._xml_row
        )

    def _row_elements(self, root: tuple[str, Any]) -> list[Any]:
        """Return the rows below the root element, in any of the accepted shapes."""
        tag, content = root
        if tag == self.name:
            return [content]
        if tag not in (f"{self.name}s", *_EMPTY_ROOTS):
            shown = f"<{tag}>" if tag in _KNOWN_ROOTS else "not shown here"
            raise Undecodable(f"an XML root ({shown}) instead of <{self.name}s>")
        text = xml_value(content)
        if isinstance(text, str) and text.strip():
            raise Undecodable(f"text instead of {self.name} rows")
        if not isinstance(content, dict):
            return []
        if self.name in content:
            rows = content[self.name]
            return rows if isinstance(rows, list) else [rows]
        return [content] if any(key[0] not in "@#" for key in content) else []

    def _xml_row(self, element: Any) -> Row:
        if not isinstance(element, dict):
            raise msgspec.ValidationError("an element without fields")
        try:
            return msgspec.convert(element, self.row, strict=False)
        except msgspec.ValidationError:
            return self._attributed_xml_row(element)

    def _attributed_xml_row(self, element: dict[str, Any]) -> Row:
        """Decode a row some of whose fields have XML attributes."""
        fields = {
            key: _xml_field(element[key])
            for key in self.row.__struct_encode_fields__
            if key in element
        }
        try:
            return msgspec.convert(fields, self.row, strict=False)
        except msgspec.ValidationError:
            return self._lenient_row(fields)

    def _collect(self, items: list[Any], decode: Any) -> Rows[Row]:
        rows: list[Row] = []
        skipped: list[SkippedRow] = []
        for item in items:
            try:
                rows.append(decode(item))
            except DECODE_ERRORS as error:
                skipped.append(SkippedRow(self._row_id(item), str(error)))
        if skipped and not rows:
            # An empty list would mean that there are no rows.
            first = skipped[0]
            raise Undecodable(
                f"no {self.name} row readable; id {first.row_id}: {first.message}",
                rows_skipped=len(skipped),
            )
        return Rows(tuple(rows), tuple(skipped))

    def _row_id(self, item: Any) -> str:
        """Return a row's ID for the log, or UNKNOWN_ID."""
        if isinstance(item, msgspec.Raw):
            try:
                item = msgspec.to_builtins(self._id_decoder.decode(item))
            except DECODE_ERRORS:
                return UNKNOWN_ID
        ids = map(str, _row_ids(item, self.name))
        return next(ids, UNKNOWN_ID)


def _row_ids(item: Any, name: str) -> Iterator[int]:
    for fields in (item, item.get(name) if isinstance(item, dict) else None):
        value = xml_value(fields.get("id")) if isinstance(fields, dict) else None
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            yield int(value[:20]) if isinstance(value, str) else value


def _any_value(raw: msgspec.Raw) -> Any:
    """Return a JSON value; an empty object if it has a number that is too large."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError:
        return {}


def _normalized(value: Any) -> Any:
    """Return a string without white space around it; None if it is empty."""
    return (value.strip() or None) if isinstance(value, str) else value


def json_value(body: bytes, type_: Any) -> Any:
    """Return the value of a body whose texts may have invalid characters."""
    try:
        body.decode()
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(repaired_json(body), type=type_)


def repaired_json(body: bytes) -> bytes:
    """Return a body with valid texts.

    Raw control characters are escaped. Invalid characters (half a surrogate pair, an
    unknown escape, bytes that are not UTF-8) become U+FFFD.
    """

    def valid(escape: re.Match[bytes]) -> bytes:
        if escape["invalid"] is not None:
            return rb"\ufffd"
        return escape[0] if len(escape[0]) > 1 else b"\\u%04x" % ord(escape[0])

    return _JSON_STRING.sub(
        lambda string: _JSON_ESCAPE.sub(valid, string[0]),
        body.decode(errors="replace").encode(),
    )


def xml_root(body: bytes, expat_module: Any = SafeExpat) -> tuple[str, Any]:
    """Return the root element's name, and its content as parsed by xmltodict.

    If a body cannot be parsed, its invalid characters are replaced and it is parsed
    again.
    """
    try:
        try:
            document = _parsed_xml(body, expat_module)
        except expat.ExpatError:
            document = _parsed_xml(repaired_xml(body), expat_module)
    except (expat.ExpatError, ValueError) as error:
        raise Undecodable(f"not XML: {error}") from None
    ((tag, content),) = document.items()
    return tag, content


def _parsed_xml(body: bytes, expat_module: Any) -> dict[str, Any]:
    document: dict[str, Any] = xmltodict.parse(
        body, strip_whitespace=False, encoding=None, expat=expat_module
    )
    return document


def _xml_field(value: Any) -> Any:
    """Return the value of a field, which may be a list of rows."""
    rows = (
        [
            {name: {key: xml_value(field) for key, field in row.items()}}
            for name, content in value.items()
            for row in (content if isinstance(content, list) else [content])
            if isinstance(row, dict)
        ]
        if isinstance(value, dict)
        else []
    )
    return rows or xml_value(value)


def xml_value(value: Any) -> Any:
    """Return an element's text; None if it is nil or empty."""
    if not isinstance(value, dict):
        return value
    if str(value.get("@nil", "")).lower() == "true":
        return None
    text = value.get("#text")
    if isinstance(text, str) and str(value.get("@type", "")).lower() in _STRIPPED_TYPES:
        return text.strip() or None
    return text
