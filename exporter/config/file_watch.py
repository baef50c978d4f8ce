"""A value that is loaded from files, and loaded again when one of them changes."""

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

_CHECK_INTERVAL_SECONDS = 1.0
_SETTLED_SECONDS = 2.0


@dataclass(slots=True)
class FileSet:
    """The files that a value was loaded from, with their fingerprints."""

    read_at: float
    """Unix time."""
    fingerprints: dict[Path, Fingerprint] = field(default_factory=dict)
    settled: bool = True
    """Whether a later change of any file is sure to change its fingerprint.

    File times are coarse: a file just written may change without a new time.
    """

    def add(self, path: Path) -> Path:
        """Remember a file's fingerprint; call it before the file is read."""
        fingerprint = self.fingerprints[path] = _fingerprint(path)
        if fingerprint is not None:
            changed_at = max(fingerprint[3:]) / 1e9
            self.settled &= abs(self.read_at - changed_at) > _SETTLED_SECONDS
        return path

    def changed(self) -> bool:
        """Return whether a file has changed, or may have."""
        return not self.settled or any(
            _fingerprint(path) != old for path, old in self.fingerprints.items()
        )


def _fingerprint(path: Path) -> Fingerprint:
    try:
        status = os.stat(path)  # noqa: PTH116  # three times faster than Path.stat
    except (OSError, ValueError):
        return None
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


class FileWatcher(Generic[T]):
    """A value that follows its files; if they become unusable, it stays as it was."""

    def __init__(
        self,
        subject: str,
        make: Callable[[FileSet, T | None], T],
        clock: Clock,
    ) -> None:
        """Load the value; raise ConfigError if that fails.

        ``make`` is given the old value, and adds each file before it reads it.
        ``subject`` names the value in the log.
        """
        self._subject, self._make, self._clock = subject, make, clock
        self._files = FileSet(clock.time())
        self._value = make(self._files, None)
        self._checked_at = clock.monotonic()
        self._last_error: str | None = None

    def current(self) -> T:
        """Return the value; check for changes at most once a second."""
        now = self._clock.monotonic()
        if now - self._checked_at >= _CHECK_INTERVAL_SECONDS:
            self._checked_at = now
            if self._files.changed():
                self._reload()
        return self._value

    def _reload(self) -> None:
        old_fingerprints, self._files = (
            self._files.fingerprints,
            FileSet(self._clock.time()),
        )
        try:
            self._value = self._make(self._files, self._value)
        except ConfigError as error:
            if str(error) != self._last_error:
                log.error("not read again", what=self._subject, error=str(error))  # noqa: TRY400  # a traceback says no more
            self._last_error = str(error)
            return
        if self._last_error is not None or self._files.fingerprints != old_fingerprints:
            log.info("read again", what=self._subject)
        self._last_error = None
