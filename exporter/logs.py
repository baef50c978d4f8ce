"""Logging: structured lines on standard error, without secrets.

Every event is one line, even if text from a panel, a file or a library has several.
"""

from __future__ import annotations

import logging
import re
import sys
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from .errors import redacted_traceback
from .stderr import StderrStream

_FIRST_KEYS = ("ts", "level", "msg")
_LOGGERS_QUOTING_HEADERS = ("aiohttp.client", "aiohttp.internal")
"""Their warnings quote the headers of a panel's answer."""


def configure(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Log events of at least ``level`` as logfmt or JSON lines.

    Events of the standard library's logging (asyncio, aiohttp) have the same format.
    """
    stream = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    pre_chain: list[Processor] = [
        _redact_traceback,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.EventRenamer("msg"),
    ]
    rendering = _RENDERING[log_format]
    structlog.configure(
        processors=[*pre_chain, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=pre_chain,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *rendering,
            ],
        )
    )
    # At debug level, libraries would log requests with their headers.
    logging.basicConfig(level=max(number, logging.INFO), handlers=[handler], force=True)
    for name in _LOGGERS_QUOTING_HEADERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.excepthook = _log_uncaught

    def describe_dropped(number: int) -> str:
        event: Any = {"event": "log lines dropped", "lines": number}
        for processor in (*pre_chain, *rendering):
            event = processor(None, "warning", event)
        return f"{event}\n"

    if isinstance(sys.stderr, StderrStream):
        sys.stderr.describe_dropped = describe_dropped


def _log_uncaught(
    error_type: type[BaseException], error: BaseException, _: TracebackType | None
) -> None:
    """Log an uncaught exception without its message, unlike Python's own hook."""
    if issubclass(error_type, KeyboardInterrupt):
        return
    structlog.get_logger().error("stopped by a bug in the exporter", exc_info=error)


def _redact_traceback(_: object, __: str, event: EventDict) -> EventDict:
    """Replace an exception by its traceback without messages."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = redacted_traceback(error)
        # asyncio appends the callback's arguments, and the exception again.
        event["event"] = re.split(r"[\n(<]", str(event["event"]))[0].strip()
    return event


def _escape_controls(_: object, __: str, event: EventDict) -> EventDict:
    """Escape characters that move the cursor or begin a line.

    The renderer escapes line feeds.
    """
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = "".join(
                c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in value
            )
    return event


def _order_keys(_: object, __: str, event: EventDict) -> EventDict:
    return {key: event.pop(key) for key in _FIRST_KEYS if key in event} | dict(event)


_RENDERING: dict[str, tuple[Processor, ...]] = {
    "json": (_order_keys, structlog.processors.JSONRenderer(default=str)),
    "logfmt": (
        _order_keys,
        _escape_controls,
        structlog.processors.LogfmtRenderer(bool_as_flag=False),
    ),
}
