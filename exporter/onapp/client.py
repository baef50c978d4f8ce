"""The HTTP client of one panel: authentication, time-out, size limit, errors.

The API, as documented and recorded, uses HTTP Basic on every request, a session cookie,
ETags, and errors in three JSON shapes. If a reused connection turns out to be closed,
aiohttp retries a GET once, but possibly on another closed connection.
"""

from __future__ import annotations

import re
import ssl
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

import aiohttp
import yarl
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDictProxy

from ..clock import Clock, Heartbeat
from ..config.schema import BodyFormat, Panel
from ..config.secrets import Credentials
from ..errors import (
    ConfigError,
    RequestError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Undecodable,
)
from .cookies import Cookies, http_date, parse_cookies
from .error_body import error_text, one_line
from .http_errors import (
    MAX_HEADER_BYTES,
    Route,
    connection_error,
    integer,
    status_error,
)

_MEDIA_TYPES = {
    "json": ("application/json", "text/json"),
    "xml": ("application/xml", "text/xml"),
}
_PendingResponse: TypeAlias = Awaitable[aiohttp.ClientResponse]
_ETAG = re.compile(r'(?:W/)?"[!#-~]{0,512}"')
_MAX_ERROR_BYTES = 65_536
_SILENT_STATUSES = (401, 407)
"""Statuses whose body is not quoted: the cause is known, and it may quote
credentials."""
_FUTURE_SECONDS = 300.0
"""How far a date may be ahead of the panel's clock: its hosts have clocks too."""
_MIN_SESSION_LENGTH = 8
"""A shorter cookie is not a session secret, and may be a common word."""


class RequestObserver(Protocol):
    """Observer of the requests to a panel and their outcomes."""

    def observe_response(self, resource: str, status: int, seconds: float) -> None:
        """Record the HTTP status of a response, and the seconds until it was read."""

    def observe_error(self, resource: str, reason: str) -> None:
        """Record a failed request; ``reason`` is that of the RequestError."""

    def observe_skipped_rows(self, resource: str, rows: int) -> None:
        """Record a number of rows that cannot be used."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response of a panel, or HTTP 304."""

    body: bytes | None
    """None: HTTP 304; the response with the same ETag is still valid."""
    etag: str | None
    limit: int | None
    """``X-Limit``: the panel's number of rows per page."""
    total: int | None
    """``X-Total``: the number of rows on all pages."""
    has_paging_headers: bool
    """Whether there was any paging header; without one the list is complete."""
    skew_seconds: float | None
    """The panel's clock minus the local one."""
    set_cookie: tuple[str, ...] = field(repr=False)
    """The ``Set-Cookie`` headers."""
    sent_cookies: bool
    """Whether the request carried cookies."""
    latest_date: float
    """Later dates are ignored; based on the panel's clock, or ours if it is unknown."""


class Sessions(NamedTuple):
    """The HTTP sessions of one panel; neither keeps cookies."""

    keep_alive: aiohttp.ClientSession
    """Reuses connections."""
    single_use: aiohttp.ClientSession
    """Opens a new connection for each request."""

    async def close(self) -> None:
        """Close all connections."""
        await self.keep_alive.close()
        await self.single_use.close()


