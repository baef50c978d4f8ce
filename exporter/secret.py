"""Secrets that can change while the process runs, and never show themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

HIDDEN = "<secret>"


class Secret(Protocol):
    """Something that must not be shown, and may change."""

    def reveal(self) -> str:
        """Return the value of this moment."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A secret written into the configuration or the environment."""

    value: str = field(repr=False)

    def reveal(self) -> str:
        """Return the value."""
        return self.value


@dataclass(slots=True)
class FromFile:
    """A secret in a file, read again when the file changes.

    A file that cannot be read any more, or is empty (as it is for a moment while it
    is being rewritten), leaves the last good value in place.
    """

    path: Path
    _value: str = field(default="", repr=False, compare=False)
    _seen: tuple[int, int, int] | None = field(default=None, repr=False, compare=False)

    def reveal(self) -> str:
        """Return the file's content, trimmed of white space around it."""
        try:
            self.load()
        except (OSError, ValueError):
            return self._value
        return self._value

    def load(self) -> None:
        """Read the file if it changed; raise OSError or ValueError if that fails."""
        status = os.stat(self.path)  # noqa: PTH116  # three times faster than Path.stat
        seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        if seen == self._seen:
            return
        value = self.path.read_text(encoding="utf-8").strip()
        if not value:
            raise ValueError("the file is empty")
        self._value, self._seen = value, seen


class Credentials(NamedTuple):
    """A login, or an account's e-mail address, with its password or API key."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Hide the password wherever the pair is printed."""
        return f"Credentials(username={self.username!r}, password={HIDDEN})"


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks a panel."""

    username: str
    secret: Secret

    def credentials(self) -> Credentials:
        """Return the pair to send with a request made now."""
        return Credentials(self.username, self.secret.reveal())
