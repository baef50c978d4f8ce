"""A server that answers every request with the same bytes, and an API client for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import yarl

from exporter.clock import Heartbeat, SystemClock
from exporter.config.schema import Account, BodyFormat
from exporter.config.secrets import LiteralSecret
from exporter.onapp.api import PanelApi
from exporter.onapp.circuit_breaker import CircuitBreaker, CredentialState
from exporter.onapp.client import Client, Sessions
from exporter.onapp.cookies import Cookies


class IgnoredCounts:
    """Ignores what is counted."""

    def observe_response(self, resource: str, status: int, seconds: float) -> None:
        """Ignore an answer."""

    def observe_error(self, resource: str, reason: str) -> None:
        """Ignore a failure."""

    def observe_skipped_rows(self, resource: str, rows: int) -> None:
        """Ignore rows."""


@asynccontextmanager
async def serving_answer(form: BodyFormat, answer: bytes) -> AsyncIterator[PanelApi]:
    """Answer every request with these bytes; yield a client."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    account = Account("ops", password=LiteralSecret("key"))
    weeks = itertools.count(step=10**6)  # no pause is longer than from look to look
    credential_state = CredentialState(lambda: float(next(weeks)), lambda: 0.0)
    breaker = CircuitBreaker(account.credentials, credential_state, 300.0)
    breaker.claim_trial()
    async with server, aiohttp.ClientSession() as session:
        url = yarl.URL(f"http://127.0.0.1:{port}")
        ways = Sessions(keep_alive=session, single_use=session)
        clock = SystemClock()
        client = Client(
            *(ways, url, form, 20.0, 10**7, IgnoredCounts(), clock, Heartbeat(clock)),
            Cookies(url.path, https=False, interval_seconds=900.0, clock=clock),
        )
        yield PanelApi("cp", client, breaker)
