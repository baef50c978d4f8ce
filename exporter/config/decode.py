"""Plain values → a model of msgspec structs, or errors with their locations.

An error names the file, the line, the key, the value and what would be right. A value
that may be a secret is not shown, for example a password under the wrong key.
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
from .file_watch import FileSet

_MAX_SHOWN_CHARACTERS = 80
_VARIABLE = re.compile(r"^\$\{\w+\}$|^\w+://.*\$\{\w+\}")
"""Matches ``${NAME}``, alone or in an address: a shell would expand it."""
_FILE_SUFFIXES = (".pem", ".crt", ".cer", ".key", ".txt")

Parts = tuple[str | int, ...]
"""The path to a value from the top of the file: keys, and indexes into lists."""


@dataclass(frozen=True, slots=True)
class Location:
    """Location of a value; ``location / "key"`` and ``location[number]`` go deeper."""

    source: str
    """The file or the environment, as errors name it."""
    folder: Path
    """The folder that relative paths start from."""
    written_at: Mapping[Parts, Parts] = field(default_factory=dict)
    """Maps values to where they were written: another key, or a variable."""
    names: Mapping[Parts, str] = field(default_factory=dict)
    """Names of list items, for errors."""
    line_of: Callable[[Parts], int | None] | None = None
    """Returns the line of a value; None: the source has no lines."""
    files: FileSet = field(default_factory=FileSet)
    """The files that were read, including those that values name."""
    parts: Parts = ()

    def __truediv__(self, key: str) -> Location:
        """Return the location of a key."""
        return replace(self, parts=(*self.parts, key))

    def __getitem__(self, number: int) -> Location:
        """Return the location of an item of a list."""
        return replace(self, parts=(*self.parts, number))

    @property
    def origin(self) -> Parts:
        """The path under which the value was written."""
        for length in range(len(self.parts), 0, -1):
            origin = self.written_at.get(self.parts[:length])
            if origin is not None:
                return (*origin, *self.parts[length:])
        return self.parts

    @property
    def line(self) -> int | None:
        """The line where the value was written."""
        return self.line_of(self.origin) if self.line_of else None

    def __str__(self) -> str:
        """Return the path as written in the source."""
        return path_text(self.origin)

    def error(
        self,
        problem: str,
        *,
        shown: Location | None = None,
        follows_from: Location | None = None,
    ) -> Mistake:
        """Return an error about the value here.

        ``shown`` is named instead of a path that may be a secret. If the value at
        ``follows_from`` is wrong, this error is dropped.
        """
        line = "" if self.line is None else f"line {self.line}: "
        name = next(
            (n for p, n in self.names.items() if self.origin[: len(p)] == p), ""
        )
        panel = f" (panel {name})" if name else ""
        text = f"{self.source}: {line}{shown or self}{panel}: {problem}"
        return Mistake(text, self, follows_from or self)

    def unreadable(self, name: str, error: OSError | ValueError) -> Mistake:
        """Return an error about a file that is named here and cannot be read."""
        file, parts = self.folder / name, Path(name).parts
        root = 2 if Path(name).is_absolute() else 1
        in_folder = len(parts) > root and self.folder.joinpath(*parts[:root]).is_dir()
        reason = error.strerror if isinstance(error, OSError) else error
        if "\0" in name:
            reason = "no path holds a null byte"  # Python versions word it differently
        is_path = in_folder or name.endswith(_FILE_SUFFIXES)
        if os.path.lexists(file) or (is_path and name.isprintable()):
            return self.error(f"{file} cannot be read: {reason}")
        # A value that does not look like a path may be the secret itself.
        return self.error(
            f"names no file that can be read (not shown here): {reason}; a relative "
            f"path begins at {self.folder}"
        )


class Mistake(ConfigError):
    """One mistake in a configuration."""

    def __init__(self, text: str, location: Location, follows_from: Location) -> None:
        """Keep the locations, by which mistakes are sorted and filtered."""
        super().__init__(text)
        self.line = location.line or 0
        self.origin, self.cause = location.origin, follows_from.origin


def path_text(parts: Parts) -> str:
    """Return a path as text, for example ``panels[0].url``."""
    return "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts
    ).removeprefix(".")


class Section(msgspec.Struct, frozen=True):
    """A group of keys that are checked together."""

    def check(self, location: Location) -> Iterator[Mistake]:  # noqa: ARG002  # of subclasses
        """Yield mistakes in single values, and values that contradict each other.

        Rejected values, and sections that contain one, have their defaults here.
        """
        yield from ()


Model = TypeVar("Model", bound=msgspec.Struct)
Converter = Callable[[Any, Location], Any]
"""Converts to a type that YAML lacks.

