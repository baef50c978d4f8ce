"""What is said of a configuration that has not the keys and types that it should.

An error names the file, the place in it, the value and what would be right. Values
are shown only where no secret can be: a password put into the wrong place stays hidden.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ConfigError
from .units import Duration

_KINDS = {
    "str": "text in quotes",
    "int": "a whole number",
    "bool": "true or false",
    "array": "a list",
    "object": "a section with keys of its own",
}
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class ErrorMessages:
    """Speaks of one kind of file."""

    sections: Mapping[str, type[msgspec.Struct]]
    """What stands under each key that has keys of its own; ``""`` is the file."""
    delicate: re.Pattern[str]
    """Found in the places where secrets may stand."""
    example: str
    """A key at the top level."""
    choices: tuple[str, ...] = ()
    """The values of its one enumeration."""

    def problem(self, error: msgspec.ValidationError, content: Any) -> str:
        """Turn an error into place, value and what would be right."""
        message = str(error)
        placed = re.fullmatch(r"(.*) - at `\$\.?([^`]*)`", message, re.DOTALL)
        said, path = placed.groups() if placed else (message, "")
        unknown = re.fullmatch(r"Object contains unknown field `(.*)`", said, re.DOTALL)
        if unknown is not None:
            return self._unknown(path, unknown[1])
        missing = re.fullmatch(r"Object missing required field `(.*)`", said)
        if missing is not None:
            return f"{_join(path, missing[1])}: is missing"
        if said.startswith("Invalid enum value"):
            said = "must be " + " or ".join(self.choices)
        if not path:
            return f"must begin with keys, such as {self.example}"
        return f"{path}: {_right(said)}{self._shown(path, _value(content, path))}"

    def _unknown(self, path: str, key: str) -> str:
        """Say where the key belongs, or what it is taken for, or what there is."""
        own = self.sections[_name(path)].__struct_fields__
        others = [
            name
            for name, keys in self.sections.items()
            if key in keys.__struct_fields__
        ]
        close = difflib.get_close_matches(key, own, n=1)
        hint = f"here are {', '.join(own)}"
        if others:
            names = (f"under {name}" if name else "at the top level" for name in others)
            hint = f"it belongs {' or '.join(names)}; {hint}"
        elif close:
            hint = f"did you mean {close[0]}?"
        # A password in braces not quoted ends at a comma, and goes on as a key.
        if self.delicate.search(path) and not others:
            return f"{path}: unknown key (not shown here); {hint}"
        return f"{_join(path, key)}: unknown key; {hint}"

    def _shown(self, path: str, value: Any) -> str:
        if value is None:
            return "; it is empty"
        section = _name(path) in self.sections and "virtual_machines[" not in path
        if section or isinstance(value, (dict, list)):
            return ""
        return shown(value, hidden=self.delicate.search(path) is not None)


def shown(value: Any, *, hidden: bool = False) -> str:
    """Return the end of an error about a value: what it is, if that may be seen."""
    text = repr(value)
    if hidden or "@" in text or "://" in text:
        return ", not this value (not shown here)"
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return f", not {cut}"


def _right(said: str) -> str:
    """Return what the value must be, in our words."""
    expected = re.match(r"Expected `([^`]*)`", said)
    if expected is None:
        return said
    kinds = [kind for kind in expected[1].split(" | ") if kind != "null"]
    return "must be " + " or ".join(_KINDS.get(kind, kind) for kind in kinds)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _name(path: str) -> str:
    """Return the last key of a path."""
    return re.sub(r"\[\d+\]", "", path).rpartition(".")[2]


def _value(content: Any, path: str) -> Any:
    for step in re.findall(r"[^.\[\]]+", path):
        content = content[int(step)] if isinstance(content, list) else content[step]
    return content


@dataclass(frozen=True, slots=True)
class Location:
    """A place; ``place / "key"`` and ``place[number]`` are places within it."""

    source: str
    """The file's name, or what else errors are to name."""
    folder: Path
    """Where relative paths begin."""
    path: str = ""

    def __truediv__(self, key: str) -> Location:
        """Return the place of a key."""
        return replace(self, path=f"{self.path}.{key}" if self.path else key)

    def __getitem__(self, number: int) -> Location:
        """Return the place of an item of a list."""
        return replace(self, path=f"{self.path}[{number}]")

    def __str__(self) -> str:
        """Return the path within the source."""
        return self.path

    def error(self, problem: str) -> ConfigError:
        """Return an error that says what is wrong here."""
        return ConfigError(f"{self.source}: {self.path}: {problem}")

    def unreadable(self, file: Path, error: OSError | ValueError) -> ConfigError:
        """Return an error about a file that is named here and cannot be read."""
        why = error.strerror if isinstance(error, OSError) else error
        if "\0" in str(file):
            why = "no path holds a null byte"  # Python's versions disagree on words
        if os.path.lexists(file):
            return self.error(f"{file} cannot be read: {why}")
        # What is no file's name may be the secret itself, put into the wrong key.
        return self.error(
            f"names no file that can be read (not shown here): {why}; a relative path "
            f"begins at {self.folder}"
        )

    def check_shortest(self, duration: Duration | None) -> None:
        """Refuse what is given here, if anything is, when it is under a second."""
        if duration is not None and duration < 1:
            raise self.error(f"must be at least 1s, not {duration}")
