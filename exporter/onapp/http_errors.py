"""Errors of connections, TLS and HTTP → exceptions of the exporter, with hints.

Errors that are easily confused have their own messages: plain HTTP and TLS, a proxy and
the panel, an unknown and a wrong certificate. OpenSSL's text is used only for other
errors.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
import yarl
from aiohttp import http_exceptions
from multidict import CIMultiDictProxy

from ..errors import (
    Forbidden,
    NotFound,
    PanelError,
    ProxyRefused,
    Redirected,
    RequestError,
    TlsFailed,
    TooLarge,
    Unauthorized,
    Undecodable,
    UnexpectedStatus,
    Unprocessable,
    Unreachable,
)
from .cookies import http_date
from .error_body import one_line

MAX_HEADER_BYTES = 65_536
"""Maximum of one header of an answer; portals and security policies set long ones."""


class Route(NamedTuple):
    """The route of a request: the panel and the proxy that an error may concern."""

    url: yarl.URL
    proxy: yarl.URL | None
    server_name: str | None
    """The name that the panel's certificate must have; None: the host of ``url``."""

    @property
    def address(self) -> str:
        """The panel's host and port."""
        return _address(self.url)

    def certificate_command(self) -> str:
        """Return the command that prints the panel's certificate."""
        command = f"openssl s_client -connect {self.address}"
        if self.server_name:
            command += f" -servername {self.server_name}"
        if self.proxy:
            command += f" -proxy {_address(self.proxy)}"
        return f"{command} </dev/null | openssl x509"


def _address(url: yarl.URL) -> str:
    host = url.host or ""
    return f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"


def connection_error(
    error: OSError | aiohttp.ClientError, route: Route
) -> RequestError:
    """Return the error of a request that got no complete answer.

    It never quotes an error of the HTTP library, which quotes headers and bodies.
    """
    ssl_error = _ssl_cause(error) if isinstance(error, OSError) else None
    if ssl_error is not None:
        return _tls_error(ssl_error, route)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _proxy_error(error.status, route)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _not_connected(error, route)
    if isinstance(error, aiohttp.ClientResponseError):
        return _not_http(error.__cause__, route)
    return _disconnected(error, route)


def _disconnected(error: OSError | aiohttp.ClientError, route: Route) -> PanelError:
    """Return the error of a connection that was closed too early."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return Unreachable(
            "the connection was closed before the answer was complete", hint=_CUT_HINT
        )
    message = f"no answer ({type(error).__name__})"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        message = "the connection was closed without an answer"
    elif isinstance(error, OSError) and (error.errno or 0) > 0:
        message = os.strerror(error.errno or 0)
    check = "check url"
    if route.url.scheme == "http":
        check = "check url: it must begin with https:// if the port speaks TLS"
    return Unreachable(message, hint=f"{check}; otherwise {_CUT_HINT}")


_CUT_HINT = "check proxies, load balancers and firewalls in between, and their limits"


def _ssl_cause(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS library's error behind an error of the HTTP library.

    In TLS 1.3 a server refuses a client after the client's handshake is complete.
    """
    while error is not None:
        # aiohttp's own errors are SSLErrors too, but without details.
        if isinstance(error, ssl.SSLError) and not isinstance(
            error, aiohttp.ClientError
        ):
            return error
        error = error.__cause__ or error.__context__
    return None


def _not_connected(error: aiohttp.ClientConnectorError, route: Route) -> PanelError:
    key, name = ("proxy_url", "proxy ") if route.proxy else ("url", "")
    cause, where = error.os_error, f"{name}{error.host}:{error.port}"
    if isinstance(cause, socket.gaierror):
        return Unreachable(
            f"{name}{error.host}: {cause.strerror}",
            hint=f"check {key}: DNS on this host cannot resolve that name",
        )
    if isinstance(cause, ConnectionResetError):
        return Unreachable(
            f"{where}: the connection was closed during the TLS handshake",
            hint=f"check {key}: does the port speak TLS? If so, {_CUT_HINT}",
        )
    reason = os.strerror(cause.errno) if cause.errno else type(cause).__name__
    hint = f"check {key}, and the firewalls and routes to there"
    if cause.errno == errno.ECONNREFUSED:
        hint = f"check {key}: nothing listens on that port, or a firewall rejects it"
    return Unreachable(f"{where}: {reason}", hint=hint)


