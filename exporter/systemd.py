"""systemd: socket activation, notifications of start and stop, the watchdog.

It takes only environment variables and a few system calls, so no library is used.
Source: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from .clock import Clock
from .errors import ConfigError

log = structlog.get_logger()

_FIRST_SOCKET_FD = 3
_SOCKET_COUNT = re.compile("[0-9]{1,3}")
_MICROSECONDS = re.compile("[0-9]{1,18}")
_SEND_TIMEOUT_SECONDS = 1.0
"""systemd may read slowly when many units start at once."""


def passed_sockets(environment: Mapping[str, str]) -> tuple[socket.socket, ...]:
    """Return the listening sockets of a ``.socket`` unit; raise ConfigError.

    Child processes do not inherit them.
    """
    sockets = [_listening_socket(fd) for fd in _socket_fds(environment)]
    if not sockets:
        raise ConfigError(
            "--web.systemd-socket: systemd passed no socket; start the .socket unit "
            "(systemctl start onapp-backup-exporter.socket), or leave the flag out"
        )
    return tuple(sockets)


def has_passed_sockets(environment: Mapping[str, str]) -> bool:
    """Return whether systemd passed sockets to this process, even unused ones."""
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
    """systemd restarts the process after this time without ``WATCHDOG=1``."""
    _send_failed: bool = field(default=False, init=False)

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> NotifySocket:
        """Return the socket that ``NOTIFY_SOCKET`` names; raise ConfigError."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address:
            return NotifySocket()
        if address[0] not in "/@":
            raise ConfigError(f"NOTIFY_SOCKET: {address!r} is neither a path nor @name")
        return NotifySocket(address, _watchdog_timeout(environment))

    def send(self, assignment: str) -> None:
        """Send an assignment such as ``READY=1``; log the first of several failures."""
        if not self.address:
            return
        address = self.address
        if address.startswith("@"):
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_SEND_TIMEOUT_SECONDS)
                sock.connect(address)
                sock.sendall(assignment.encode())
        except OSError as error:
            if not self._send_failed:
                log.warning("systemd could not be notified", error=str(error))
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


_HUNG_RECHECK_SECONDS = 1.0
"""Short, so that a poller that was only late does not delay the watchdog for long."""


@asynccontextmanager
async def notifying_systemd(
    notify_socket: NotifySocket, clock: Clock, hung_panels: Callable[[], list[str]]
) -> AsyncIterator[None]:
    """Report readiness on entry and the stop on exit; in between, feed the watchdog.

    ``hung_panels`` returns the names of the panels whose poller hangs. While there is
    one, the watchdog is not fed.
    """
    notify_socket.send("READY=1")
    watchdog_task = asyncio.create_task(_keep_alive(notify_socket, clock, hung_panels))
    try:
        yield
    finally:
        notify_socket.send("STOPPING=1")
        watchdog_task.cancel()
        await asyncio.gather(watchdog_task, return_exceptions=True)


async def _keep_alive(
    notify_socket: NotifySocket, clock: Clock, hung_panels: Callable[[], list[str]]
) -> None:
    if notify_socket.watchdog_seconds is None:
        return
    never = asyncio.Event()
    while True:
        hung = hung_panels()
        if not hung:
            notify_socket.send("WATCHDOG=1")
        seconds = notify_socket.watchdog_seconds / 2
        await clock.wait(never, _HUNG_RECHECK_SECONDS if hung else seconds)
