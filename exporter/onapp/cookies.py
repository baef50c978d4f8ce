"""The cookies of one panel: few, sent back unchanged, and dropped when rejected.

A panel opens a session for every request without its cookie. Load balancers and portals
in front of it set cookies too, and may later reject the cookies that they set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple

from ..clock import Clock
from ..config.secrets import Credentials
from ..errors import (
    ProxyRefused,
    Redirected,
    RequestError,
    Unauthorized,
    UnexpectedStatus,
)

_MAX_COOKIES = 8
_MAX_BYTES = 4096
"""Maximum of all cookies together: servers limit a request's headers to 8 kB."""
_REPEATED_STATUSES = (400, 413, 431)
"""Statuses for a request whose headers are too long or cannot be parsed."""
_PAIR = re.compile(r"[!-:<>-~]+=[ -:<-~]*")
"""A cookie that can be sent back unchanged."""


@lru_cache(maxsize=8)  # many responses have the same second
def http_date(value: str | None) -> float | None:
    """Return the Unix time of a header's date; None if there is none.

    Dates are UTC, even if they have no zone (RFC 9110).
    """
    try:
        if value is None:
            return None
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


class Cookie(NamedTuple):
    """One cookie of a ``Set-Cookie`` header."""

    name: str
    value: str
    attributes: dict[str, str]
    """Attributes by their name in lower case."""

    def expires_at(self, now: float) -> float:
        """Return the Unix time from which it must not be sent."""
        max_age = self.attributes.get("max-age", "")
        if re.fullmatch(r"-?[0-9]{1,15}", max_age):
            return now + int(max_age)
        expires_at = http_date(self.attributes.get("expires"))
        return math.inf if expires_at is None else expires_at

    def is_for(self, base_path: str, *, https: bool) -> bool:
        """Return whether it may be sent with every request below ``base_path``."""
        path = self.attributes.get("path", "")
        if not path.startswith("/"):
            path = "/"
        covers = f"{base_path.rstrip('/')}/".startswith(f"{path.rstrip('/')}/")
        return covers and (https or "secure" not in self.attributes)


def parse_cookies(headers: Iterable[str]) -> Iterator[Cookie]:
    """Yield the cookies of ``Set-Cookie`` headers that can be sent back unchanged."""
    for header in headers:
        pair, *rest = header.split(";")
        name, equals, value = (part.strip() for part in pair.partition("="))
        attributes = (part.partition("=") for part in rest)
        if _PAIR.fullmatch(f"{name}{equals}{value}"):
            yield Cookie(
                name, value, {k.strip().lower(): v.strip() for k, _, v in attributes}
            )


@dataclass(slots=True, eq=False)
class Cookies:
    """The cookies that are sent to one panel."""

    base_path: str
    https: bool
    interval_seconds: float
    """How long no cookies are kept after some were rejected."""
    clock: Clock
    _kept: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)
    """Value and expiry (Unix time) by name; the one set last comes last."""
    _credentials: Credentials | None = field(default=None, repr=False)
    """The credentials of the requests that received the cookies."""
    _good_at: float = -math.inf
    """Monotonic time of the last successful request with these cookies."""
    _closed_until: float = -math.inf

    def header(self, credentials: Credentials) -> str | None:
        """Return the value of the ``Cookie`` header; None if there is none to send."""
        if credentials != self._credentials:
            return None
        now = self.clock.time()
        kept = ((name, value) for name, (value, end) in self._kept.items() if end > now)
        return "; ".join(f"{name}={value}" for name, value in kept) or None

    def record_good(
        self, credentials: Credentials, set_cookie: Iterable[str], *, sent: bool
    ) -> None:
        """Keep the cookies of a successful answer; ``sent``: the request had some."""
        now = self.clock.monotonic()
        if now < self._closed_until:
            return
        if credentials != self._credentials:
            self.clear()
            self._credentials = credentials
        elif sent:
            self._good_at = now
        for cookie in parse_cookies(set_cookie):
            if cookie.is_for(self.base_path, https=self.https):
                self._keep(cookie)

    def reject(self, error: RequestError) -> bool:
        """Drop the cookies of a failed request; return whether to repeat it.

        Errors that may have other causes than the cookies count only if no request with
        these cookies succeeded in the last interval.
        """
        now = self.clock.monotonic()
        repeatable = isinstance(error, Redirected) or (
            isinstance(error, UnexpectedStatus) and error.status in _REPEATED_STATUSES
        )
        suspected = repeatable or isinstance(error, Unauthorized)
        good_lately = now - self._good_at < self.interval_seconds
        if isinstance(error, ProxyRefused) or (good_lately and not suspected):
            return False
        first = now >= self._closed_until  # of concurrent requests
        self.clear()
        self._closed_until = now + self.interval_seconds
        return repeatable and first

    def clear(self) -> None:
        """Drop all cookies."""
        self._kept.clear()
        self._credentials, self._good_at = None, -math.inf

    def values(self) -> Iterator[str]:
        """Return the values of all cookies, which are secrets."""
        return (value for value, _ in self._kept.values())

    def _keep(self, cookie: Cookie) -> None:
        self._kept.pop(cookie.name, None)
        now = self.clock.time()
        expires_at = cookie.expires_at(now)
        if expires_at > now and _length(cookie.name, cookie.value) <= _MAX_BYTES:
            self._kept[cookie.name] = cookie.value, expires_at
        while len(self._kept) > _MAX_COOKIES or self._length() > _MAX_BYTES:
            del self._kept[next(iter(self._kept))]

    def _length(self) -> int:
        return sum(_length(name, value) for name, (value, _) in self._kept.items())


def _length(name: str, value: str) -> int:
    return len(f"{name}={value}; ")
