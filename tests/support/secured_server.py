"""A server with a web configuration (TLS, users), and a client for it."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
from harness import SteppedClock
from stores import a_backup, a_panel, a_server, a_store, add_server
from web_handlers import handlers_for

from exporter.web.auth import (
    AccessControl,
    PasswordChecker,
    TokenBucket,
    watched_config,
)
from exporter.web.server import serving

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
USERS = f"basic_auth_users:\n  alice: {HASH}\n"
TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
TLS_WITH_CLIENT_CERT = (
    f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
)
HEADERS = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"
LONGEST_REAL_WAIT_SECONDS = 60


def basic_auth(user: str, password: str) -> dict[str, str]:
    """Return the header of HTTP basic authentication."""
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


@dataclass(eq=False)
class SecuredServer:
    """A running server, its web configuration, and a client for it."""

    base: str
    file: Path
    clock: SteppedClock
    checks: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Password and hash of each call of bcrypt."""

    async def request(
        self,
        path: str = "/metrics",
        method: str = "GET",
        user: str | None = "alice",
        password: str = PASSWORD,
        **options: Any,
    ) -> aiohttp.ClientResponse:
        """Send a request on a new connection, and read the whole answer."""
        headers = options.pop("headers", {})
        if user is not None:
            headers |= basic_auth(user, password)
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, self.base + path, **options) as response,
        ):
            await response.read()
            return response

    async def status(self, *arguments: Any, **options: Any) -> int:
        """Return the status of an answer."""
        return (await self.request(*arguments, **options)).status

    def write_web_config(self, text: str) -> None:
        """Replace the web configuration; the next request checks the file again."""
        self.file.write_text(text, "utf-8")
        self.clock.elapsed += 1.0


@asynccontextmanager
async def secured(
    folder: Path, text: str, check: Callable[[bytes, bytes], bool] = bcrypt.checkpw
) -> AsyncIterator[SecuredServer]:
    """Start a server with this web configuration."""
    file = folder / "web.yml"
    file.write_text(text, "utf-8")
    checks: list[tuple[bytes, bytes]] = []

    def counted(password: bytes, hashed: bytes) -> bool:
        checks.append((password, hashed))
        return check(password, hashed)

    panel = a_panel()
    add_server(panel, a_server(), a_backup())
    store = a_store(panel)
    # The clock starts when the file was written, as after a fresh change.
    clock = SteppedClock(start=file.stat().st_mtime)
    pages = handlers_for(store)
    access = AccessControl(
        watched_config(file, clock),
        PasswordChecker(counted),
        probes={"/-/healthy": lambda: True},
        bucket=TokenBucket(clock),
    )
    async with (
        asyncio.timeout(LONGEST_REAL_WAIT_SECONDS),
        serving(
            pages.application(),
            ("127.0.0.1:0",),
            access,
            show_error=pages.show_error,
        ) as (address,),
    ):
        scheme = "https" if access.ssl_context else "http"
        yield SecuredServer(f"{scheme}://{address}", file, clock, checks)


def client_context(folder: Path, certificate: str | None = None) -> ssl.SSLContext:
    """Return a TLS context that trusts our authority, and maybe has a certificate."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if certificate is not None:
        context.load_cert_chain(folder / certificate)
    return context