def _not_http(cause: BaseException | None, route: Route) -> PanelError:
    """Return the error of an answer that the HTTP parser rejects."""
    # aiohttp wraps its parser's error in a general one.
    if cause is not None and isinstance(cause.__cause__, http_exceptions.LineTooLong):
        return TooLarge(
            f"a header of the answer is longer than {MAX_HEADER_BYTES:,} bytes",
            hint="find out who sets it with `curl -sD- -o /dev/null URL`: the panel, "
            "or a portal or proxy in front of it; it must be shorter",
        )
    # A TLS alert; the parser quotes the beginning of the line.
    if r"b'\x15\x03" in str(cause):
        return _speaks_tls(route)
    return Unreachable(
        "the answer is not HTTP", hint="check url: another service has that port"
    )


def _speaks_tls(route: Route) -> TlsFailed:
    return TlsFailed(
        f"{route.address} expects TLS, but url begins with http://",
        hint="url must begin with https://",
    )


_NOT_TLS = (
    *("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"),
    *("PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"),
)
"""OpenSSL's error names, depending on its version, for an answer that is not TLS."""
_CERTIFICATE_ALERT = re.compile(
    "ALERT_(CERTIFICATE_|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|UNKNOWN_CA)"
)
_SELF_SIGNED = 18
_UNKNOWN_AUTHORITY = (2, 19, 20, 21)
_NOT_NOW = {9: "is not valid yet", 10: "has expired"}
_OTHER_NAME = (62, 64)
"""OpenSSL's codes, ``X509_V_ERR_…``."""


def _tls_error(error: ssl.SSLError, route: Route) -> TlsFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_error(error, route)
    reason = error.reason or ""
    if reason in _NOT_TLS:
        return TlsFailed(
            f"{route.address} does not speak TLS",
            hint="url must have the port that speaks TLS, mostly 443; http:// works, "
            "but lets anybody in between read the key",
        )
    if _CERTIFICATE_ALERT.search(reason):
        return TlsFailed(
            "the panel accepts no connection without a client certificate that it "
            "trusts",
            hint="tls_config.cert_file and key_file must be a certificate, and its "
            "key, of an authority that the panel trusts",
        )
    if reason == "UNSUPPORTED_PROTOCOL" or reason.endswith("ALERT_PROTOCOL_VERSION"):
        return TlsFailed(
            "the panel speaks no version of TLS that this host accepts",
            hint="enable TLS 1.2 or newer on the panel's web server",
        )
    words = reason.replace("_", " ").lower() or "connection closed"
    return TlsFailed(f"the TLS handshake failed ({one_line(words)})")


def _certificate_error(error: ssl.SSLCertVerificationError, route: Route) -> TlsFailed:
    code, command = error.verify_code, route.certificate_command()
    if code in _OTHER_NAME:
        name = route.server_name or route.url.host
        return TlsFailed(
            f"the panel's certificate is not for the name {name}",
            hint="url must have a name that the certificate is for, or "
            f"tls_config.server_name (ONAPP_SERVER_NAME) name one; `{command} -noout "
            "-text | grep -E 'Subject:|DNS:|IP Address:'` shows them",
        )
    if code in _NOT_NOW:
        return TlsFailed(
            f"the panel's certificate, or one that it is signed by, {_NOT_NOW[code]}",
            hint="renew it on the panel, and check the date of this host; "
            f"`{command} -noout -dates` shows its validity period",
        )
    if code != _SELF_SIGNED and code not in _UNKNOWN_AUTHORITY:
        return TlsFailed(
            f"the panel's certificate is refused ({one_line(error.verify_message)})"
        )
    save = (
        f"`{command} >panel.pem`, compare `openssl x509 -in panel.pem -noout "
        "-fingerprint -sha256` with the panel's own"
    )
    if code == _SELF_SIGNED:
        return TlsFailed(
            "the panel's certificate is self-signed, and this host does not know it",
            hint=f"save it with {save}, and name the file in {_CA_FILE}",
        )
    return TlsFailed(
        "the panel's certificate is of an authority that this host does not trust",
        hint=f"name the file of the authority in {_CA_FILE}; or save the certificate "
        f"with {save}, and name that",
    )


_CA_FILE = "tls_config.ca_file (ONAPP_CA_FILE)"


