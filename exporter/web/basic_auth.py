"""Names and passwords against bcrypt hashes, without a scrape that pays for it.

bcrypt is slow on purpose. It runs in a thread of its own, once for each pair of name
and password; those who wait for it hold up nobody whose password is known already.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import bcrypt

_LONGEST_PASSWORD_BYTES = 72
"""bcrypt looks at no more, and its libraries disagree on whether to say so."""
_MOST_REMEMBERED = 100
_MOST_WAITING = 16
_NOBODYS = b"." * 22 + b"k5hjl7nZ8sPwUOmd/3B1UQdGw4bzPmS"
"""Salt and digest for users that do not exist; no password is known for them."""

Login = tuple[bytes, bytes]
"""A name and a password."""


class Busy(Exception):
    """Too many passwords wait to be checked."""


def login(authorization: str | None) -> Login | None:
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
class Passwords:
    """Checks passwords, and remembers what came of it."""

    check: Callable[[bytes, bytes], bool] = bcrypt.checkpw
    """Tells whether a password has a hash."""
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _good: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    # Apart, so that no flood of wrong passwords drives the right ones out.
    _bad: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    _checking: dict[bytes, asyncio.Future[bool]] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "bcrypt")
    )

    async def match(self, users: Mapping[bytes, bytes], given: Login) -> bool:
        """Tell whether this is the password of one of the users.

        A user that does not exist costs what one with a wrong password costs. Raises
        Busy when too many wait already.
        """
        name, password = given
        known = users.get(name)
        hashed = _like(users) if known is None else known
        key = self._key(name, hashed, password)
        for remembered, answer in ((self._good, True), (self._bad, False)):
            if key in remembered:
                remembered.move_to_end(key)
                return answer
        checking = self._checking.get(key)
        if checking is None:
            if len(self._checking) >= _MOST_WAITING:
                raise Busy
            checking = asyncio.get_running_loop().run_in_executor(
                self._pool, self._check, hashed, password, known is not None
            )
            self._checking[key] = checking
            checking.add_done_callback(partial(self._settle, key))
        # Whoever hangs up ends no other's check.
        return await asyncio.shield(checking)

    def close(self) -> None:
        """Check no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _settle(self, key: bytes, checking: asyncio.Future[bool]) -> None:
        """Remember what came of a check in the moment in which it ends."""
        del self._checking[key]
        if not checking.cancelled() and checking.exception() is None:
            _remember(self._good if checking.result() else self._bad, key)

    def _check(self, hashed: bytes, password: bytes, known: bool) -> bool:  # noqa: FBT001  # through an executor
        # A hash with letters that bcrypt has not is no password's.
        with suppress(ValueError):
            matched = self.check(password[:_LONGEST_PASSWORD_BYTES], hashed)
            return matched and known
        return False

    def _key(self, *parts: bytes) -> bytes:
        """Return what to remember instead of a password."""
        digest = hashlib.blake2b(key=self._secret)
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


def _like(users: Mapping[bytes, bytes]) -> bytes:
    """Return nobody's hash, as costly as the users' own."""
    cost = max(hashed[4:6] for hashed in users.values())
    return b"$2b$" + cost + b"$" + _NOBODYS


def _remember(results: OrderedDict[bytes, None], key: bytes) -> None:
    results[key] = None
    while len(results) > _MOST_REMEMBERED:
        results.popitem(last=False)