Raises Mistake, or a ValueError that says what would be right. The decoder adds the
value to its text.
"""
_EXPECTED = {
    inspect.StrType: "text in quotes",
    inspect.IntType: "a whole number",
    inspect.BoolType: "true or false",
    inspect.VarTupleType: "a list ('- ' before each item)",
    inspect.DictType: "a section with keys",
    inspect.StructType: "a section with keys",
}
_INVALID = object()
"""Replaces a value whose mistake was recorded."""


@cache
def sections(model: type[msgspec.Struct]) -> Mapping[str, inspect.StructType]:
    """Return the sections of a file by their keys; ``""`` is the file itself."""
    file = inspect.type_info(model)
    assert isinstance(file, inspect.StructType)  # noqa: S101  # the model is a struct
    return {"": file, **dict(_subsections(file))}


def _subsections(
    section: inspect.StructType,
) -> Iterator[tuple[str, inspect.StructType]]:
    for key in section.fields:
        for struct in _structs(key.type):
            yield key.encode_name, struct
            yield from _subsections(struct)


def _structs(kind: inspect.Type) -> Iterator[inspect.StructType]:
    """Yield the sections that a value of this type may be or contain."""
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
    """Return the content of a file as its model.

    Raises ConfigError with one line per mistake, and one mistake per key. Missing and
    empty keys get their defaults. Errors do not show values at paths that match the
    pattern ``hidden_paths``.
    """
    known = sections(model)
    if not isinstance(content, dict):
        # The first required key.
        example = min(known[""].fields, key=lambda key: not key.required)
        raise ConfigError(
            f"{location.source}: must begin with keys, such as {example.encode_name}"
        )
    decoder = _Decoder(known, converters, re.compile(hidden_paths))
    decoded: Model = decoder.section(known[""], content, location)
    mistakes: dict[Parts, Mistake] = {}
    for mistake in decoder.mistakes:
        if not mistakes.keys() & {mistake.origin, mistake.cause}:
            mistakes[mistake.origin] = mistake
    if mistakes:
        in_order = sorted(mistakes.values(), key=lambda each: each.line)
        raise ConfigError("\n".join(map(str, in_order)))
    return decoded


@dataclass(slots=True)
class _Decoder:
    """Decodes a whole file and collects the mistakes."""

    sections: Mapping[str, inspect.StructType]
    converters: Mapping[Any, Converter]
    hidden_paths: re.Pattern[str]
    mistakes: list[Mistake] = field(default_factory=list)

    def section(
        self,
        section: inspect.StructType,
        content: Mapping[str, Any],
        location: Location,
    ) -> Any:
        """Return the struct; ``_INVALID`` if a required value is invalid."""
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
        if any(
            each.required and values[each.name] is _INVALID for each in section.fields
        ):
            return _INVALID
        struct = section.cls(
            **{key: value for key, value in values.items() if value is not _INVALID}
        )
        if isinstance(struct, Section):
            self.mistakes.extend(struct.check(location))
        return struct

    def _key(
        self, key: inspect.Field, content: Mapping[str, Any], location: Location
    ) -> Any:
        if key.required and key.encode_name not in content:
            self.mistakes.append(location.error("is missing"))
            return _INVALID
        value = content.get(key.encode_name)
        if not isinstance(key.type, inspect.StructType):
            return self._value(key.type, value, location)
        # The keys of a missing section are missing too.
        known_mistakes = len(self.mistakes)
        section = self._value(key.type, {} if value is None else value, location)
        return section if len(self.mistakes) == known_mistakes else _INVALID

    def _value(self, kind: inspect.Type, value: Any, location: Location) -> Any:
        """Return the value converted to its type; ``_INVALID`` if that fails."""
        try:
            if isinstance(value, str) and _VARIABLE.search(value):
                raise ValueError(  # noqa: TRY301  # as for every value
                    "must be the value itself: variables such as ${NAME} are not "
                    "replaced"
                )
            return self._converted(kind, value, location)
        except Mistake as error:
            self.mistakes.append(error)
        except ValueError as error:
            rejected_value = self._rejected(kind, value, location)
            self.mistakes.append(location.error(f"{error}{rejected_value}"))
        return _INVALID

    def _converted(self, kind: inspect.Type, value: Any, location: Location) -> Any:  # noqa: C901, PLR0911, PLR0912  # one case for each type
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
                    items = tuple(
                        self._value(item, part, location[number])
                        for number, part in enumerate(value)
                    )
                    return _INVALID if _INVALID in items else items
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
                case inspect.DictType(value_type=each), dict():
                    return {
                        key: self._value(each, part, location / key)
                        for key, part in value.items()
                    }
                case inspect.BoolType(), bool():
                    return value
        raise ValueError(f"must be {_expected(kind)}")

    def _rejected(self, kind: inspect.Type, value: Any, location: Location) -> str:
        if value is None:
            return "; it is empty"
        # A value that replaces a section could be anything, a secret too.
        if any(_structs(kind)) and not isinstance(kind, inspect.UnionType):
            return ""
        if isinstance(value, (dict, list)):
            return ""
        return rejected(value, hidden=self._is_secret(location))

    def _is_secret(self, location: Location) -> bool:
        return self.hidden_paths.search(path_text(location.parts)) is not None

    def _unknown_key(
        self, location: Location, key: str, known_keys: list[str]
    ) -> Mistake:
        """Return an error with the right section, a similar key, or the known keys."""
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
        # An unquoted password with braces and a comma is parsed as keys.
        if self._is_secret(location) and not other_sections:
            return (location / key).error(
                f"unknown key (not shown here); {hint}", shown=location
            )
        return (location / key).error(f"unknown key; {hint}")


def _expected(kind: inspect.Type) -> str:
    """Return what a value must be, in YAML terms."""
    names = (
        " or ".join(map(str, each.values))
        if isinstance(each, inspect.LiteralType)
        else _EXPECTED[type(each)]
        for each in _alternatives(kind)
        if not isinstance(each, inspect.NoneType)
    )
    return " or ".join(names)


def rejected(value: Any, *, hidden: bool = False) -> str:
    """Return the end of an error: the value, unless it may be a secret."""
    text = repr(value)
    if hidden or "@" in text or "://" in text:
        return " (the value is not shown: it may hold a secret)"
    clipped = (
        text
        if len(text) <= _MAX_SHOWN_CHARACTERS
        else f"{text[:_MAX_SHOWN_CHARACTERS]}…"
    )
    return f", not {clipped}"
