"""Standard error, written by a thread, so that no reader and no disk stops the rest."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
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
        # A lock that its owner may take again: a finalizer may log at any moment.
        self._changed = threading.Condition()
        self._waiting: deque[str | int] = deque()
        """Texts, and in their place the numbers of those that were dropped."""
        self._writing = False
        self._line_is_open = False
        self._thread: threading.Thread | None = None

    def write(self, text: str, /) -> int:
        """Add a text to those that wait to be written."""
        with self._changed:
            if text:
                self._add(text)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._write_all, name="stderr", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()
        return len(text)

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether the file is a terminal."""
        return os.isatty(self._fd)

    def finish(self) -> None:
        """Wait a moment until everything is written."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._waiting and not self._writing, _FINISH_SECONDS
            )

    def _add(self, text: str) -> None:
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(text)
        elif isinstance(last := self._waiting[-1], int):
            self._waiting[-1] = last + 1
        else:
            self._waiting.append(1)

    def _write_all(self) -> None:
        dropped = 0
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                next_text = self._waiting.popleft()
                self._writing = True
            text = next_text if isinstance(next_text, str) else ""
            dropped += next_text if isinstance(next_text, int) else 0
            if self._put((self.describe_dropped(dropped) if dropped else "") + text):
                dropped = 0
            elif text:
                dropped += 1

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
