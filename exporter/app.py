"""Wiring: creates a store, pollers and a web server from a configuration.

``Exporter`` is an exporter without the process; tests and simulations start it too.
``serve`` is the process: signals, sockets, exit status.
"""

from __future__ import annotations

import asyncio
import gc
import random
import resource
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from . import __version__
from .clock import Clock, SystemClock
from .config.file_watch import FileSet
from .config.flags import Flags
from .config.schema import Config, effective_config
from .errors import ConfigError
from .metrics.exporter import ExporterMetrics
from .metrics.exposition import Exposition
from .model.selection import Shard
from .model.store import LastError, Store
from .polling.manager import PollerManager
from .signals import install_signal_handlers
from .status.html import StatusPages
from .status.views import Views
from .systemd import (
    NotifySocket,
    has_passed_sockets,
    notifying_systemd,
    passed_sockets,
)
from .web.auth import AccessControl, TokenBucket, watched_config
from .web.connection import Limits
from .web.handlers import Handlers
from .web.server import Listener, serving

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Exporter:
    """One exporter: from the panels to ``/metrics``."""

    load: Callable[[FileSet], Config]
    """Loads the configuration, at the start and at each reload; raises ConfigError.

    It adds the files that it reads to the set.
    """
    auto_reload_seconds: float | None = None
    """Interval of checks for changed files; None: no checks."""
    shard: Shard = field(default_factory=Shard)
    clock: Clock = field(default_factory=SystemClock)
    telemetry_path: str = "/metrics"
    max_requests: int = 40
    web_config_file: Path | None = None
    jitter: Callable[[], float] = random.random
    notify_socket: NotifySocket = field(default_factory=NotifySocket)
    store: Store = field(default_factory=Store)
    access: AccessControl = field(init=False)
    own_metrics: ExporterMetrics = field(init=False)
    exposition: Exposition = field(init=False)
    manager: PollerManager = field(init=False)
    stop_requested: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """Completed by ``request_stop``, or by a crashed poller, with its error."""
    _config: Config = field(init=False)
    _files: FileSet = field(init=False)
    """Files of the last attempt to load the configuration."""
    _reload_error: LastError | None = None
    _reload_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def running(
        self, listeners: tuple[Listener, ...]
    ) -> AsyncIterator[list[str]]:
        """Serve and poll; yield the bound addresses.

        The ports are bound first: an exporter that cannot serve must not send requests
        to a panel. A wrong key, sent at every restart, could lock the account. Raises
        ConfigError and OSError.
        """
        config = await self._load()
        self.access = await asyncio.to_thread(self._access_control)
        self.own_metrics = ExporterMetrics(version=__version__, shard=self.shard)
        self.exposition = Exposition(
            self.store, self.clock, config.detail, self.own_metrics.registry
        )
        self.manager = PollerManager(
            self.store,
            self.own_metrics,
            self.clock,
            self.shard,
            self._on_crash,
            self.jitter,
        )
        self._config = config
        handlers = self._handlers()
        async with serving(
            handlers.application(),
            listeners,
            self.access,
            self._connection_limits(),
            handlers.show_error,
        ) as addresses:
            try:
                await self._apply(config)
                async with (
                    self._following_files(),
                    notifying_systemd(
                        self.notify_socket, self.clock, self.manager.hung_panels
                    ),
                ):
                    yield addresses
            finally:
                # Waits for a reload in progress and prevents others.
                await self._reload_lock.acquire()
                await self.manager.stop()
                self.stop_requested.cancel()

    def _access_control(self) -> AccessControl:
        probes = {
            "/-/healthy": lambda: not self.manager.hung_panels(),
            "/-/ready": self.store.ready,
        }
        if self.web_config_file is None:
            return AccessControl(probes=probes)
        config = watched_config(self.web_config_file, self.clock)
        bucket = TokenBucket(self.clock)
        return AccessControl(config, probes=probes, bucket=bucket)

    def _connection_limits(self) -> Limits:
        # Many parallel scrapes need as many connections.
        limits = Limits()
        connections = max(limits.connections, 2 * self.max_requests)
        return replace(limits, connections=connections)

    def _handlers(self) -> Handlers:
        views = Views(
            self.exposition,
            self.shard,
            self.own_metrics.panel_errors,
            StatusPages(self.telemetry_path, self.shard, lambda: self._config.links),
            reload_error=lambda: self._reload_error,
        )
        return Handlers(
            self.store,
            self.exposition,
            views,
            self.telemetry_path,
            self.max_requests,
            effective_config=lambda: effective_config(self._config),
            hung_panels=self.manager.hung_panels,
            reload=self.reload,
        )

    async def _load(self) -> Config:
        files = FileSet(self.clock.time())
        try:
            # In a thread, because reading may block, for example on a pipe. Signals
            # must still work then.
            return await asyncio.to_thread(self.load, files)
        finally:
            self._files = files

    async def reload(self, *, if_different: bool = False) -> None:
        """Reload the configuration; on ConfigError, which is raised, keep the old one.

        ``if_different``: an unchanged configuration is not applied again, and the same
        error is not reported again.
        """
        async with self._reload_lock:
            last_error, self._reload_error = self._reload_error, None
            try:
                config = await self._load()
                if if_different and last_error is None and config == self._config:
                    return
                await self._apply(config)
            except ConfigError as error:
                now = self.clock.time()
                self._reload_error = LastError.of(error, now, last_error)
                known = last_error is not None and str(error) == last_error.error
                if not (if_different and known):
                    self.own_metrics.record_reload(time=None)
                    log.error(  # noqa: TRY400  # a traceback adds nothing
                        "configuration could not be reloaded, keeping the old one",
                        error=str(error),
                    )
                raise
            log.info("configuration reloaded", panels=len(self._config.panels))

    @asynccontextmanager
    async def _following_files(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._follow_files())
        task.add_done_callback(self._on_follower_end)
        try:
            yield
        finally:
            async with self._reload_lock:  # waits for a reload in progress
                task.cancel()

    def _on_follower_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._on_crash(error)

    async def _follow_files(self) -> None:
        never = asyncio.Event()
        while self.auto_reload_seconds is not None:
            await self.clock.wait(never, self.auto_reload_seconds)
            if await asyncio.to_thread(self._files.was_replaced, self.clock.time()):
                with suppress(ConfigError):  # logged and counted by ``reload``
                    await self.reload(if_different=True)

    async def _apply(self, config: Config) -> None:
        await self.manager.replace(config.panels)
        self._config = config
        self.exposition.detail = config.detail
        self.own_metrics.record_reload(time=self.clock.time())

    def request_stop(self) -> None:
        """Complete ``stop_requested``; repeated calls have no effect."""
        if not self.stop_requested.done():
            self.stop_requested.set_result(None)

    def _on_crash(self, error: BaseException) -> None:
        if not self.stop_requested.done():
            self.stop_requested.set_exception(error)


