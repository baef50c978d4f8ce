"""Plain values → a model of msgspec structs, every mistake with its location.

A message names the file, the key, the value and what would be right. Values are shown
only where no secret can be: a password under the wrong key stays hidden.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from ..errors import ConfigError

_MAX_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Location:
    """Where a value is: ``location / "key"`` and ``location[number]`` are within it."""

    source: str
    """What errors name: the file, or the environment."""
    folder: Path
    """Where relative paths begin."""
    written_at: Mapping[str, str] = field(default_factory=dict)
    """Paths whose values were written elsewhere: under another key, in a variable."""
    path: str = ""

    def __truediv__(self, key: str) -> Location:
        """Return the location of a key."""
        return replace(self, path=f"{self.path}.{key}" if self.path else key)

    def __getitem__(self, number: int) -> Location:
        """Return the location of an item of a list."""
        return replace(self, path=f"{self.path}[{number}]")

    def __str__(self) -> str:
        """Return the path within the source, as it was written."""
        for path, origin in self.written_at.items():
            rest = self.path.removeprefix(path)
            if self.path.startswith(path) and rest[:1] in ("", ".", "["):
                return origin + rest
        return self.path

    def error(self, problem: str) -> ConfigError:
        """Return an error about the value at this location."""
        return ConfigError(f"{self.source}: {self}: {problem}")

    def unreadable(self, file: Path, error: OSError | ValueError) -> ConfigError:
        """Return an error about a file, named here, that cannot be read."""
        reason = error.strerror if isinstance(error, OSError) else error
        if "\0" in str(file):
            reason = "no path holds a null byte"  # Python versions word it differently
        if os.path.lexists(file):
            return self.error(f"{file} cannot be read: {reason}")
        # The name of a file that does not exist may be the secret itself.
        return self.error(
            f"names no file that can be read (not shown here): {reason}; a relative "
            f"path begins at {self.folder}"
        )


class Section(msgspec.Struct, frozen=True):
    """Keys of a file that are checked together."""

    def check(self, location: Location) -> None:
        """Raise ConfigError if the values do not go together."""


Model = TypeVar("Model", bound=msgspec.Struct)
Converter = Callable[[Any, Location], Any]
"""Makes the value of a type that YAML lacks.

