"""systemd: socket activation, readiness and status notifications, the watchdog.

All of it is environment variables and a few system calls, so no library is loaded.
Source: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
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

_FIRST_SOCKET_FD = 3
_SOCKET_COUNT = re.compile("[0-9]{1,3}")
_MICROSECONDS = re.compile("[0-9]{1,18}")
_SEND_TIMEOUT_SECONDS = 1.0
"""systemd may read slowly when many units start at once."""


def passed_sockets(environment: Mapping[str, str]) -> tuple[socket.socket, ...]:
    """Return the listening sockets of a ``.socket`` unit; raises ConfigError.

    Programs that this process starts do not inherit them.
    """
    sockets = [_listening_socket(fd) for fd in _socket_fds(environment)]
    if not sockets:
        raise ConfigError(
            "--web.systemd-socket: systemd passed no socket; start the .socket unit "
            "(systemctl start onapp-backup-exporter.socket), or leave the flag out"
        )
    return tuple(sockets)


def has_passed_sockets(environment: Mapping[str, str]) -> bool:
    """Return whether systemd passed sockets to this process, used or not."""
    for_this_process = environment.get("LISTEN_PID") == str(os.getpid())
    return for_this_process and environment.get("LISTEN_FDS", "0") != "0"


def _socket_fds(environment: Mapping[str, str]) -> range:
    """Return the file descriptors of the sockets."""
    listen_pid = environment.get("LISTEN_PID")
    listen_fds = environment.get("LISTEN_FDS", "0")
    if listen_pid not in (None, str(os.getpid())):
        raise ConfigError(
            f"--web.systemd-socket: the sockets are for process {listen_pid} and this "
            f"is {os.getpid()}; ExecStart= must start the exporter itself, and no shell"
        )
    if not _SOCKET_COUNT.fullmatch(listen_fds):
        raise ConfigError(
            f"--web.systemd-socket: LISTEN_FDS {listen_fds!r} is no number"
        )
    count = 0 if listen_pid is None else int(listen_fds)
    return range(_FIRST_SOCKET_FD, _FIRST_SOCKET_FD + count)


def _listening_socket(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)  # noqa: FBT003  # takes no keyword
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigError(
            f"--web.systemd-socket: file {fd} that systemd passed cannot be used: "
            f"{os.strerror(error.errno or 0).lower()}"
        ) from None
    if not _is_listening(sock):
        raise ConfigError(
            f"--web.systemd-socket: file {fd} that systemd passed is no socket "
            "that listens; the .socket unit needs ListenStream= and Accept=no"
        )
    sock.settimeout(0)
    return sock


def _is_listening(sock: socket.socket) -> bool:
    is_stream = sock.type == socket.SOCK_STREAM
    return is_stream and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


@dataclass(slots=True, eq=False)
class NotifySocket:
    """Socket for sd_notify(3) messages, if the service manager passed one."""

    address: str = ""
    """A path, or ``@`` and an abstract name; empty: no notifications."""
    watchdog_seconds: float | None = None
    """systemd restarts the process after so long without ``WATCHDOG=1``."""
    _send_failed: bool = field(default=False, init=False)

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> NotifySocket:
        """Return the socket that ``NOTIFY_SOCKET`` names; raises ConfigError."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address:
            return NotifySocket()
        if address[0] not in "/@":
            raise ConfigError(f"NOTIFY_SOCKET: {address!r} is neither a path nor @name")
        return NotifySocket(address, _watchdog_timeout(environment))

    def send(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1``; log the first failure in a row."""
        if not self.address:
            return
        address = self.address
        if address.startswith("@"):
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_SEND_TIMEOUT_SECONDS)
                sock.connect(address)
                sock.sendall("\n".join(assignments).encode())
        except OSError as error:
            if not self._send_failed:
                log.warning("systemd cannot be told", error=str(error))
            self._send_failed = True
        else:
            self._send_failed = False


def _watchdog_timeout(environment: Mapping[str, str]) -> float | None:
    text, own_pid = environment.get("WATCHDOG_USEC"), str(os.getpid())
    if not text or environment.get("WATCHDOG_PID", own_pid) != own_pid:
        return None
    if not _MICROSECONDS.fullmatch(text) or int(text) == 0:
        raise ConfigError(f"WATCHDOG_USEC: {text!r} is not a number of microseconds")
    return int(text) / 1e6


_STATUS_INTERVAL_SECONDS = 15.0
_HUNG_RECHECK_SECONDS = 1.0
"""A poller that was only late on a busy machine must not cost a whole interval."""


@dataclass(slots=True, eq=False)
class SystemdNotifier:
    """Reports the state of one exporter to systemd."""

    notify_socket: NotifySocket
    store: Store
    clock: Clock
    hung_panels: Callable[[], list[str]]
    """Returns the names of the panels whose poller should run and does not."""
    _hung: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def notifying(self) -> AsyncIterator[None]:
        """Report readiness on entry, the status meanwhile, and the stop on exit."""
        if not self.notify_socket.address:
            yield
            return
        self.notify_socket.send("READY=1", self._status())
        notify_task = asyncio.create_task(self._notify_forever())
        try:
            yield
        finally:
            self.notify_socket.send("STOPPING=1", "STATUS=ending")
            notify_task.cancel()
            await asyncio.gather(notify_task, return_exceptions=True)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report a reload of the configuration, and readiness after it."""
        microseconds = int(self.clock.monotonic() * 1e6)
        self.notify_socket.send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")
        try:
            yield
        finally:
            self.notify_socket.send("READY=1", self._status())

    async def _notify_forever(self) -> None:
        never = asyncio.Event()
        while True:
            await self.clock.wait(never, self._notify())

    def _notify(self) -> float:
        """Send the status, and ``WATCHDOG=1`` if no poller hangs.

        Returns after how many seconds to do so again.
        """
        hung, reported = self.hung_panels(), self._hung
        self._hung = hung
        for name in hung:
            if name not in reported:
                log.error("polling hangs", panel=name)
        assignments = [] if hung or self._watchdog_seconds is None else ["WATCHDOG=1"]
        self.notify_socket.send(*assignments, self._status())
        if hung:
            return _HUNG_RECHECK_SECONDS
        return min(
            _STATUS_INTERVAL_SECONDS,
            (self._watchdog_seconds or _STATUS_INTERVAL_SECONDS) / 2,
        )

    @property
    def _watchdog_seconds(self) -> float | None:
        return self.notify_socket.watchdog_seconds

    def _status(self) -> str:
        if self._hung:
            return f"STATUS=polling hangs: {', '.join(self._hung)}"
        now = self.clock.monotonic()
        panels = self.store.panels.values()
        up = sum(panel.up(now) is True for panel in panels)
        servers = sum(len(panel.servers) for panel in panels)
        unread = sum(map(_unread_servers, panels))
        progress = self._last_answer() if self.store.ready() else "first pass under way"
        return (
            f"STATUS={up} of {len(panels)} panels up; {servers} servers, {unread} of "
            f"them not read; {progress}"
        )

    def _last_answer(self) -> str:
        moments = [
            panel.last_proven_at_monotonic for panel in self.store.panels.values()
        ]
        last = max((moment for moment in moments if moment is not None), default=None)
        if last is None:
            return "no answer yet"
        unix_time = self.clock.time() - (self.clock.monotonic() - last)
        answered_at = datetime.fromtimestamp(unix_time, UTC)
        return f"last answer {answered_at:%H:%M:%S} UTC"


def _unread_servers(panel: PanelStore) -> int:
    """Return the number of servers whose last read failed."""
    return sum(entry.failing is True for entry in panel.servers.values())
