"""Credentials, which may change while the process runs and are never shown."""

from __future__ import annotations

import html
import json
import os
import re
import stat
import time
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote, quote_plus

import structlog

log = structlog.get_logger()

HIDDEN = "<secret>"
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
"""RFC 7617 forbids them in user names and passwords."""

_MAX_SECRET_BYTES = 65_536
_SETTLED_SECONDS = 2.0


class Secret(Protocol):
    """A value that must not be shown, and may change."""

    def reveal(self) -> str:
        """Return the current value."""


@dataclass(frozen=True, slots=True)
class LiteralSecret:
    """A secret written into the configuration or the environment."""

    value: str = field(repr=False)

    def reveal(self) -> str:
        """Return the value."""
        return self.value


@dataclass(slots=True)
class FileSecret:
    """A secret in a file, read again when the file changes.

    If the file cannot be read any more or is empty, as it is for a moment while it is
    being rewritten, the last good value stays in use; the log says when that begins
    and ends.
    """

    path: Path
    unix_time: Callable[[], float] = field(default=time.time, repr=False, compare=False)
    _value: str = field(default="", repr=False, compare=False)
    _last_status: os.stat_result | None = field(default=None, repr=False, compare=False)
    _unreadable: bool = field(default=False, repr=False, compare=False)

    def reveal(self) -> str:
        """Return the file's content without what is invisible around it."""
        try:
            self.load()
        except (OSError, ValueError) as error:
            if not self._unreadable:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                log.warning(
                    "secret not read, the last one stays in use",
                    file=str(self.path),
                    why=reason,
                )
            self._unreadable = True
            return self._value
        if self._unreadable:
            log.info("secret read again", file=str(self.path))
        self._unreadable = False
        return self._value

    def load(self) -> None:
        """Read the file if it changed; raise OSError or ValueError if that fails."""
        status = os.stat(self.path)  # noqa: PTH116  # three times faster than Path.stat
        if self._last_status is not None and _same_file(status, self._last_status):
            return
        self._value = self._read(status)
        # A file just written may be written again without a new time.
        age = self.unix_time() - max(status.st_mtime, status.st_ctime)
        self._last_status = status if age > _SETTLED_SECONDS else None

    def _read(self, status: os.stat_result) -> str:
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_size > _MAX_SECRET_BYTES:
            raise ValueError("it is too long for a secret")
        try:
            value = _trimmed(self.path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8 text") from None
        if not value:
            raise ValueError("it is empty")
        if CONTROL_CHARACTERS.search(value):
            raise ValueError("it holds more than one line, or control characters")
        return value


def _trimmed(text: str) -> str:
    """Return a text without surrounding white space, byte order marks and the like."""
    invisible = {c for c in text if c.isspace() or unicodedata.category(c) == "Cf"}
    return text.strip("".join(invisible))


def _same_file(one: os.stat_result, other: os.stat_result) -> bool:
    return (
        one.st_ino == other.st_ino
        and one.st_dev == other.st_dev
        and one.st_size == other.st_size
        and one.st_mtime_ns == other.st_mtime_ns
        and one.st_ctime_ns == other.st_ctime_ns
    )


class Credentials(NamedTuple):
    """A login with its password, or an e-mail address with its API key."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Hide the password."""
        return f"Credentials(username={self.username!r}, password={HIDDEN})"

    def password_forms(self) -> list[str]:
        """Return the encodings in which a text may hold the password, longest first."""
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


@dataclass(frozen=True, slots=True)
class Account:
    """The account that requests to a panel are made with."""

    username: str
    secret: Secret

    def credentials(self) -> Credentials:
        """Return the credentials with the current secret."""
        return Credentials(self.username, self.secret.reveal())