Raises ConfigError, or ValueError that says what is right; the value is added to it.
"""
_EXPECTED = {
    inspect.StrType: "text in quotes",
    inspect.IntType: "a whole number",
    inspect.BoolType: "true or false",
    inspect.VarTupleType: "a list",
    inspect.DictType: "a section with keys of its own",
    inspect.StructType: "a section with keys of its own",
}
_INVALID = object()
"""In place of a value whose mistake was noted."""


@cache
def sections(model: type[msgspec.Struct]) -> Mapping[str, inspect.StructType]:
    """Return the sections of a file by their keys; ``""`` is the file itself."""
    file = inspect.type_info(model)
    assert isinstance(file, inspect.StructType)  # noqa: S101  # as the model is one
    return {"": file, **dict(_subsections(file))}


def _subsections(
    section: inspect.StructType,
) -> Iterator[tuple[str, inspect.StructType]]:
    for key in section.fields:
        for struct in _structs(key.type):
            yield key.encode_name, struct
            yield from _subsections(struct)


def _structs(kind: inspect.Type) -> Iterator[inspect.StructType]:
    """Yield the sections that a value may be, or that a list may hold."""
    for each in _alternatives(kind):
        if isinstance(each, inspect.VarTupleType):
            yield from _structs(each.item_type)
        elif isinstance(each, inspect.StructType):
            yield each


def _alternatives(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def decode(
    model: type[Model],
    content: Any,
    location: Location,
    converters: Mapping[Any, Converter],
    hidden_paths: str,
) -> Model:
    """Return the content of a file as its model; raise ConfigError if it is wrong.

    A key that is left out or empty has its default. Values at paths that match the
    pattern ``hidden_paths`` are not shown.
    """
    known = sections(model)
    if not isinstance(content, dict):
        # The first that is needed.
        example = min(known[""].fields, key=lambda key: not key.required)
        raise ConfigError(
            f"{location.source}: must begin with keys, such as {example.encode_name}"
        )
    decoder = _Decoder(known, converters, re.compile(hidden_paths))
    decoded: Model = decoder.section(known[""], content, location)
    if decoder.mistakes:
        raise decoder.mistakes[0]
    return decoded


@dataclass(slots=True)
class _Decoder:
    """Decodes the whole of a file, and notes the mistakes."""

    sections: Mapping[str, inspect.StructType]
    converters: Mapping[Any, Converter]
    hidden_paths: re.Pattern[str]
    mistakes: list[ConfigError] = field(default_factory=list)

    def section(
        self,
        section: inspect.StructType,
        content: Mapping[str, Any],
        location: Location,
    ) -> Any:
        """Return the struct; ``_INVALID`` if it could not be made."""
        known_mistakes = len(self.mistakes)
        keys = [each.encode_name for each in section.fields]
        for key in content:
            if key not in keys:
                self.mistakes.append(self._unknown_key(location, key, keys))
        values = {
            each.name: self._key(each, content, location / each.encode_name)
            for each in section.fields
            if each.required
            or isinstance(each.type, inspect.StructType)
            or content.get(each.encode_name) is not None
        }
        if len(self.mistakes) > known_mistakes:
            return _INVALID
        struct = section.cls(**values)
        try:
            if isinstance(struct, Section):
                struct.check(location)
        except ConfigError as error:
            self.mistakes.append(error)
        return struct

    def _key(
        self, key: inspect.Field, content: Mapping[str, Any], location: Location
    ) -> Any:
        if key.required and key.encode_name not in content:
            self.mistakes.append(location.error("is missing"))
            return _INVALID
        value = content.get(key.encode_name)
        if value is None and isinstance(key.type, inspect.StructType):
            value = {}  # a section that is left out has keys that are left out
        return self._value(key.type, value, location)

    def _value(self, kind: inspect.Type, value: Any, location: Location) -> Any:
        """Return the value as its type has it; ``_INVALID`` if it cannot be that."""
        try:
            return self._converted(kind, value, location)
        except ConfigError as error:
            self.mistakes.append(error)
        except ValueError as error:
            rejected_value = self._rejected(kind, value, location)
            self.mistakes.append(location.error(f"{error}{rejected_value}"))
        return _INVALID

    def _converted(self, kind: inspect.Type, value: Any, location: Location) -> Any:  # noqa: C901, PLR0911  # one case for each type
        alternatives = _alternatives(kind)
        if value is None and inspect.NoneType() in alternatives:
            return None
        for alternative in alternatives:
            match alternative, value:
                case inspect.StructType(), dict():
                    return self.section(alternative, value, location)
                case inspect.VarTupleType(item_type=item, min_length=least), list():
                    if len(value) < (least or 0):
                        optional = isinstance(kind, inspect.UnionType)
                        hint = ", or be left out" if optional else ""
                        raise ValueError(f"must list at least one item{hint}")
                    return tuple(
                        self._value(item, part, location[number])
                        for number, part in enumerate(value)
                    )
                case inspect.CustomType(cls=cls), _:
                    return self.converters[cls](value, location)
                case inspect.IntType(ge=least), int() if not isinstance(value, bool):
                    if least is not None and value < least:
                        raise ValueError(f"must be at least {least}")
                    return value
                case inspect.StrType(min_length=least), str():
                    if len(value) < (least or 0):
                        raise ValueError("must not be empty")
                    return value
                case inspect.LiteralType(values=choices), str() if value in choices:
                    return value
                case (inspect.BoolType(), bool()) | (inspect.DictType(), dict()):
                    return value
        raise ValueError(f"must be {_expected(kind)}")

    def _rejected(self, kind: inspect.Type, value: Any, location: Location) -> str:
        if value is None:
            return "; it is empty"
        # In place of a section there could be anything.
        if any(_structs(kind)) and not isinstance(kind, inspect.UnionType):
            return ""
        if isinstance(value, (dict, list)):
            return ""
        return rejected(value, hidden=self._is_secret(location))

    def _is_secret(self, location: Location) -> bool:
        return self.hidden_paths.search(location.path) is not None

    def _unknown_key(
        self, location: Location, key: str, known_keys: list[str]
    ) -> ConfigError:
        """Return where the key belongs, a similar key, or the keys that exist."""
        other_sections = [
            f"under {name}" if name else "at the top level"
            for name, section in self.sections.items()
            if key in {each.encode_name for each in section.fields}
        ]
        close_matches = difflib.get_close_matches(key, known_keys, n=1)
        hint = f"here are {', '.join(known_keys)}"
        if other_sections:
            hint = f"it belongs {' or '.join(other_sections)}; {hint}"
        elif close_matches:
            hint = f"did you mean {close_matches[0]}?"
        # A password with braces and a comma, if not quoted, is parsed as keys.
        if self._is_secret(location) and not other_sections:
            return location.error(f"unknown key (not shown here); {hint}")
        return (location / key).error(f"unknown key; {hint}")


def _expected(kind: inspect.Type) -> str:
    """Return what a value must be, in the words of YAML."""
    names = (
        " or ".join(map(str, each.values))
        if isinstance(each, inspect.LiteralType)
        else _EXPECTED[type(each)]
        for each in _alternatives(kind)
        if not isinstance(each, inspect.NoneType)
    )
    return " or ".join(names)


def rejected(value: Any, *, hidden: bool = False) -> str:
    """Return the end of a message: the value, unless it may hold a secret."""
    text = repr(value)
    if hidden or "@" in text or "://" in text:
        return ", not this value (not shown here)"
    clipped = (
        text
        if len(text) <= _MAX_SHOWN_CHARACTERS
        else f"{text[:_MAX_SHOWN_CHARACTERS]}…"
    )
    return f", not {clipped}"