async def serve(
    flags: Flags, load: Callable[[FileSet], Config], environment: Mapping[str, str]
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    listeners = _listeners(flags, environment)
    freeze_garbage_collector()
    allow_open_files()
    exporter = Exporter(
        load=load,
        auto_reload_seconds=flags.auto_reload_interval if flags.auto_reload else None,
        shard=Shard(flags.shard, flags.total_shards),
        telemetry_path=flags.telemetry_path,
        max_requests=flags.max_requests,
        web_config_file=flags.web_config_file,
        notify_socket=NotifySocket.from_environment(environment),
    )
    install_signal_handlers(exporter.request_stop, exporter.reload)
    async with exporter.running(listeners) as addresses:
        for address in addresses:
            log.info(
                "listening",
                address=address,
                tls=exporter.access.ssl_context is not None,
                version=__version__,
            )
        await exporter.stop_requested
        log.info("stopping")
    return 0


def _listeners(flags: Flags, environment: Mapping[str, str]) -> tuple[Listener, ...]:
    if flags.systemd_socket:
        return passed_sockets(environment)
    if has_passed_sockets(environment):
        log.warning("systemd's socket is not used", hint="set --web.systemd-socket")
    return flags.listen_addresses


def freeze_garbage_collector() -> None:
    """Exclude all existing objects from garbage collection.

    Modules never become garbage, but are half of all objects to be traversed.
    """
    gc.collect()
    gc.freeze()


def allow_open_files() -> None:
    """Raise the limit on open files to the maximum for this process, as Go does.

    At the limit, asyncio accepts no connections and fills the log.
    """
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