@dataclass(frozen=True, slots=True)
class Client:
    """HTTP client of one panel for GET requests; the credentials go nowhere else."""

    sessions: Sessions
    url: yarl.URL
    body_format: BodyFormat
    timeout_seconds: float
    max_body_bytes: int
    observer: RequestObserver
    clock: Clock
    heartbeat: Heartbeat
    cookies: Cookies
    proxy: Callable[[], yarl.URL | None] = field(default=lambda: None, repr=False)
    """Returns the proxy's address, which may contain a password that changes."""
    server_name: str | None = None
    """The name that the panel's certificate must have; None: the host of ``url``."""

    async def get(
        self,
        path: str,
        credentials: Credentials,
        *,
        resource: str,
        query: Mapping[str, str] | None = None,
        etag: str | None = None,
    ) -> Answer:
        """Return the answer to ``GET path``; raises only RequestError.

        If the cookies were rejected, the request is repeated once without them; after
        401 the circuit breaker decides whether to repeat it.
        """
        headers = self._headers(credentials, etag)
        cookies = self.cookies.header(credentials)
        if cookies is not None:
            try:
                return await self._get(
                    path, {**headers, "Cookie": cookies}, credentials, resource, query
                )
            except RequestError as error:
                if isinstance(error, Unauthorized):
                    error.with_cookies = True
                if not self.cookies.reject(error):
                    raise
        return await self._get(path, headers, credentials, resource, query)

    async def _get(
        self,
        path: str,
        headers: Mapping[str, str],
        credentials: Credentials,
        resource: str,
        query: Mapping[str, str] | None,
    ) -> Answer:
        """Send a request with a time-out; translate the errors of the HTTP library."""
        seconds = self.timeout_seconds
        try:
            with self.heartbeat.waiting(seconds):
                async with self.clock.timeout(seconds):
                    return await self._request(
                        path, headers, credentials, resource, query
                    )
        except TimeoutError:
            raise TimedOut(f"no whole answer in {seconds:g} s") from None
        except (OSError, aiohttp.ClientError) as error:
            raise connection_error(error, self._route()) from None

    def _route(self) -> Route:
        proxy = self.proxy()
        return Route(self.url, proxy, self.server_name)

    async def _request(
        self,
        path: str,
        headers: Mapping[str, str],
        credentials: Credentials,
        resource: str,
        query: Mapping[str, str] | None,
    ) -> Answer:
        sent_at, started = self.clock.time(), time.perf_counter()
        async with await self._send(path, headers, query) as response:
            received_at = self.clock.time()
            try:
                body = await self._read_body(response, credentials)
            finally:
                seconds = time.perf_counter() - started
                self.observer.observe_response(resource, response.status, seconds)
        skew_seconds = _skew_seconds(response.headers, (sent_at + received_at) / 2)
        return Answer(
            body=body,
            etag=_etag(response.headers),
            limit=integer(response.headers, "X-Limit"),
            total=integer(response.headers, "X-Total"),
            has_paging_headers=any(
                f"X-{key}" in response.headers for key in _PAGING_HEADERS
            ),
            skew_seconds=skew_seconds,
            latest_date=received_at + (skew_seconds or 0.0) + _FUTURE_SECONDS,
            set_cookie=_set_cookie(response),
            sent_cookies="Cookie" in headers,
        )

    async def _send(
        self, path: str, headers: Mapping[str, str], query: Mapping[str, str] | None
    ) -> aiohttp.ClientResponse:
        """Send a request; retry on a new connection if a reused one was closed."""

        def send(session: aiohttp.ClientSession) -> _PendingResponse:
            return session.get(
                self.url / f"{path}.{self.body_format}",
                params=query,
                headers=headers,
                allow_redirects=False,
                proxy=_with_utf8_account(self.proxy()),
                server_hostname=self.server_name,
            )

        _opened.set(False)
        try:
            return await send(self.sessions.keep_alive)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if _opened.get():
                raise
        return await send(self.sessions.single_use)

    def _headers(self, credentials: Credentials, etag: str | None) -> dict[str, str]:
        # aiohttp's auth= would encode as Latin-1; RFC 7617 lets a server require UTF-8.
        token = b64encode(":".join(credentials).encode()).decode()
        headers = {
            "Accept": _MEDIA_TYPES[self.body_format][0],
            "Authorization": f"Basic {token}",
        }
        return headers if etag is None else {**headers, "If-None-Match": etag}

    async def _read_body(
        self, response: aiohttp.ClientResponse, credentials: Credentials
    ) -> bytes | None:
        """Return the body if status, type and size are valid; None for 304."""
        if response.status == 304:
            return None
        if not 200 <= response.status < 300:
            error_body = b""
            if response.status not in _SILENT_STATUSES:
                error_body = await _read_at_most(response, _MAX_ERROR_BYTES)
            text = self._error_text(response, error_body, credentials)
            raise status_error(response, error_body, text, self._route())
        if response.content_type not in _MEDIA_TYPES[self.body_format]:
            content_type = one_line(response.content_type)
            raise Undecodable(
                f"answered {content_type}, not {_MEDIA_TYPES[self.body_format][0]}"
            )
        body = await _read_at_most(response, self.max_body_bytes + 1)
        if len(body) > self.max_body_bytes:
            raise TooLarge(f"longer than {self.max_body_bytes} (poll.max_body)")
        return body

    def _error_text(
        self, response: aiohttp.ClientResponse, body: bytes, credentials: Credentials
    ) -> str:
        """Return the panel's error message; empty if the body has none."""
        secrets = [
            *credentials.password_forms(),
            *self._proxy_secrets(),
            *self._cookie_secrets(response),
        ]
        return error_text(body, self.body_format, secrets=secrets)

    def _proxy_secrets(self) -> Iterator[str]:
        proxy = self.proxy()
        if proxy is not None and (proxy.user or proxy.password):
            yield from Credentials(
                proxy.user or "", proxy.password or ""
            ).password_forms()

    def _cookie_secrets(self, response: aiohttp.ClientResponse) -> Iterator[str]:
        """Yield the values of cookies that were sent, are stored or are new."""
        sent = response.request_info.headers.get("Cookie", "").split("; ")
        known = (cookie.value for cookie in parse_cookies(sent))
        new = (cookie.value for cookie in parse_cookies(_set_cookie(response)))
        for value in (*self.cookies.values(), *known, *new):
            if len(value) >= _MIN_SESSION_LENGTH:
                yield value


