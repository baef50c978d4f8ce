"""Connections to one panel: trust, cookies, how many at once."""

from __future__ import annotations

import ssl
from types import SimpleNamespace

import aiohttp

from ..config.settings import Panel
from ..errors import ConfigError
from .client import Sessions

_USER_AGENT = "onapp-backup-exporter/{version}"


def open_sessions(panel: Panel, version: str) -> Sessions:
    """Return sessions for one panel alone; raise ConfigError if its TLS is unusable.

    They keep the panel's session cookie, also where the panel is named by address:
    every request without it would open a new session there.
    """
    trust = _trust(panel)
    cookies = aiohttp.CookieJar(unsafe=True)

    def session(*, fresh: bool) -> aiohttp.ClientSession:
        limit = panel.poll.concurrency
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limit, ssl=trust, force_close=fresh),
            cookie_jar=cookies,
            headers={"User-Agent": _USER_AGENT.format(version=version)},
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            trace_configs=[_noting_reuse()],
        )

    return Sessions(kept=session(fresh=False), fresh=session(fresh=True))


def _noting_reuse() -> aiohttp.TraceConfig:
    """Return what tells an Attempt whether its connection was used before."""

    async def note(context: SimpleNamespace, *, reused: bool) -> None:
        context.trace_request_ctx.reused = reused

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(lambda _, c, __: note(c, reused=True))
    tracing.on_connection_create_start.append(lambda _, c, __: note(c, reused=False))
    return tracing


def _trust(panel: Panel) -> ssl.SSLContext | bool:
    if panel.url.scheme == "http":
        return True  # never used: reading the system's authorities takes its time
    try:
        return panel.tls.context()
    except OSError as error:
        raise ConfigError(
            f"panel {panel.name}: tls_config is not usable any more: {error}"
        ) from None
