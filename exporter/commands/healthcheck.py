"""The command ``healthcheck``: ask the exporter on this host whether it is healthy.

It knows no password and has no certificate, and needs none: behind a web configuration
"who are you?" is the answer of a process that serves as much as "Healthy." is. Nor
does it read that file: a bad one must not make a running exporter look dead.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
from collections.abc import Iterator

from ..config.flags import PROGRAM

_TIMEOUT_SECONDS = 5.0
_EVERYWHERE = {"": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}  # noqa: S104  # what it may listen on


class _NoTls(Exception):
    """Whoever answered does not speak TLS."""


def healthcheck(listen_addresses: tuple[str, ...], *, guarded: bool = False) -> int:
    """Return 0 when ``/-/healthy`` answers on one of the addresses, else 1.

    The answer must be 200. Where a web configuration guards the exporter, 401 is as
    good, and so is a TLS handshake that ends because no certificate was sent.
    """
    troubles = []
    for host, port in _targets(listen_addresses):
        trouble = _trouble(host, port, guarded=guarded)
        if trouble is None:
            return 0
        troubles.append(f"{host} port {port}: {trouble}")
    print("not healthy: " + "; ".join(troubles), file=sys.stderr)
    return 1


def _targets(listen_addresses: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    for address in listen_addresses:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        for target in _EVERYWHERE.get(host, (host,)):
            yield target, int(port)


def _trouble(host: str, port: int, *, guarded: bool) -> str | None:
    """Return why the exporter there is not healthy, or None when it is."""
    try:
        if guarded:
            try:
                return _answer_in_tls(host, port)
            except _NoTls:
                pass  # the file may ask for users alone
        with socket.create_connection((host, port), _TIMEOUT_SECONDS) as plain:
            return _answer(plain, guarded=guarded)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def _answer_in_tls(host: str, port: int) -> str | None:
    # No secret is sent: whose certificate it is makes no difference.
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
            if secure.cipher() is None:  # not even an agreement on a cipher
                raise _NoTls from error
            return None
        try:
            return _answer(secure, guarded=True)
        except (ssl.SSLError, ConnectionError):
            return None  # TLS 1.3 asks for the certificate after the handshake


def _answer(connected: socket.socket, *, guarded: bool) -> str | None:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = connected
    connection.request("GET", "/-/healthy")
    response = connection.getresponse()
    refused = response.status == 401 and response.headers.get("Server") == PROGRAM
    if response.status == 200 or (guarded and refused):
        return None
    return f"HTTP {response.status}"
