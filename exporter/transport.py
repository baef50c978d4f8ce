"""Connections to one panel: trust, cookies, how many at once."""

from __future__ import annotations

import ssl

import aiohttp

from .config import Panel, Tls
from .errors import ConfigError

_USER_AGENT = "onapp-backup-exporter/{version}"


def open_session(panel: Panel, version: str) -> aiohttp.ClientSession:
    """Return a session for one panel alone; raise ConfigError if its TLS is unusable.

    It keeps the panel's session cookie, also where the panel is named by address:
    every request without it would open a new session there.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=panel.poll.concurrency, ssl=_trust(panel.name, panel.tls)
        ),
        cookie_jar=aiohttp.CookieJar(unsafe=True),
        headers={"User-Agent": _USER_AGENT.format(version=version)},
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=False,
    )


def _trust(name: str, tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"panel {name}: tls_config: not usable: {error}: ca_file, cert_file and "
            "key_file must be PEM files, the key without a passphrase"
        ) from None
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
