"""The command ``healthcheck``: ask the exporter on this host whether it is healthy."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator

_TIMEOUT_SECONDS = 5.0
_EVERYWHERE = {"": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}  # noqa: S104  # what it may listen on


def healthcheck(listen_addresses: tuple[str, ...]) -> int:
    """Return 0 when ``/-/healthy`` answers 200 on one of the addresses, else 1."""
    troubles = []
    for host, port in _targets(listen_addresses):
        trouble = _trouble(host, port)
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


def _trouble(host: str, port: int) -> str | None:
    """Return why the exporter there is not healthy, or None when it is."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/-/healthy")
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return None if status == 200 else f"HTTP {status}"
