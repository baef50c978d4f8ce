"""What is logged, how, and what must never be: structured lines on standard error.

Every event is one line, whatever a panel, a file or a library has put into it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from types import TracebackType
from typing import Protocol, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from .errors import trace

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_FIRST = ("ts", "level", "msg")
_QUOTING = ("aiohttp.client", "aiohttp.internal")
"""Their warnings are about a panel's headers, and quote them."""
_PLAIN = re.compile(r"[^\s\"=\\\x00-\x20\x7f-\xa0]+")


class Sink(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Take a piece of text."""

    def flush(self) -> object:
        """Let it be seen."""


def configure(level: str, form: str, stream: Sink | None = None) -> None:
    """Write logfmt or JSON lines of at least ``level`` from now on.

    The standard library's logging (asyncio, aiohttp) goes the same way.
    """
    stream = stream or sys.stderr
    shared: list[Processor] = [
        _traced,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.EventRenamer("msg"),
    ]
    structlog.configure(
        processors=[*shared, _RENDERERS[form]],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", stream)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _RENDERERS[form],
            ],
        )
    )
    # Libraries at debug level would log requests with their headers.
    logging.basicConfig(
        level=max(LEVELS[level], logging.INFO), handlers=[handler], force=True
    )
    for name in _QUOTING:
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.excepthook = _ended


def _ended(
    kind: type[BaseException], error: BaseException, _: TracebackType | None
) -> None:
    """Log what nobody has caught, where Python would print its message too."""
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().error("ended by a bug in the exporter", exc_info=error)


def _traced(_: object, __: str, event: EventDict) -> EventDict:
    """Write an exception as where it came from, and nothing of what it holds."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = trace(error)
        # asyncio adds the arguments of the callback, and the exception again.
        event["event"] = re.split(r"[\n(<]", str(event["event"]))[0].strip()
    return event


def _json(_: object, __: str, event: EventDict) -> str:
    ordered = _ordered(event)
    text = json.dumps(ordered, default=str, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(ordered, default=str)


def _logfmt(_: object, __: str, event: EventDict) -> str:
    return " ".join(f"{key}={_value(value)}" for key, value in _ordered(event).items())


_RENDERERS = {"json": _json, "logfmt": _logfmt}


def _ordered(event: EventDict) -> EventDict:
    return {key: event.pop(key) for key in _FIRST if key in event} | dict(event)


def _value(value: object) -> str:
    """Write a value; in quotes, escaped as JSON, unless it is one plain word."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
