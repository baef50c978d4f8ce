"""A simulated cloud in a process of its own, which changes when it is told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

from clouds import large_cloud
from faulty_panel import Panel

CONTEXT = get_context("spawn")


@dataclass(frozen=True)
class Cloud:
    """A panel over so many servers."""

    url: str
    username: str
    password: str
    servers: int
    _orders: Connection

    def change(self, vm_id: int) -> int:
        """Let a server have a new backup in place of its oldest; return its number."""
        self._orders.send(vm_id)
        number: int = self._orders.recv()
        return number

    def etags(self, *, given: bool) -> None:
        """Let answers have ETags, or none."""
        self._orders.send(given)
        self._orders.recv()


@contextmanager
def cloud(servers: int, backups: int, **habits: bool) -> Iterator[Cloud]:
    """Start a cloud of ``servers`` with so many ``backups`` each; end it."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(
        target=_run, args=(theirs, servers, backups, habits), daemon=True
    )
    process.start()
    try:
        url, username, password = ours.recv()
        yield Cloud(url, username, password, servers, ours)
    finally:
        process.terminate()
        process.join()


def _run(
    orders: Connection, servers: int, backups: int, habits: dict[str, bool]
) -> None:
    asyncio.run(_serve(orders, servers, backups, habits))


async def _serve(
    orders: Connection, servers: int, backups: int, habits: dict[str, bool]
) -> None:
    world = large_cloud(time.time(), servers, backups)
    panel = Panel(world, **habits)  # type: ignore[arg-type]  # they are flags here
    async with panel:
        orders.send((panel.url, panel.username, panel.password))
        while True:
            order = await asyncio.to_thread(orders.recv)
            if isinstance(order, bool):
                panel.etags = order
                orders.send(order)
            else:
                world.drop_backup(world.backups_of(order)[0].id)
                orders.send(world.add_backup(order, created_at=time.time() - 600).id)
