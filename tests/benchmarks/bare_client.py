"""What polls are compared with: a client that fetches the same lists, and no more."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import aiohttp

Fetch: TypeAlias = Callable[[int], Coroutine[Any, Any, None]]
"""Fetches the backups of a server, by its number."""


@asynccontextmanager
async def bare_client(
    url: str, account: tuple[str, str], form: str, *, etags: bool
) -> AsyncIterator[Fetch]:
    """Open a session of an account; with ETags, send the last one of each list."""
    login = b64encode(":".join(account).encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Accept": f"application/{form}"}
    known: dict[int, str] = {}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def fetch(vm_id: int) -> None:
            tag = {"If-None-Match": known[vm_id]} if vm_id in known else None
            address = f"{url}/virtual_machines/{vm_id}/backups.{form}"
            async with session.get(address, headers=tag) as response:
                response.raise_for_status()
                await response.read()
                if etags:
                    known[vm_id] = response.headers["ETag"]

        yield fetch
