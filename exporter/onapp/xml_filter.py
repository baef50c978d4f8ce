"""A filter between expat and xmltodict that passes on only the wanted fields.

Rows have twice as many fields as the exporter uses, and xmltodict is the slowest part
of decoding. The filter also drops nested lists and the passwords of servers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

_FIELDS_DEPTH = 2
"""The depth of fields; elements above, the root and the rows, are always passed on."""
_REDUNDANT_TYPES = ("integer", "boolean", "datetime", "dateTime")
"""Types that the field's name implies: these attributes only cost time."""

_CHARACTER = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]|&#(x?)([0-9a-fA-F]+);"
    rb"|&(?!(?:amp|lt|gt|quot|apos);)"
)
"""A character that XML does not allow, a reference to any character, or a bare
ampersand."""
_VALID = re.compile("[\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENCODINGS = ("utf-8", "utf-16", "iso-8859-1", "us-ascii")


class SafeExpat:
    """Replacement for the module expat in ``xmltodict.parse``; rejects document types.

    A panel declares none. Entities and default attributes, which are declared in a
    document type, can expand a short answer without limit.
    """

    @staticmethod
    def ParserCreate(  # noqa: N802  # as xmltodict calls it
        encoding: str | None, namespace_separator: str | None
    ) -> expat.XMLParserType:
        """Return a parser that raises ValueError for unexpected declarations."""
        parser = expat.ParserCreate(encoding, namespace_separator)
        parser.StartDoctypeDeclHandler = _refuse_document_type
        parser.XmlDeclHandler = _refuse_encoding
        return parser


def repaired_xml(body: bytes) -> bytes:
    """Return a body in which U+FFFD replaces the invalid characters that are found."""
    if b"8859" not in body[:100]:
        body = body.decode(errors="replace").encode()
    return _CHARACTER.sub(_valid, body)


def _valid(character: re.Match[bytes]) -> bytes:
    if character[0] == b"&":
        return b"&amp;"
    if digits := character[2]:
        try:
            number = int(digits.lstrip(b"0")[:8] or b"0", 16 if character[1] else 10)
            if _VALID.match(chr(number)):
                return character[0]
        except (ValueError, OverflowError):
            pass
    return b"&#xFFFD;"


def _refuse_document_type(*_: object) -> None:
    raise ValueError("the XML declares a document type")


def _refuse_encoding(_: str, encoding: str | None, __: int) -> None:
    # For any other encoding, expat would call the Python codec of that name.
    if encoding is not None and encoding.lower() not in _ENCODINGS:
        raise ValueError("the XML has an unsupported encoding")


class FieldFilter:
    """Replacement for the module expat in ``xmltodict.parse`` that filters fields."""

    def __init__(self, wanted: frozenset[str]) -> None:
        """Keep only fields with these names."""
        self.wanted = wanted

    def ParserCreate(self, *arguments: Any) -> _FilteringParser:  # noqa: N802  # expat's
        """Return a parser that filters."""
        return _FilteringParser(SafeExpat.ParserCreate(*arguments), self.wanted)


class _FilteringParser:
    """An expat parser that calls its handlers only for wanted fields."""

    StartElementHandler: Callable[[str, Any], None]
    EndElementHandler: Callable[[str], None]
    CharacterDataHandler: Callable[[str], None]
    _parser: expat.XMLParserType
    _wanted: frozenset[str]

    def __init__(self, parser: expat.XMLParserType, wanted: frozenset[str]) -> None:
        self.__dict__.update(_parser=parser, _wanted=wanted)

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep the handlers that are filtered; pass other attributes to the parser."""
        if name in _FilteringParser.__annotations__:
            self.__dict__[name] = value
        else:
            setattr(self._parser, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def Parse(self, body: bytes, final: bool) -> int:  # noqa: FBT001, N802  # expat's
        """Parse a body and call the handlers."""
        parser, wanted = self._parser, self._wanted
        start_element, end_element = self.StartElementHandler, self.EndElementHandler
        character_data = self.CharacterDataHandler
        no_attributes: dict[str, str] = {}
        depth = skipped = 0

        def on_start(name: str, attributes: list[str]) -> None:
            nonlocal depth, skipped
            if skipped or (depth >= _FIELDS_DEPTH and name not in wanted):
                skipped += 1
                parser.CharacterDataHandler = None
                return
            depth += 1
            nil = depth > _FIELDS_DEPTH and _is_nil(attributes)
            redundant = len(attributes) == 2 and attributes[1] in _REDUNDANT_TYPES
            start_element(name, no_attributes if redundant or nil else attributes)
            parser.CharacterDataHandler = None if nil else character_data

        def on_end(name: str) -> None:
            nonlocal depth, skipped
            if skipped:
                skipped -= 1
            else:
                depth -= 1
                end_element(name)
            # There is only white space between fields.
            parser.CharacterDataHandler = (
                character_data if depth < _FIELDS_DEPTH else None
            )

        parser.StartElementHandler, parser.EndElementHandler = on_start, on_end
        return parser.Parse(body, final)


def _is_nil(attributes: list[str]) -> bool:
    if "nil" not in attributes:
        return False
    return attributes[attributes.index("nil") + 1].lower() == "true"
