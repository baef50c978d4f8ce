"""Standard error, written by a thread, so that no reader and no disk stops the rest."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TextIO

_MAX_WAITING = 1000
"""Texts, most of them lines."""
_FINISH_SECONDS = 0.2


class StderrStream(io.TextIOBase):
    """A text stream whose ``write`` neither waits nor fails.

    A text is dropped while too many wait to be written, or if it cannot be written.
    How many were dropped is written once that is possible again.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to the file of a stream, which nobody else writes to."""
        self.describe_dropped: Callable[[int], str] = _describe_dropped
        """Returns a line that says how many were dropped."""
        self._encoding, self._fd = stream.encoding, stream.fileno()
        # It may be put into while it is put into: a finalizer may log at any moment.
        self._waiting: SimpleQueue[str | threading.Event] = SimpleQueue()
        """Texts, and events to be set when what came before is written."""
        self._refused = 0
        """Texts that were not taken because too many waited."""
        self._lock = threading.RLock()
        self._line_is_open = False
        threading.Thread(target=self._write_all, name="stderr", daemon=True).start()

    def write(self, text: str, /) -> int:
        """Add a text to those that wait to be written."""
        if self._waiting.qsize() < _MAX_WAITING:
            self._waiting.put(text)
        else:
            with self._lock:
                self._refused += 1
        return len(text)

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether the file is a terminal."""
        return os.isatty(self._fd)

    def finish(self) -> None:
        """Wait a moment until everything is written."""
        written = threading.Event()
        self._waiting.put(written)
        written.wait(_FINISH_SECONDS)

    def _write_all(self) -> None:
        failed = reported = 0
        while True:
            waiting = self._waiting.get()
            if isinstance(waiting, threading.Event):
                waiting.set()
            elif waiting and not self._put(waiting):
                failed += 1
            dropped = failed + self._refused - reported
            if dropped and self._waiting.empty():
                reported += dropped if self._put(self.describe_dropped(dropped)) else 0

    def _put(self, text: str) -> bool:
        """Write a text; return whether that succeeded."""
        if self._line_is_open:
            text = "\n" + text
        content = text.encode(self._encoding, "backslashreplace")
        written = 0
        while written < len(content):
            try:
                written += os.write(self._fd, content[written:])
            except BlockingIOError:
                select.select([], [self._fd], [])
            except OSError:
                # What comes next must not be appended to half a line.
                self._line_is_open |= written > 0
                return False
        self._line_is_open = False
        return True


def _describe_dropped(number: int) -> str:
    return f"{number} lines could not be written here\n"


def finish() -> None:
    """Wait a moment until everything is written to standard error."""
    if isinstance(sys.stderr, StderrStream):
        sys.stderr.finish()


def exit_at_once(status: int) -> None:
    """End the process, whatever still runs, after a moment for the last lines."""
    finish()
    os._exit(status)
