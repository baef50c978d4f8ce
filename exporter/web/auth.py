"""Access control: basic authentication, request limits and response headers.

It wraps the whole application, including unknown paths.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import math
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
import structlog
from aiohttp import web

from ..clock import Clock, SystemClock
from ..config.file_watch import FileSet, FileWatcher
from ..config.flags import PROGRAM
from ..errors import ConfigError
from .config_file import RateLimit, WebConfig, load

log = structlog.get_logger()

_MAX_PASSWORD_BYTES = 72
"""bcrypt ignores the rest, or raises an error, depending on its version."""
_MAX_REMEMBERED = 100
"""Limit on cached wrong passwords; right ones are as few as the users' hashes."""
_MAX_PENDING = 16
_DUMMY_SALT_AND_DIGEST = b"." * 22 + b"k5hjl7nZ8sPwUOmd/3B1UQdGw4bzPmS"
"""Part of the hash for unknown users; no password that matches it is known."""

Login = tuple[bytes, bytes]
"""User name and password."""


class TooManyChecks(Exception):
    """Too many password checks are pending."""


def basic_auth_login(authorization: str | None) -> Login | None:
    """Return the login in an ``Authorization: Basic`` header; None: there is none."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.encode(), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon else None


@dataclass(slots=True, eq=False)
class PasswordChecker:
    """Checks passwords in its own thread and caches the results."""

    verify: Callable[[bytes, bytes], bool] = bcrypt.checkpw
    """Returns whether a password (first argument) matches a hash (second)."""
    _digest_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _checks: dict[bytes, asyncio.Future[bool]] = field(default_factory=dict, repr=False)
    """Checks in progress and their cached results, oldest first."""
    _executor: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "bcrypt")
    )

    async def matches(self, users: Mapping[bytes, bytes], login: Login) -> bool:
        """Return whether the login belongs to one of the users.

        An unknown user takes as long as a wrong password. Raises TooManyChecks.
        """
        name, password = login[0], login[1][:_MAX_PASSWORD_BYTES]
        user_hash = users.get(name)
        hashed = _dummy_hash(users) if user_hash is None else user_hash
        key = self._cache_key(name, hashed, password)
        check = self._checks.get(key)
        if check is None or _has_failed(check):
            self._make_room()
            check = self._checks[key] = asyncio.get_running_loop().run_in_executor(
                self._executor, self._verify, hashed, password, user_hash is not None
            )
        # A disconnecting client must not cancel a check that others wait for.
        return await asyncio.shield(check)

    def close(self) -> None:
        """Cancel the pending checks and stop the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _make_room(self) -> None:
        """Forget the oldest wrong passwords, never right ones; raise TooManyChecks."""
        ended = {key: check for key, check in self._checks.items() if check.done()}
        if len(self._checks) - len(ended) >= _MAX_PENDING:
            raise TooManyChecks
        rejected = [
            key
            for key, check in ended.items()
            if _has_failed(check) or not check.result()
        ]
        for key in rejected[: 1 - _MAX_REMEMBERED]:
            del self._checks[key]

    def _verify(self, hashed: bytes, password: bytes, user_exists: bool) -> bool:  # noqa: FBT001  # through an executor
        # bcrypt raises ValueError for a hash with characters outside its alphabet.
        with suppress(ValueError):
            return self.verify(password, hashed) and user_exists
        return False

    def _cache_key(self, *parts: bytes) -> bytes:
        """Return a keyed digest, so that no password is kept in memory."""
        digest = hashlib.blake2b(key=self._digest_key)
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


def _has_failed(check: asyncio.Future[bool]) -> bool:
    """Return whether a check ended without a result."""
    return check.done() and (check.cancelled() or check.exception() is not None)


def _dummy_hash(users: Mapping[bytes, bytes]) -> bytes:
    """Return a hash for unknown users, with the highest cost of all known users."""
    cost = max(hashed[4:6] for hashed in users.values())
    return b"$2b$" + cost + b"$" + _DUMMY_SALT_AND_DIGEST


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_MAX_HEADERS_BYTES = 16_384
_MAX_BODY_BYTES = 65_536


@dataclass(slots=True, eq=False)
class TokenBucket:
    """Applies the rate limit, which may change."""

    clock: Clock = field(default_factory=SystemClock)
    _limit: RateLimit | None = None
    _tokens: float = 0.0
    _filled_at: float = 0.0
    """Monotonic time."""

    def admits(self, limit: RateLimit | None) -> bool:
        """Count a request; return whether it is within the limit."""
        if limit is None:
            return True
        now = self.clock.monotonic()
        if limit != self._limit:
            self._limit, self._tokens, self._filled_at = limit, limit.burst, now
        refilled = (now - self._filled_at) / limit.interval_seconds
        self._tokens = min(limit.burst, self._tokens + refilled)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


