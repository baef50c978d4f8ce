"""A value made of files, made again when one of them has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from ..clock import Clock
from ..errors import ConfigError

log = structlog.get_logger()

T = TypeVar("T")
Fingerprint = tuple[int, int, int, int, int] | None

_SHORTEST_PAUSE_SECONDS = 1.0
_SETTLED_SECONDS = 2.0


@dataclass(slots=True)
class FileSet:
    """Which files a value was made of, and how they looked just before."""

    now: float
    """The Unix time of the making."""
    seen: dict[Path, Fingerprint] = field(default_factory=dict)
    settled: bool = True
    """Whether none was so new that it may be written again without a new time."""

    def note(self, path: Path) -> Path:
        """Take note of a file that is about to be read."""
        found = self.seen[path] = _fingerprint(path)
        if found is not None:
            changed_at = max(found[3:]) / 1e9
            self.settled &= abs(self.now - changed_at) > _SETTLED_SECONDS
        return path

    def changed(self) -> bool:
        """Tell whether one looks different now, or may be."""
        return not self.settled or any(
            _fingerprint(path) != before for path, before in self.seen.items()
        )


def _fingerprint(path: Path) -> Fingerprint:
    try:
        found = os.stat(path)  # noqa: PTH116  # three times faster than Path.stat
    except (OSError, ValueError):
        return None
    return (
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


class FileWatcher(Generic[T]):
    """Keeps a value up to date; what cannot be made leaves the old one in place."""

    def __init__(
        self,
        what: str,
        make: Callable[[FileSet, T | None], T],
        clock: Clock,
    ) -> None:
        """Make the value; raise ConfigError if that fails.

        ``make`` is given the old value, and notes each file before it reads it.
        """
        self._what, self._make, self._clock = what, make, clock
        self._files = FileSet(clock.time())
        self._value = make(self._files, None)
        self._looked = clock.monotonic()
        self._trouble: str | None = None

    def current(self) -> T:
        """Return the value; look for changes, but not more often than once a second."""
        now = self._clock.monotonic()
        if now - self._looked >= _SHORTEST_PAUSE_SECONDS:
            self._looked = now
            if self._files.changed():
                self._renew()
        return self._value

    def _renew(self) -> None:
        before, self._files = self._files.seen, FileSet(self._clock.time())
        try:
            self._value = self._make(self._files, self._value)
        except ConfigError as error:
            if str(error) != self._trouble:
                log.error("not read again", what=self._what, error=str(error))  # noqa: TRY400  # a traceback says no more
            self._trouble = str(error)
            return
        if self._trouble is not None or self._files.seen != before:
            log.info("read again", what=self._what)
        self._trouble = None
