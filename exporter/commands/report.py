"""The report of ``check`` as a table or as JSON, and progress on a terminal.

The fields of the structs are the keys of ``check --format json``, which are stable.
"""

from __future__ import annotations

import enum
import os
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

import msgspec

from ..onapp.error_body import printable
from ..status.reasons import counted


class StepStatus(enum.StrEnum):
    """The result of a step, a panel or a whole check."""

    OK = "ok"
    OFF = "off"
    """Switched off, or not used."""
    UNTRIED = "untried"
    """Not tried, because an earlier step failed."""
    DEGRADED = "degraded"
    """Something cannot be read; the rest works."""
    FAILED = "failed"
    """Backups cannot be monitored."""


_EXIT_STATUSES = {StepStatus.DEGRADED: 1, StepStatus.FAILED: 2}


def exit_status(status: StepStatus) -> int:
    """Return the exit status of the process: 0, 1 or 2."""
    return _EXIT_STATUSES.get(status, 0)


def worst_status(statuses: Iterable[StepStatus]) -> StepStatus:
    """Return the worst status: ok, degraded or failed; the others count as ok."""
    result = max(statuses, key=exit_status, default=StepStatus.OK)
    return result if exit_status(result) else StepStatus.OK


class StepResult(msgspec.Struct, frozen=True):
    """The result of one step."""

    step: str
    status: StepStatus
    text: str
    hint: str | None = None
    """What to do about it."""
    http_status: int | None = None
    """HTTP status of the last answer; None: there was none."""


class Sample(msgspec.Struct, frozen=True):
    """The result of reading the backups of some servers."""

    servers: int
    failed: int
    backups: int


class Cost(msgspec.Struct, frozen=True):
    """The requests of polling, by resource."""

    requests_per_pass: dict[str, int]
    """Requests to read everything once, as in the first pass."""
    requests_per_hour: dict[str, float]
    seconds_per_pass: float
    """A lower bound, from the latency of single requests."""
    concurrency: int
    """``poll.concurrency``: concurrent requests."""


class PanelReport(msgspec.Struct, frozen=True):
    """The result of one panel's check."""

    panel: str
    url: str
    status: StepStatus
    checks: tuple[StepResult, ...]
    version: str | None = None
    servers: int | None = None
    """Servers that this exporter reads; it may be one of several shards."""
    sample: Sample | None = None
    clock_skew_seconds: float | None = None
    """The panel's clock minus this host's."""
    cost: Cost | None = None


class CheckReport(msgspec.Struct, frozen=True):
    """The result of the whole check."""

    exporter_version: str
    status: StepStatus
    error: str | None
    """Why no panel could be checked; None: panels were checked."""
    panels: tuple[PanelReport, ...]


_ERASE_LINE = "\r\x1b[K"
_MIN_TEXT_COLUMNS = 20


def columns(stream: TextIO) -> int | None:
    """Return the width of a terminal; None: the stream is not a terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def wrapped(text: str, first: str, rest: str, width: int | None) -> list[str]:
    """Return the text in lines, prefixed with ``first`` and then with ``rest``."""
    if width is None:
        return [first + text]
    return textwrap.wrap(
        text,
        max(width, _MIN_TEXT_COLUMNS + max(len(first), len(rest))),
        initial_indent=first,
        subsequent_indent=rest,
    )


@dataclass(slots=True, eq=False, weakref_slot=True)  # structlog locks each stream
class Progress:
    """A progress line on a terminal, overwritten each time.

    Streams that are no terminal show none. Other output to the same terminal, such as
    the log, must be written through this object.
    """

    stream: TextIO
    dumb: bool = False
    """Whether the terminal has no control sequences (``TERM=dumb``)."""
    _shown: str = field(default="", init=False)

    def show(self, text: str) -> None:
        """Replace the progress line."""
        if text == self._shown or self.dumb or not self.stream.isatty():
            return
        width = os.get_terminal_size(self.stream.fileno()).columns or 80
        self.stream.write(_ERASE_LINE + printable(text)[: width - 1])
        self.stream.flush()
        self._shown = text

    def clear(self) -> None:
        """Erase the progress line."""
        if self._shown:
            self.stream.write(_ERASE_LINE)
            self.stream.flush()
        self._shown = ""

    def write(self, text: str) -> int:
        """Erase the progress line, then write other output."""
        self.clear()
        return self.stream.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()


_STEP_COLUMNS = 16
_STATUS_COLUMNS = 10
_NARROW_COLUMNS = 60
_UPPERCASE_STATUSES = (StepStatus.DEGRADED, StepStatus.FAILED)


def as_json(report: CheckReport) -> str:
    """Return the report as one JSON object; its keys are documented."""
    text = msgspec.json.encode(report)
    return msgspec.json.format(text, indent=2).decode() + "\n"


def as_table(report: PanelReport, width: int | None) -> str:
    """Return one panel's table; a width of None: lines are not wrapped."""
    heading = f"{printable(report.panel)}  {printable(report.url)}"
    lines = [*wrapped(heading, "", "  ", width)]
    for check in report.checks:
        if check.status != StepStatus.UNTRIED:
            lines += _row(check, width)
    untried = [c.step for c in report.checks if c.status == StepStatus.UNTRIED]
    if untried:
        head = f"  {'not tried':<{_STEP_COLUMNS}}"
        lines += wrapped(", ".join(untried), head, "    ", width)
    return "\n".join(lines) + "\n"


def summary_line(report: CheckReport) -> str:
    """Return the last line: the number of panels by status."""
    counts = Counter(panel.status for panel in report.panels)
    statuses = (StepStatus.OK, *_UPPERCASE_STATUSES)
    counts_text = ", ".join(
        f"{counts[status]} {status}" for status in statuses if counts[status]
    )
    return f"{counted(len(report.panels), 'panel')}: {counts_text}\n"


def _row(check: StepResult, width: int | None) -> Iterator[str]:
    status = (
        check.status.upper() if check.status in _UPPERCASE_STATUSES else check.status
    )
    head = f"  {check.step:<{_STEP_COLUMNS}}{status:<{_STATUS_COLUMNS}}"
    indent = " " * len(head)
    if width is not None and width < _NARROW_COLUMNS:
        yield head.rstrip()
        head = indent = "    "
    yield from wrapped(check.text, head, indent, width)
    if check.hint:
        yield from wrapped(f"do: {check.hint}", indent, indent, width)
