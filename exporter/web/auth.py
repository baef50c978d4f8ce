"""Who is let in, and what every answer carries: the web configuration at work.

It stands before the whole application: no path, known or not, is answered without it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import bcrypt
from aiohttp import web

from ..clock import Clock
from ..config.file_watch import FileSet, FileWatcher
from ..config.flags import PROGRAM
from ..errors import ConfigError
from .config_file import WebConfig, load

_MAX_PASSWORD_BYTES = 72
"""bcrypt looks at no more, and its libraries disagree on whether to say so."""
_MAX_REMEMBERED = 100
_MAX_PENDING = 16
_DUMMY_SALT_AND_DIGEST = b"." * 22 + b"k5hjl7nZ8sPwUOmd/3B1UQdGw4bzPmS"
"""Salt and digest for users that do not exist; no password is known for them."""

Login = tuple[bytes, bytes]
"""A name and a password."""


class TooManyChecks(Exception):
    """Too many passwords wait to be checked."""


def basic_auth_login(authorization: str | None) -> Login | None:
    """Return what a header ``Authorization: Basic`` says, or None."""
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
    """Checks passwords, and remembers what came of it."""

    verify: Callable[[bytes, bytes], bool] = bcrypt.checkpw
    """Tells whether a password has a hash."""
    _digest_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _accepted: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    # Apart, so that no flood of wrong passwords drives the right ones out.
    _rejected: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    _pending: dict[bytes, asyncio.Future[bool]] = field(default_factory=dict)
    _executor: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "bcrypt")
    )

    async def matches(self, users: Mapping[bytes, bytes], login: Login) -> bool:
        """Tell whether this is the password of one of the users.

        A user that does not exist costs what one with a wrong password costs. Raises
        Busy when too many wait already.
        """
        name, password = login
        user_hash = users.get(name)
        hashed = _dummy_hash(users) if user_hash is None else user_hash
        key = self._cache_key(name, hashed, password)
        for results, matched in ((self._accepted, True), (self._rejected, False)):
            if key in results:
                results.move_to_end(key)
                return matched
        pending = self._pending.get(key)
        if pending is None:
            if len(self._pending) >= _MAX_PENDING:
                raise TooManyChecks
            pending = asyncio.get_running_loop().run_in_executor(
                self._executor, self._verify, hashed, password, user_hash is not None
            )
            self._pending[key] = pending
            pending.add_done_callback(partial(self._store_result, key))
        # Whoever hangs up ends no other's check.
        return await asyncio.shield(pending)

    def close(self) -> None:
        """Check no more."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _store_result(self, key: bytes, check: asyncio.Future[bool]) -> None:
        """Remember what came of a check in the moment in which it ends."""
        del self._pending[key]
        if not check.cancelled() and check.exception() is None:
            _remember(self._accepted if check.result() else self._rejected, key)

    def _verify(self, hashed: bytes, password: bytes, user_exists: bool) -> bool:  # noqa: FBT001  # through an executor
        # A hash with letters that bcrypt has not is no password's.
        with suppress(ValueError):
            matched = self.verify(password[:_MAX_PASSWORD_BYTES], hashed)
            return matched and user_exists
        return False

    def _cache_key(self, *parts: bytes) -> bytes:
        """Return what to remember instead of a password."""
        digest = hashlib.blake2b(key=self._digest_key)
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


def _dummy_hash(users: Mapping[bytes, bytes]) -> bytes:
    """Return nobody's hash, as costly as the users' own."""
    cost = max(hashed[4:6] for hashed in users.values())
    return b"$2b$" + cost + b"$" + _DUMMY_SALT_AND_DIGEST


def _remember(results: OrderedDict[bytes, None], key: bytes) -> None:
    results[key] = None
    while len(results) > _MAX_REMEMBERED:
        results.popitem(last=False)


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_MAX_HEADERS_BYTES = 16_384
_MAX_BODY_BYTES = 65_536
_RETRY_SECONDS = "1"
_SUBJECT = "web configuration"


def _empty_config() -> WebConfig:
    return WebConfig()


@dataclass(slots=True, eq=False)
class AccessControl:
    """Guards the front doors."""

    config: Callable[[], WebConfig] = _empty_config
    """Returns the web configuration of this moment."""
    password_checker: PasswordChecker = field(default_factory=PasswordChecker)

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """What to answer the next connection with; None: plain HTTP."""
        return self.config().ssl_context

    def add_headers(self, response: web.StreamResponse) -> None:
        """Put on an answer what every one carries."""
        response.headers.update(self.config().headers)
        # Which libraries answer, in which version, is nobody's business.
        response.headers["Server"] = PROGRAM

    def protected(self, handler: Handler) -> Handler:
        """Return a handler that answers those alone who may ask."""

        async def protected_handler(request: web.BaseRequest) -> web.StreamResponse:
            refusal = _size_refusal(request)
            if refusal is None:
                refusal = await self._refusal(request)
            if refusal is None:
                return await handler(request)
            self.add_headers(refusal)
            return refusal

        return protected_handler

    async def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        users = self.config().users
        if not users:
            return None
        login = basic_auth_login(request.headers.get("Authorization"))
        try:
            if login is not None and await self.password_checker.matches(users, login):
                return None
        except TooManyChecks:
            return web.Response(
                status=503,
                text="Too many passwords to check.\n",
                headers={"Retry-After": _RETRY_SECONDS},
            )
        return web.Response(
            status=401, text="Unauthorized.\n", headers={"WWW-Authenticate": "Basic"}
        )


def _size_refusal(request: web.BaseRequest) -> web.Response | None:
    """Return an answer to a request that asks for more than any page needs."""
    refusal = None
    # Each counts for a little more than its letters, as in HTTP/2: it is an object.
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
    """Return what returns the web configuration of each moment.

    Raises ConfigError when the file cannot be used. One that turns bad later leaves
    the old one in place, and so does one that turns empty, or TLS on or off.
    """

    def make(files: FileSet, old: WebConfig | None) -> WebConfig:
        new = load(path, files)
        if old is not None:
            _check_change(path, old, new)
        return new

    return FileWatcher(_SUBJECT, make, clock).current


def _check_change(path: Path, old: WebConfig, new: WebConfig) -> None:
    """Refuse what must not happen while it serves."""
    if new.empty and not old.empty:
        # As a file is for a moment while it is being written.
        raise ConfigError(f"{path}: is empty: to do without TLS and users, restart")
    if (new.tls is None) != (old.tls is None):
        raise ConfigError(
            f"{path}: tls_server_config: TLS cannot be switched on or off while the "
            "exporter serves: restart it"
        )
