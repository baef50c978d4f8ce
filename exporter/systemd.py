"""What systemd hands to a service, and what it is told: sockets and a few words.

Both are environment variables and a system call or two, for which no library is
loaded. Source: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from .clock import Clock
from .errors import ConfigError
from .model.store import PanelStore, Store

log = structlog.get_logger()

_FIRST_SOCKET = 3
_COUNT = re.compile("[0-9]{1,3}")
_MICROSECONDS = re.compile("[0-9]{1,18}")
_LONGEST_SENDING_SECONDS = 1.0
"""systemd may have much to read when everything starts at once."""


def passed_sockets(environment: Mapping[str, str]) -> tuple[socket.socket, ...]:
    """Return the sockets that a ``.socket`` unit listens on; raise ConfigError.

    They are not passed on to programs that this process may start.
    """
    sockets = [_listening(number) for number in _numbers(environment)]
    if not sockets:
        raise ConfigError(
            "--web.systemd-socket: systemd passed no socket; start the .socket unit "
            "(systemctl start onapp-backup-exporter.socket), or leave the flag out"
        )
    return tuple(sockets)


def sockets_wait(environment: Mapping[str, str]) -> bool:
    """Tell whether systemd passed sockets to this process, wanted or not."""
    mine = environment.get("LISTEN_PID") == str(os.getpid())
    return mine and environment.get("LISTEN_FDS", "0") != "0"


def _numbers(environment: Mapping[str, str]) -> range:
    """Return the file numbers of the sockets."""
    meant, count = environment.get("LISTEN_PID"), environment.get("LISTEN_FDS", "0")
    if meant not in (None, str(os.getpid())):
        raise ConfigError(
            f"--web.systemd-socket: the sockets are for process {meant} and this is "
            f"{os.getpid()}; ExecStart= must start the exporter itself, and no shell"
        )
    if not _COUNT.fullmatch(count):
        raise ConfigError(f"--web.systemd-socket: LISTEN_FDS {count!r} is no number")
    found = 0 if meant is None else int(count)
    return range(_FIRST_SOCKET, _FIRST_SOCKET + found)


def _listening(number: int) -> socket.socket:
    try:
        os.set_inheritable(number, False)  # noqa: FBT003  # takes no keyword
        passed = socket.socket(fileno=number)
    except OSError as error:
        raise ConfigError(
            f"--web.systemd-socket: file {number} that systemd passed cannot be used: "
            f"{os.strerror(error.errno or 0).lower()}"
        ) from None
    if not _listens(passed):
        raise ConfigError(
            f"--web.systemd-socket: file {number} that systemd passed is no socket "
            "that listens; the .socket unit needs ListenStream= and Accept=no"
        )
    passed.settimeout(0)
    return passed


def _listens(passed: socket.socket) -> bool:
    streams = passed.type == socket.SOCK_STREAM
    return streams and passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


@dataclass(slots=True, eq=False)
class NotifySocket:
    """Whoever started this process and wants to know how it fares, if anybody does."""

    address: str = ""
    """A path, or ``@`` and a name; empty: nobody asks."""
    watchdog_seconds: float | None = None
    """After so long without a word it restarts this process; None: never."""
    _silent: bool = field(default=False, init=False)

    @staticmethod
    def of(environment: Mapping[str, str]) -> NotifySocket:
        """Return who asks; raise ConfigError."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address:
            return NotifySocket()
        if address[0] not in "/@":
            raise ConfigError(f"NOTIFY_SOCKET: {address!r} is neither a path nor @name")
        return NotifySocket(address, _watchdog_seconds(environment))

    def tell(self, *words: str) -> None:
        """Send assignments such as ``READY=1``; what cannot be sent is logged once."""
        if not self.address:
            return
        address = self.address
        if address.startswith("@"):
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.settimeout(_LONGEST_SENDING_SECONDS)
                sending.connect(address)
                sending.sendall("\n".join(words).encode())
        except OSError as error:
            if not self._silent:
                log.warning("systemd cannot be told", error=str(error))
            self._silent = True
        else:
            self._silent = False


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    text, mine = environment.get("WATCHDOG_USEC"), str(os.getpid())
    if not text or environment.get("WATCHDOG_PID", mine) != mine:
        return None
    if not _MICROSECONDS.fullmatch(text) or int(text) == 0:
        raise ConfigError(f"WATCHDOG_USEC: {text!r} is not a number of microseconds")
    return int(text) / 1e6


_STATUS_SECONDS = 15.0
_ANOTHER_LOOK_SECONDS = 1.0
"""What was late a moment ago, on a busy machine, must not cost a whole beat."""


@dataclass(slots=True, eq=False)
class SystemdNotifier:
    """Speaks for one exporter to its supervisor."""

    supervisor: NotifySocket
    store: Store
    clock: Clock
    hanging: Callable[[], list[str]]
    """Returns the names of the panels whose poller does not turn."""
    _hung: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Say that the exporter is ready, then how it fares, at last that it ends."""
        if not self.supervisor.address:
            yield
            return
        self.supervisor.tell("READY=1", self._status())
        telling = asyncio.create_task(self._tell())
        try:
            yield
        finally:
            self.supervisor.tell("STOPPING=1", "STATUS=ending")
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that the configuration is being loaded again, and when that is over."""
        microseconds = int(self.clock.monotonic() * 1e6)
        self.supervisor.tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}")
        try:
            yield
        finally:
            self.supervisor.tell("READY=1", self._status())

    async def _tell(self) -> None:
        never = asyncio.Event()
        while True:
            await self.clock.wait(never, self._beat())

    def _beat(self) -> float:
        """Feed the watchdog if all is well; return when to do so again."""
        hung, known = self.hanging(), self._hung
        self._hung = hung
        for name in hung:
            if name not in known:
                log.error("polling hangs", panel=name)
        words = [] if hung or self._watchdog is None else ["WATCHDOG=1"]
        self.supervisor.tell(*words, self._status())
        if hung:
            return _ANOTHER_LOOK_SECONDS
        return min(_STATUS_SECONDS, (self._watchdog or _STATUS_SECONDS) / 2)

    @property
    def _watchdog(self) -> float | None:
        return self.supervisor.watchdog_seconds

    def _status(self) -> str:
        if self._hung:
            return f"STATUS=polling hangs: {', '.join(self._hung)}"
        now = self.clock.monotonic()
        panels = self.store.panels.values()
        up = sum(panel.up(now) is True for panel in panels)
        servers = sum(len(panel.servers) for panel in panels)
        unread = sum(map(_unread, panels))
        pass_ = self._last_answer() if self.store.ready() else "first pass under way"
        return (
            f"STATUS={up} of {len(panels)} panels up; {servers} servers, {unread} of "
            f"them not read; {pass_}"
        )

    def _last_answer(self) -> str:
        heard = [panel.last_proven_at_monotonic for panel in self.store.panels.values()]
        at = max((moment for moment in heard if moment is not None), default=None)
        if at is None:
            return "no answer yet"
        seconds = self.clock.time() - (self.clock.monotonic() - at)
        moment = datetime.fromtimestamp(seconds, UTC)
        return f"last answer {moment:%H:%M:%S} UTC"


def _unread(panel: PanelStore) -> int:
    """Return how many servers could not be read when they were last tried."""
    return sum(watch.failing is True for watch in panel.servers.values())
