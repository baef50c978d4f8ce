"""The command ``healthcheck``: checks whether the exporter on this host is healthy.

It needs neither password nor certificate: with a web configuration, a 401 proves that
the exporter serves, as "Healthy." does. It does not read the web configuration: an
invalid file must not make a running exporter look unhealthy.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
from collections.abc import Iterator

from ..config.flags import PROGRAM

_TIMEOUT_SECONDS = 5.0
_LOOPBACK = {"": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}  # noqa: S104  # listen addresses


class _NoTls(Exception):
    """The server does not use TLS."""


def healthcheck(
    listen_addresses: tuple[str, ...], *, web_config: bool, path: str = "/-/healthy"
) -> int:
    """Return 0 if the path answers on one of the addresses, else 1.

    The answer must be 200. With a web configuration, 401 counts too, and so does a TLS
    handshake that fails because no client certificate was sent.
    """
    problems = []
    for host, port in _targets(listen_addresses):
        problem = _problem(host, port, path, web_config=web_config)
        if problem is None:
            return 0
        problems.append(f"{host} port {port}: {problem}")
    print("not healthy: " + "; ".join(problems), file=sys.stderr)
    return 1


def _targets(listen_addresses: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    for address in listen_addresses:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        for target in _LOOPBACK.get(host, (host,)):
            yield target, int(port)


def _problem(host: str, port: int, path: str, *, web_config: bool) -> str | None:
    """Return why the exporter at an address is not healthy; None: it is healthy."""
    try:
        if web_config:
            try:
                return _tls_problem(host, port, path)
            except _NoTls:
                pass  # the web configuration may have users, but no TLS
        with socket.create_connection((host, port), _TIMEOUT_SECONDS) as plain:
            return _answer_problem(plain, path, web_config=web_config)
    except ConnectionRefusedError:
        return "nothing listens there"
    except OSError as error:
        return error.strerror or str(error)
    except (ValueError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def _tls_problem(host: str, port: int, path: str) -> str | None:
    # No secret is sent, so the certificate need not be verified.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection((host, port), _TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain, do_handshake_on_connect=False) as secure,
    ):
        try:
            secure.do_handshake()
        except ssl.SSLError as error:
            if secure.cipher() is None:  # no cipher was negotiated
                raise _NoTls from error
            return None
        try:
            return _answer_problem(secure, path, web_config=True)
        except (ssl.SSLError, ConnectionError):
            return None  # TLS 1.3 rejects the client after the handshake


def _answer_problem(
    connected: socket.socket, path: str, *, web_config: bool
) -> str | None:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = connected
    connection.request("GET", path)
    response = connection.getresponse()
    refused = response.status == 401 and response.headers.get("Server") == PROGRAM
    if response.status == 200 or (web_config and refused):
        return None
    body = response.read(1000).decode("ascii", "replace").strip()
    detail = f": {body}" if response.status == 503 and body else ""
    return f"HTTP {response.status}{detail}"
