"""The demo cloud on a port, ready to be polled."""

import time

from ..cloud.demo_cloud import demo_cloud
from .clock import Clock
from .server import Panel


async def demo_panel(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Clock = time.time,
    seed: int = 1,
) -> Panel:
    """Start a panel over the demo cloud; its address and account are its own fields.

    The cloud has weeks of history up to the clock's time, and moves with it.
    """
    panel = Panel(demo_cloud(clock(), seed), clock=clock)
    await panel.start(host, port)
    return panel
