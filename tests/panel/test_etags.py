"""ETags: whatever was sent as one, the list is read again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from builders import a_cloud
from faults import ActiveFault, Fault, FaultContext, Proceed
from harness import BACKUPS_ONLY, monitored

HOUR = 3600


def etag(value: bytes, code: int | None = None) -> Fault:
    """Send this ETag; with a code, refuse requests that send one back."""

    async def act(
        context: FaultContext, _fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        if code and "If-None-Match" in context.request.headers:
            return context.refusal(code)
        context.force_body = True
        response = await proceed()
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        head = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\n"
        head += b"ETag: %b\r\nConnection: close\r\n\r\n"
        transport = context.request.transport
        assert isinstance(transport, asyncio.Transport)
        # aiohttp's server would not send such headers.
        transport.write(head % (response.status, value) + response.body)
        transport.close()
        return response

    return Fault(act)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b'"a\x01b"', None),
        (b'"a\x7fb"', None),
        (b'"\xc3\xa9"', None),
        (b"unquoted", 400),
        (b'"a"b"', 400),
        (b'"' + b"x" * 7000 + b'"', 431),
        (b'"a"', 412),
        (b'W/"a"', 400),
        (b'""', 500),
    ],
)
async def test_no_etag_keeps_a_list_from_being_read(
    value: bytes, code: int | None, tmp_path: Path
) -> None:
    """Servers that came later are found, and backups as well."""
    panel = a_cloud()
    panel.faults.add(etag(value, code))
    async with monitored(panel, tmp_path, collectors=BACKUPS_ONLY) as cloud:
        panel.cloud.add_server()
        panel.cloud.add_backup(1)
        await cloud.advance(HOUR)

        assert await cloud.value("onapp_panel_virtual_machines") == 2
        assert await cloud.value("onapp_vm_backups", vm_id=1, state="built") == 1