@dataclass(slots=True, eq=False)
class AccessControl:
    """Authentication, request limits and headers from the web configuration."""

    config: Callable[[], WebConfig] = WebConfig
    """Returns the web configuration in force."""
    password_checker: PasswordChecker = field(default_factory=PasswordChecker)
    probes: Mapping[str, Callable[[], bool]] = field(default_factory=dict)
    """Functions that return whether the exporter is healthy or ready, by path.

    Health checks send no password. They still get 503 from a failing probe, but no
    details.
    """
    bucket: TokenBucket = field(default_factory=TokenBucket)

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context for the next connection; None: plain HTTP."""
        return self.config().ssl_context

    async def add_headers(
        self, _: web.BaseRequest, response: web.StreamResponse
    ) -> None:
        """Add the headers of every response."""
        response.headers.update(self.config().headers)
        # aiohttp's default discloses the versions of Python and aiohttp.
        response.headers["Server"] = PROGRAM

    async def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """Return the response that rejects a request; None: the request is accepted."""
        config = self.config()
        users = config.users
        refusal = _size_refusal(request)
        if refusal is None:
            refusal = self._rate_refusal(request, config)
        if refusal is not None or not users:
            return refusal
        login = basic_auth_login(request.headers.get("Authorization"))
        try:
            if login is not None and await self.password_checker.matches(users, login):
                return None
        except TooManyChecks:
            return web.Response(
                status=503,
                text="Too many passwords to check.\n",
                headers={"Retry-After": "1"},
            )
        probe = self.probes.get(request.path)
        if probe is not None and not probe():
            return web.Response(status=503, text="Not healthy, or not ready.\n")
        return web.Response(
            status=401, text="Unauthorized.\n", headers={"WWW-Authenticate": "Basic"}
        )

    def _rate_refusal(
        self, request: web.BaseRequest, config: WebConfig
    ) -> web.Response | None:
        """Return the response to a request over the rate limit; None: it is accepted.

        Health checks do not count.
        """
        limit = config.rate_limit
        if limit is None or request.path in self.probes or self.bucket.admits(limit):
            return None
        seconds = math.ceil(limit.interval_seconds)
        return web.Response(
            status=429,
            text="Too many requests.\n",
            headers={"Retry-After": f"{seconds}"},
        )


def _size_refusal(request: web.BaseRequest) -> web.Response | None:
    """Return the response to a request that is too large; None: it is accepted."""
    refusal = None
    # Each header counts 32 bytes more, as in HTTP/2, because it becomes an object.
    headers_bytes = sum(
        len(name) + len(value) + 32 for name, value in request.raw_headers
    )
    if headers_bytes > _MAX_HEADERS_BYTES:
        refusal = web.Response(status=431, text="The headers are too long.\n")
    elif (request.content_length or 0) > _MAX_BODY_BYTES:
        refusal = web.Response(status=413, text="The body is too large.\n")
    if refusal is not None:
        refusal.force_close()
    return refusal


def watched_config(path: Path, clock: Clock) -> Callable[[], WebConfig]:
    """Return a function that returns the web configuration in force.

    Raises ConfigError if the file cannot be used. If it later becomes invalid or empty,
    or switches TLS on or off, the old configuration stays in force.
    """

    def make(files: FileSet, old: WebConfig | None) -> WebConfig:
        new = load(path, files)
        if old is not None:
            _check_change(path, old, new)
        return new

    return FileWatcher(make, _report_reload, clock).current


def _report_reload(error: str | None) -> None:
    if error is None:
        log.info("web configuration reloaded")
    else:
        log.error(
            "web configuration could not be reloaded, keeping the old one", error=error
        )


def _check_change(path: Path, old: WebConfig, new: WebConfig) -> None:
    """Raise ConfigError for a change that needs a restart."""
    if new.empty and not old.empty:
        # A file is briefly empty while it is rewritten.
        raise ConfigError(f"{path}: is empty: to do without TLS and users, restart")
    if (new.ssl_context is None) != (old.ssl_context is None):
        raise ConfigError(
            f"{path}: tls_server_config: TLS cannot be switched on or off while the "
            "exporter serves: restart it"
        )
