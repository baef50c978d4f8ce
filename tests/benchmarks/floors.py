"""The steps that every scrape of the same content needs, each by itself."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

from prometheus_client import generate_latest

from exporter import __version__
from exporter.metrics.exporter import ExporterMetrics
from exporter.metrics.gzip_member import deflated, deflated_text
from exporter.model.selection import Shard

_TIMES = 5
_PIECES = 6_000
"""About so many pieces a scrape of 100 000 backups is put together from."""
_AGE = re.compile(rb"^(onapp_backup_age_seconds\{[^}]*\} )(\d+)$", re.MULTILINE)
_READING = re.compile(
    r"^(onapp_vm_(?:poll_success|last_poll_success_timestamp_seconds)\{panel=\".*\","
    r"vm_id=\")(\d+)\"\} (\S+)$",
    re.MULTILINE,
)
_BLOCK = 480
"""Lines compressed at once."""


@dataclass(frozen=True)
class Floors:
    """Seconds."""

    join: float
    templates: float
    """To inflate the lines of ages."""
    ages: float
    readings: float
    """To write how the reading of each server goes."""
    compression: float
    socket: float
    own: float
    """To write the exporter's own metrics, as prometheus-client does it."""

    @property
    def together(self) -> float:
        """Return the sum: nothing of it can be done while another part is."""
        writing = self.templates + self.ages + self.readings + self.own
        return writing + self.compression + self.join + self.socket


def floors(text: bytes, body: bytes) -> Floors:
    """Measure what a scrape with this text, sent as this body, needs at least."""
    size = max(1, len(body) // _PIECES)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    found = _AGE.findall(text)
    blocks = [found[at : at + _BLOCK] for at in range(0, len(found), _BLOCK)]
    templates = [b"".join(head + b"%d\n" for head, _ in block) for block in blocks]
    moments = [[1_800_000_000 - int(age) for _, age in block] for block in blocks]

    def ages() -> list[bytes]:
        now = 1_800_000_000
        return [
            template % tuple([now - moment for moment in each])
            for template, each in zip(templates, moments, strict=True)
        ]

    kept = [deflated_text(template) for template in templates]
    output = [
        (head, int(vm_id), float(value))
        for head, vm_id, value in _READING.findall(text.decode())
    ]

    def readings() -> bytes:
        lines = [f'{head}{vm_id}"}} {value!r}\n' for head, vm_id, value in output]
        return "".join(lines).encode()

    own = ExporterMetrics(version=__version__, shard=Shard())
    own.panel("cp")
    written = [*ages(), readings()]
    return Floors(
        join=_best(lambda: b"".join(pieces)),
        templates=_best(lambda: [each.inflate() for each in kept]),
        ages=_best(ages),
        readings=_best(readings),
        compression=_best(lambda: [deflated(each) for each in written]),
        socket=_best(lambda: _send(body)),
        own=_best(lambda: generate_latest(own.registry)),
    )


def inflation(text: bytes) -> float:
    """Return the seconds that it takes to inflate a text from pieces."""
    size = 16 * 1024
    pieces = [deflated_text(text[at : at + size]) for at in range(0, len(text), size)]
    return _best(lambda: [each.inflate() for each in pieces])


def _best(work: Callable[[], object]) -> float:
    found = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)


def _send(body: bytes) -> None:
    """Send bytes over the loopback interface to a reader that throws them away."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=_read, args=(server.getsockname(),))
        thread.start()
        with server.accept()[0] as connection:
            connection.sendall(body)
        thread.join()


def _read(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        while connection.recv(256 * 1024):
            pass
