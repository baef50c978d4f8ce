"""Wiring only: a configuration becomes pollers, a store and a server.

``Exporter`` is one exporter without its process: what tests and simulations start.
``serve`` is the process: signals, port, exit status.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from . import __version__
from .clock import Clock, SystemClock
from .config import Config
from .effective import effective
from .errors import ConfigError
from .exposition import Exposition
from .flags import Flags
from .fleet import Fleet
from .selection import Shard
from .store import Store
from .telemetry import Telemetry
from .web import Pages, serving

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Exporter:
    """Everything between panels and ``/metrics``, wired."""

    load: Callable[[], Config]
    """Reads the configuration anew; raises ConfigError."""
    shard: Shard = field(default_factory=Shard)
    clock: Clock = field(default_factory=SystemClock)
    telemetry_path: str = "/metrics"
    max_requests: int = 40
    jitter: Callable[[], float] = random.random
    store: Store = field(default_factory=Store)
    telemetry: Telemetry = field(init=False)
    exposition: Exposition = field(init=False)
    fleet: Fleet = field(init=False)
    crash: asyncio.Future[None] = field(init=False)
    """Ends with the error of a poller that ended by itself."""
    _config: Config = field(init=False)
    _reloading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[web.Application]:
        """Poll, and yield the application to serve; raise ConfigError instead."""
        self._config = self.load()
        self.crash = asyncio.get_running_loop().create_future()
        self.telemetry = Telemetry(version=__version__, shard=self.shard)
        self.exposition = Exposition(
            self.store, self.clock, self._config.detail, self.telemetry.registry
        )
        self.fleet = Fleet(
            self.store,
            self.telemetry,
            self.clock,
            self.shard,
            self._crashed,
            self.jitter,
        )
        pages = Pages(
            self.store,
            self.exposition,
            self.telemetry_path,
            self.max_requests,
            effective=lambda: effective(self._config),
            reload=self.reload,
        )
        try:
            await self._apply(self._config)
            yield pages.application()
        finally:
            await self.fleet.stop()
            self.crash.cancel()

    async def reload(self) -> None:
        """Load the configuration again; raise ConfigError and keep the old one."""
        async with self._reloading:
            try:
                await self._apply(await asyncio.to_thread(self.load))
            except ConfigError as error:
                self.telemetry.loaded(time=None)
                log.error("configuration not reloaded", error=str(error))  # noqa: TRY400  # a traceback says no more
                raise
            log.info("configuration reloaded", panels=len(self._config.panels))

    async def _apply(self, config: Config) -> None:
        await self.fleet.replace(config.panels)
        self._config = config
        self.exposition.show(config.detail)
        self.telemetry.loaded(time=self.clock.time())

    def _crashed(self, error: BaseException) -> None:
        if not self.crash.done():
            self.crash.set_exception(error)


async def serve(flags: Flags, load: Callable[[], Config]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    exporter = Exporter(
        load=load,
        shard=Shard(flags.shard, flags.total_shards),
        telemetry_path=flags.telemetry_path,
        max_requests=flags.max_requests,
    )
    async with (
        exporter.running() as application,
        serving(application, flags.listen_addresses) as addresses,
    ):
        for address in addresses:
            log.info("listening", address=address, version=__version__)
        return await until_told(exporter)


async def until_told(exporter: Exporter) -> int:
    """Obey signals; return 0 when told to end, raise when polling ended by itself."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(_reload(exporter))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    ended = loop.create_task(told.wait())
    await asyncio.wait((ended, exporter.crash), return_when=asyncio.FIRST_COMPLETED)
    if exporter.crash.done():
        exporter.crash.result()
    log.info("ending")
    return 0


async def _reload(exporter: Exporter) -> None:
    try:
        await exporter.reload()
    except ConfigError:
        return  # logged and counted where it happened
