"""Where in a configuration something stands: what every error about it begins with."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ConfigError
from .units import Duration


@dataclass(frozen=True, slots=True)
class Place:
    """A place; ``place / "key"`` and ``place[number]`` are places within it."""

    source: str
    """The file's name, or what else errors are to name."""
    folder: Path
    """Where relative paths begin."""
    path: str = ""

    def __truediv__(self, key: str) -> Place:
        """Return the place of a key."""
        return replace(self, path=f"{self.path}.{key}" if self.path else key)

    def __getitem__(self, number: int) -> Place:
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
