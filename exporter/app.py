"""Wiring only: a configuration becomes pollers, a store and a server.

``Exporter`` is one exporter without its process: what tests and simulations start.
``serve`` is the process: signals, port, exit status.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
from aiohttp import web

from . import __version__
from .access import Access, watching
from .clock import Clock, SystemClock
from .connection import Limits
from .effective import effective
from .errors import ConfigError
from .exposition import Exposition
from .flags import Flags
from .fleet import Fleet
from .selection import Shard
from .server import serving
from .settings import Config
from .store import Store
from .telemetry import Telemetry
from .web import Pages

log = structlog.get_logger()

_LONGEST_FAREWELL_SECONDS = 1.8


@dataclass(slots=True, eq=False)
class Exporter:
    """Everything between panels and ``/metrics``, wired."""

    load: Callable[[], Config]
    """Reads the configuration anew; raises ConfigError."""
    shard: Shard = field(default_factory=Shard)
    clock: Clock = field(default_factory=SystemClock)
    telemetry_path: str = "/metrics"
    max_requests: int = 40
    web_config_file: Path | None = None
    jitter: Callable[[], float] = random.random
    store: Store = field(default_factory=Store)
    access: Access = field(init=False)
    telemetry: Telemetry = field(init=False)
    exposition: Exposition = field(init=False)
    fleet: Fleet = field(init=False)
    ended: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """Ends when told to, or with the error of a poller that ended by itself."""
    _config: Config = field(init=False)
    _reloading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def running(self, addresses: tuple[str, ...]) -> AsyncIterator[list[str]]:
        """Serve and poll; yield the addresses as bound.

        The ports come first: an exporter that cannot serve must not ask a panel, least
        of all with a wrong key and again at every restart. Raises ConfigError and
        OSError.
        """
        # A file may keep its reader waiting, as a pipe does; signals are obeyed then.
        config = await asyncio.to_thread(self.load)
        self.access = await asyncio.to_thread(self._access)
        self.telemetry = Telemetry(version=__version__, shard=self.shard)
        self.exposition = Exposition(
            self.store, self.clock, config.detail, self.telemetry.registry
        )
        self.fleet = Fleet(
            self.store,
            self.telemetry,
            self.clock,
            self.shard,
            self._crashed,
            self.jitter,
        )
        self._config = config
        async with serving(
            self._application(), addresses, self.access, self._limits()
        ) as bound:
            try:
                await self._apply(config)
                yield bound
            finally:
                # A reload under way ends first, and none begins from here on.
                await self._reloading.acquire()
                await self.fleet.stop()
                self.ended.cancel()

    def _access(self) -> Access:
        if self.web_config_file is None:
            return Access()
        return Access(watching(self.web_config_file, self.clock))

    def _limits(self) -> Limits:
        # Whoever allows many scrapes at once must have room for as many readers.
        limits = Limits()
        room = max(limits.connections, 2 * self.max_requests)
        return replace(limits, connections=room)

    def _application(self) -> web.Application:
        return Pages(
            self.store,
            self.exposition,
            self.telemetry_path,
            self.max_requests,
            effective=lambda: effective(self._config),
            reload=self.reload,
        ).application()

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

    def end(self) -> None:
        """Let whoever waits for the end go on."""
        if not self.ended.done():
            self.ended.set_result(None)

    def _crashed(self, error: BaseException) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)


async def serve(flags: Flags, load: Callable[[], Config]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    spare_the_collector()
    exporter = Exporter(
        load=load,
        shard=Shard(flags.shard, flags.total_shards),
        telemetry_path=flags.telemetry_path,
        max_requests=flags.max_requests,
        web_config_file=flags.web_config_file,
    )
    obey_signals(exporter)
    async with exporter.running(flags.listen_addresses) as addresses:
        for address in addresses:
            log.info(
                "listening",
                address=address,
                tls=exporter.access.context is not None,
                version=__version__,
            )
        await exporter.ended
        log.info("ending")
    return 0


def spare_the_collector() -> None:
    """Keep the garbage collector from going through all modules again and again.

    They stay as they are, but are half of all that it looks at while nothing else runs.
    """
    gc.collect()
    gc.freeze()


def obey_signals(exporter: Exporter) -> None:
    """End on SIGTERM and SIGINT, reload on SIGHUP."""
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def end() -> None:
        exporter.end()
        # Threads cannot be ended: one may wait for a name server or a file for long.
        loop.call_later(_LONGEST_FAREWELL_SECONDS, os._exit, 0)

    def reload() -> None:
        task = loop.create_task(_reload(exporter))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, reload)


async def _reload(exporter: Exporter) -> None:
    try:
        await exporter.reload()
    except ConfigError:
        return  # logged and counted where it happened
