"""Connections to one panel: trust, cookies, how many at once."""

from __future__ import annotations

import ssl

import aiohttp

from .errors import ConfigError
from .settings import Panel

_USER_AGENT = "onapp-backup-exporter/{version}"


def open_session(panel: Panel, version: str) -> aiohttp.ClientSession:
    """Return a session for one panel alone; raise ConfigError if its TLS is unusable.

    It keeps the panel's session cookie, also where the panel is named by address:
    every request without it would open a new session there.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=panel.poll.concurrency, ssl=_trust(panel)),
        cookie_jar=aiohttp.CookieJar(unsafe=True),
        headers={"User-Agent": _USER_AGENT.format(version=version)},
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=False,
    )


def _trust(panel: Panel) -> ssl.SSLContext | bool:
    if panel.url.scheme == "http":
        return True  # never used: reading the system's authorities takes its time
    try:
        return panel.tls.context()
    except OSError as error:
        raise ConfigError(
            f"panel {panel.name}: tls_config is not usable any more: {error}"
        ) from None