def _proxy_error(status: int, route: Route) -> ProxyRefused:
    """Return the error of a proxy that refuses a tunnel."""
    hint = {
        407: ProxyRefused.hint,
        **dict.fromkeys(
            (502, 503, 504),
            f"the proxy has no connection to {route.address}: look at its log, and at "
            "the panel",
        ),
    }.get(status, f"allow CONNECT to {route.address} in the proxy, or change proxy_url")
    return ProxyRefused(f"the proxy answered HTTP {status}", status=status, hint=hint)


_REFUSALS = (403, 404, 422)
"""Statuses that prove the credentials if the body shows that the API sent them."""
_STATUS_ERRORS: Mapping[int, type[RequestError]] = {403: Forbidden, 404: NotFound}
_OTHER_STATUS_ERRORS: Mapping[int, type[UnexpectedStatus]] = {
    407: ProxyRefused,
    422: Unprocessable,
}
_STATUS_HINTS = {
    429: "the panel limits requests: lower poll.concurrency, or raise poll.interval"
}
_PROXY_STATUSES = (403, 502, 503, 504)
"""Statuses of a proxy that does not forward a request of plain HTTP."""
_TLS_PORT = re.compile(
    "plain HTTP request was sent to HTTPS port"  # nginx
    "|speaking plain HTTP to an SSL-enabled server port"  # Apache
    "|sent an HTTP request to an HTTPS server",  # Go
    re.IGNORECASE,
)
"""Texts, with status 400, of a TLS port that received plain HTTP."""


def status_error(
    response: aiohttp.ClientResponse, body: bytes, text: str, route: Route
) -> RequestError:
    """Return the error of a response; ``text`` is the API's message in the body."""
    status, headers = response.status, response.headers
    message = f"HTTP {status}: {text}" if text else f"HTTP {status}"
    if status == 401:
        return _unauthorized(headers)
    if status == 400 and _TLS_PORT.search(body.decode("latin-1")):
        return _speaks_tls(route)
    hint = _STATUS_HINTS.get(status, "")
    if route.proxy and not text and status in _PROXY_STATUSES:
        hint = (
            f"the panel or the proxy sent this: does the proxy allow {route.address}, "
            "and reach it?"
        )
    if status in _REFUSALS and not text:
        return Undecodable(f"{message}, without the API's error message", hint=hint)
    if status in _STATUS_ERRORS:
        return _STATUS_ERRORS[status](message)
    if 300 <= status < 400:
        return Redirected(
            f"{message}: a redirect is never followed",
            hint=_redirect_hint(headers, route),
        )
    return _OTHER_STATUS_ERRORS.get(status, UnexpectedStatus)(
        message,
        status=status,
        retry_after_seconds=_retry_after(headers),
        hint=hint,
    )


def _unauthorized(headers: CIMultiDictProxy[str]) -> Unauthorized:
    """Return the error of a 401; the exporter supports only HTTP Basic."""
    challenges = headers.getall("WWW-Authenticate", ())
    schemes = [challenge.partition(" ")[0].strip(",") for challenge in challenges]
    if not schemes or "basic" in (scheme.lower() for scheme in schemes):
        return Unauthorized("HTTP 401")
    wanted = one_line(" or ".join(schemes))
    return Unauthorized(
        f"HTTP 401: {wanted} authentication is required instead of Basic",
        hint="the panel's API takes Basic: url must lead past the web server or "
        f"portal that requires {wanted}, or enable Basic there for this host",
    )


def _redirect_hint(headers: CIMultiDictProxy[str], route: Route) -> str:
    """Return a hint with the target of a redirect; empty if it is the same place."""
    try:
        origin = route.url.join(yarl.URL(headers.get("Location", ""))).origin()
    except ValueError:
        return ""
    if origin == route.url.origin():
        return ""
    hint = f"{Redirected.hint}: that may be {one_line(str(origin))}"
    if origin.host != route.url.host:
        hint += ", unless that is a login portal, which must not get the key"
    return hint


def integer(headers: CIMultiDictProxy[str], name: str) -> int | None:
    """Return the value of a header; None if it is missing or not a number."""
    value = headers.get(name, "")
    return int(value[:18]) if value.isdecimal() else None


def _retry_after(headers: CIMultiDictProxy[str]) -> float | None:
    """Return ``Retry-After`` in seconds; the header may also be a date (RFC 9110)."""
    seconds = integer(headers, "Retry-After")
    if seconds is not None:
        return float(seconds)
    retry_at, now = (
        http_date(headers.get("Retry-After")),
        http_date(headers.get("Date")),
    )
    return None if retry_at is None or now is None else max(0.0, retry_at - now)
