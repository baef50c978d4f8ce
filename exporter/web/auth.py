"""Who is let in, and what every answer carries: the web configuration at work.

It stands before the whole application: no path, known or not, is answered without it.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from ..clock import Clock
from ..config.file_watch import Files, Vigil
from ..config.flags import PROGRAM
from ..errors import ConfigError
from .basic_auth import Busy, Passwords, login
from .config_file import WebConfig, load

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_LONGEST_HEADERS_BYTES = 16_384
_LARGEST_BODY_BYTES = 65_536
_RETRY_SECONDS = "1"
_WHAT = "web configuration"


def _open() -> WebConfig:
    return WebConfig()


@dataclass(slots=True, eq=False)
class Access:
    """Guards the front doors."""

    config: Callable[[], WebConfig] = _open
    """Returns the web configuration of this moment."""
    passwords: Passwords = field(default_factory=Passwords)

    @property
    def context(self) -> ssl.SSLContext | None:
        """What to answer the next connection with; None: plain HTTP."""
        return self.config().context

    def dress(self, response: web.StreamResponse) -> None:
        """Put on an answer what every one carries."""
        response.headers.update(self.config().headers)
        # Which libraries answer, in which version, is nobody's business.
        response.headers["Server"] = PROGRAM

    def guarded(self, handler: Handler) -> Handler:
        """Return a handler that answers those alone who may ask."""

        async def guard(request: web.BaseRequest) -> web.StreamResponse:
            refusal = _too_much(request)
            if refusal is None:
                refusal = await self._refusal(request)
            if refusal is None:
                return await handler(request)
            self.dress(refusal)
            return refusal

        return guard

    async def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        users = self.config().users
        if not users:
            return None
        given = login(request.headers.get("Authorization"))
        try:
            if given is not None and await self.passwords.match(users, given):
                return None
        except Busy:
            return web.Response(
                status=503,
                text="Too many passwords to check.\n",
                headers={"Retry-After": _RETRY_SECONDS},
            )
        return web.Response(
            status=401, text="Unauthorized.\n", headers={"WWW-Authenticate": "Basic"}
        )


def _too_much(request: web.BaseRequest) -> web.Response | None:
    """Return an answer to a request that asks for more than any page needs."""
    refusal = None
    # Each counts for a little more than its letters, as in HTTP/2: it is an object.
    length = sum(len(name) + len(value) + 32 for name, value in request.raw_headers)
    if length > _LONGEST_HEADERS_BYTES:
        refusal = web.Response(status=431, text="The headers are too long.\n")
    elif (request.content_length or 0) > _LARGEST_BODY_BYTES:
        refusal = web.Response(status=413, text="The body is too large.\n")
    if refusal is not None:
        refusal.force_close()
    return refusal


def watching(path: Path, clock: Clock) -> Callable[[], WebConfig]:
    """Return what returns the web configuration of each moment.

    Raises ConfigError when the file cannot be used. One that turns bad later leaves
    the old one in place, and so does one that turns empty, or TLS on or off.
    """

    def make(files: Files, old: WebConfig | None) -> WebConfig:
        new = load(path, files)
        if old is not None:
            _check_change(path, old, new)
        return new

    return Vigil(_WHAT, make, clock).current


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
