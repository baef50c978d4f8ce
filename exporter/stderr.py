"""Standard error, written by a thread, so that a slow reader or disk blocks nothing."""

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
"""Limit on waiting texts, most of which are lines."""
_FINISH_SECONDS = 0.2


class StderrStream(io.TextIOBase):
    """A text stream whose ``write`` neither blocks nor fails.

    A text is dropped if too many are waiting or if it cannot be written. The number of
    dropped texts is written as soon as possible.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to the file of a stream that nothing else writes to."""
        self.describe_dropped: Callable[[int], str] = _describe_dropped
        """Returns a line with the number of dropped texts."""
        self._encoding, self._fd = stream.encoding, stream.fileno()
        # SimpleQueue.put is reentrant: a finalizer may log during a put.
        self._waiting: SimpleQueue[str | threading.Event] = SimpleQueue()
        """Texts, and events to be set once all earlier texts are written."""
        self._refused = 0
        """Number of texts dropped because too many were waiting."""
        self._lock = threading.RLock()
        self._line_is_open = False
        threading.Thread(target=self._write_all, name="stderr", daemon=True).start()

    def write(self, text: str, /) -> int:
        """Queue a text to be written."""
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
        """Wait briefly until everything is written."""
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
                # The next text must not be appended to half a line.
                self._line_is_open |= written > 0
                return False
        self._line_is_open = False
        return True


def _describe_dropped(number: int) -> str:
    return f"{number} log lines could not be written here\n"


def finish() -> None:
    """Wait briefly until everything is written to standard error."""
    if isinstance(sys.stderr, StderrStream):
        sys.stderr.finish()


def exit_at_once(status: int) -> None:
    """Exit after a short wait for the last lines, even if something is running."""
    finish()
    os._exit(status)
