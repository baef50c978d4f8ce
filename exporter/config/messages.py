"""Error messages about keys and values of a configuration file.

A message names the file, the key, the value and what would be right. Values are shown
only where no secret can be: a password under the wrong key stays hidden.
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

_TYPE_NAMES = {
    "str": "text in quotes",
    "int": "a whole number",
    "bool": "true or false",
    "array": "a list",
    "object": "a section with keys of its own",
}
_MAX_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class ErrorMessages:
    """Turns msgspec's validation errors into messages about one kind of file."""

    sections: Mapping[str, type[msgspec.Struct]]
    """The keys of each section; ``""`` is the file itself."""
    secret_paths: re.Pattern[str]
    """Matches the paths under which values may be secrets."""
    example_key: str
    """A key at the top level."""
    choices: tuple[str, ...] = ()
    """The values of the only enumeration in the file."""

    def describe(self, error: msgspec.ValidationError, content: Any) -> str:
        """Return the key, what is right for it, and the value given."""
        message = str(error)
        with_path = re.fullmatch(r"(.*) - at `\$\.?([^`]*)`", message, re.DOTALL)
        problem, path = with_path.groups() if with_path else (message, "")
        unknown = re.fullmatch(
            r"Object contains unknown field `(.*)`", problem, re.DOTALL
        )
        if unknown is not None:
            return self._unknown_key(path, unknown[1])
        missing = re.fullmatch(r"Object missing required field `(.*)`", problem)
        if missing is not None:
            return f"{_join_path(path, missing[1])}: is missing"
        if problem.startswith("Invalid enum value"):
            problem = "must be " + " or ".join(self.choices)
        if not path:
            return f"must begin with keys, such as {self.example_key}"
        value = _value_at(content, path)
        return f"{path}: {_requirement(problem)}{self._rejected(path, value)}"

    def _unknown_key(self, path: str, key: str) -> str:
        """Return where the key belongs, a similar key, or the keys that exist."""
        known_keys = self.sections[_last_key(path)].__struct_fields__
        other_sections = [
            name
            for name, keys in self.sections.items()
            if key in keys.__struct_fields__
        ]
        close_matches = difflib.get_close_matches(key, known_keys, n=1)
        hint = f"here are {', '.join(known_keys)}"
        if other_sections:
            names = (
                f"under {name}" if name else "at the top level"
                for name in other_sections
            )
            hint = f"it belongs {' or '.join(names)}; {hint}"
        elif close_matches:
            hint = f"did you mean {close_matches[0]}?"
        # A password with braces and a comma, if not quoted, is parsed as keys.
        if self.secret_paths.search(path) and not other_sections:
            return f"{path}: unknown key (not shown here); {hint}"
        return f"{_join_path(path, key)}: unknown key; {hint}"

    def _rejected(self, path: str, value: Any) -> str:
        if value is None:
            return "; it is empty"
        is_section = (
            _last_key(path) in self.sections and "virtual_machines[" not in path
        )
        if is_section or isinstance(value, (dict, list)):
            return ""
        return rejected(value, hidden=self.secret_paths.search(path) is not None)


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


def _requirement(problem: str) -> str:
    """Return what the value must be, in the words of YAML instead of msgspec's."""
    expected = re.match(r"Expected `([^`]*)`", problem)
    if expected is None:
        return problem
    types = [name for name in expected[1].split(" | ") if name != "null"]
    return "must be " + " or ".join(_TYPE_NAMES.get(name, name) for name in types)


def _join_path(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _last_key(path: str) -> str:
    """Return the last key of a path, without indices."""
    return re.sub(r"\[\d+\]", "", path).rpartition(".")[2]


def _value_at(content: Any, path: str) -> Any:
    for step in re.findall(r"[^.\[\]]+", path):
        content = content[int(step)] if isinstance(content, list) else content[step]
    return content


@dataclass(frozen=True, slots=True)
class Location:
    """Where a value is: ``location / "key"`` and ``location[number]`` are within it."""

    source: str
    """What errors name: the file, or the environment."""
    folder: Path
    """Where relative paths begin."""
    path: str = ""

    def __truediv__(self, key: str) -> Location:
        """Return the location of a key."""
        return replace(self, path=f"{self.path}.{key}" if self.path else key)

    def __getitem__(self, number: int) -> Location:
        """Return the location of an item of a list."""
        return replace(self, path=f"{self.path}[{number}]")

    def __str__(self) -> str:
        """Return the path within the source."""
        return self.path

    def error(self, problem: str) -> ConfigError:
        """Return an error about the value at this location."""
        return ConfigError(f"{self.source}: {self.path}: {problem}")

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

    def check_duration(self, duration: Duration | None) -> None:
        """Raise ConfigError if a duration is given and shorter than a second."""
        if duration is not None and duration < 1:
            raise self.error(f"must be at least 1s, not {duration}")
