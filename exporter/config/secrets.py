"""Credentials: they may change while the process runs, and are never shown."""

from __future__ import annotations

import html
import json
import re
import stat
import unicodedata
from base64 import b64encode
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote, quote_plus

import structlog

from ..clock import Clock, SystemClock
from .file_watch import FileSet, FileWatcher

log = structlog.get_logger()

HIDDEN = "<secret>"
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
"""RFC 7617 forbids them in user names and passwords."""

_MAX_SECRET_BYTES = 65_536
_SYSTEM_CLOCK = SystemClock()


class Secret(Protocol):
    """A value that must not be shown, and may change."""

    def reveal(self) -> str:
        """Return the current value."""


class LiteralSecret:
    """A secret written into the configuration or the environment."""

    def __init__(self, value: str) -> None:
        """Keep the value where no ``repr`` shows it."""
        self._value = value

    def __eq__(self, other: object) -> bool:
        """Compare the values."""
        return isinstance(other, LiteralSecret) and self._value == other._value

    def __hash__(self) -> int:
        """Return the same for equal secrets."""
        return hash(self._value)

    def reveal(self) -> str:
        """Return the value."""
        return self._value


class FileSecret:
    """A secret in a file, read again when the file changes.

    If the file becomes unreadable or empty, for example briefly while it is rewritten,
    the last good value stays in use. The start and the end of this are logged.
    """

    def __init__(self, path: Path, clock: Clock = _SYSTEM_CLOCK) -> None:
        """Read the file; raise OSError or ValueError if that fails."""
        self.path = path
        self._content = FileWatcher(self._read, self._report, clock, 0)

    def __eq__(self, other: object) -> bool:
        """Compare the paths: rotation does not make a secret different."""
        return isinstance(other, FileSecret) and self.path == other.path

    def __hash__(self) -> int:
        """Return the same for equal secrets."""
        return hash(self.path)

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    def reveal(self) -> str:
        """Return the file's content without surrounding invisible characters."""
        return self._content.current()

    def _report(self, error: str | None) -> None:
        file = str(self.path)
        if error is None:
            log.info("secret file reloaded", file=file)
        else:
            log.warning(
                "secret file could not be read, keeping the last secret",
                file=file,
                why=error,
            )

    def _read(self, files: FileSet, _: str | None) -> str:
        status = files.add(self.path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > _MAX_SECRET_BYTES:
            raise ValueError("it is too long for a secret")
        try:
            value = trimmed(self.path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8 text") from None
        if not value:
            raise ValueError("it is empty")
        if CONTROL_CHARACTERS.search(value):
            raise ValueError("it contains more than one line, or control characters")
        return value


def trimmed(text: str) -> str:
    """Return a text without surrounding white space, byte order marks and the like."""
    invisible = {c for c in text if c.isspace() or unicodedata.category(c) == "Cf"}
    return text.strip("".join(invisible))


class Credentials(NamedTuple):
    """A login with its password, or an e-mail address with its API key."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Hide the password."""
        return f"Credentials(username={self.username!r}, password={HIDDEN})"

    def password_forms(self) -> list[str]:
        """Return the encoded forms of the password in any text, longest first."""
        password = self.password
        forms = {
            password,
            html.escape(password),
            html.escape(password, quote=False),
            quote(password),
            quote(password, safe=""),
            quote_plus(password),
            json.dumps(password)[1:-1],
            json.dumps(password, ensure_ascii=False)[1:-1],
            repr(password)[1:-1],
            b64encode(password.encode()).decode(),
            b64encode(":".join(self).encode()).decode(),
        }
        return sorted(forms, key=len, reverse=True)