def _with_utf8_account(proxy: yarl.URL | None) -> yarl.URL | None:
    """Return a proxy's address in a form that makes aiohttp send the account as UTF-8.

    aiohttp encodes it as Latin-1, and raises an error for characters that Latin-1
    lacks.
    """
    if proxy is None:
        return None
    user, password = (
        text and text.encode().decode("latin-1")
        for text in (proxy.user, proxy.password)
    )
    return proxy.with_user(user).with_password(password)


_PAGING_HEADERS = ("Page", "Limit", "Total")


def _etag(headers: CIMultiDictProxy[str]) -> str | None:
    """Return the ETag if it is valid and can be sent back (RFC 9110); else None."""
    etag = headers.get("ETag", "")
    return etag if _ETAG.fullmatch(etag) else None


def _set_cookie(response: aiohttp.ClientResponse) -> tuple[str, ...]:
    return tuple(response.headers.getall("Set-Cookie", ()))


async def _read_at_most(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the first ``max_bytes`` of the body."""
    chunks: list[bytes] = []
    remaining = max_bytes
    while remaining > 0 and (chunk := await response.content.readany()):
        chunks.append(chunk[:remaining])
        remaining -= len(chunks[-1])
    if remaining <= 0:
        response.close()
    return b"".join(chunks)


def _skew_seconds(headers: CIMultiDictProxy[str], local_time: float) -> float | None:
    panel_time = http_date(headers.get("Date"))
    # The header has whole seconds: on average it is half a second too low.
    return None if panel_time is None else panel_time + 0.5 - local_time


_opened = ContextVar[bool]("opened")
"""Whether the request of this task has opened a connection."""


class _Connector(aiohttp.TCPConnector):
    """Connector that sets ``_opened``; aiohttp's traces cost a sixth of a request."""

    async def _create_connection(self, *arguments: Any) -> ResponseHandler:
        _opened.set(True)
        return await super()._create_connection(*arguments)


_USER_AGENT = "onapp-backup-exporter/{version}"


def open_sessions(panel: Panel, version: str) -> Sessions:
    """Return the sessions of one panel; raise ConfigError if its TLS is unusable."""
    ssl_context = _ssl_context(panel)

    def new_session(*, single_use: bool) -> aiohttp.ClientSession:
        limit = panel.poll.concurrency
        return aiohttp.ClientSession(
            connector=_Connector(limit=limit, ssl=ssl_context, force_close=single_use),
            cookie_jar=aiohttp.DummyCookieJar(),  # Cookies keeps them
            headers={"User-Agent": _USER_AGENT.format(version=version)},
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )

    return Sessions(
        keep_alive=new_session(single_use=False),
        single_use=new_session(single_use=True),
    )


def _ssl_context(panel: Panel) -> ssl.SSLContext | bool:
    if panel.url.scheme == "http":
        return True  # unused: loading the system's CA certificates is slow
    try:
        return panel.tls.ssl_context()
    except OSError as error:
        raise ConfigError(
            f"panel {panel.name}: tls_config is not usable any more: {error}"
        ) from None
