"""Values loaded from files, and loaded again when one of the files changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from ..clock import Clock
from ..errors import ConfigError

T = TypeVar("T")
Fingerprint = tuple[int, int, int, int, int] | None

_SETTLED_SECONDS = 2.0


@dataclass(slots=True)
class FileSet:
    """The files that a value was loaded from, with their fingerprints."""

    read_at: float = 0.0
    """Unix time."""
    fingerprints: dict[Path, Fingerprint] = field(default_factory=dict)
    settled: bool = True
    """Whether any later change to a file will change its fingerprint.

    File times are coarse: a file that was just written may change and keep its time.
    """

    def add(self, path: Path) -> Path:
        """Store a file's fingerprint; call this before the file is read."""
        fingerprint = self.fingerprints[path] = _fingerprint(path)
        for changed_at in () if fingerprint is None else fingerprint[3:]:
            self.settled &= abs(self.read_at - changed_at / 1e9) > _SETTLED_SECONDS
        return path

    def changed(self) -> bool:
        """Return whether a file has changed, or may have."""
        return not self.settled or any(
            _fingerprint(path) != old for path, old in self.fingerprints.items()
        )

    def was_replaced(self, now: float) -> bool:
        """Return whether a file has changed and its writer seems to have finished."""
        current = FileSet(now)
        for path in self.fingerprints:
            current.add(path)
        is_same = self.settled and current.fingerprints == self.fingerprints
        return current.settled and not is_same


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
    """A value that is reloaded with its files; unusable files leave it unchanged."""

    def __init__(
        self,
        make: Callable[[FileSet, T | None], T],
        report: Callable[[str | None], None],
        clock: Clock,
        check_interval_seconds: float = 1.0,
    ) -> None:
        """Load the value; errors of ``make`` are raised.

        ``make`` receives the old value and adds each file to the set before it reads
        it. ``report`` receives each new reason why the old value is kept; None: the
        value was loaded again.
        """
        self._make, self._report, self._clock = make, report, clock
        self._check_interval_seconds = check_interval_seconds
        self._files = FileSet(clock.time())
        self._value = make(self._files, None)
        self._checked_at = clock.monotonic()
        self._last_error: str | None = None

    def current(self) -> T:
        """Return the value; look for changes at most once per check interval."""
        now = self._clock.monotonic()
        if now - self._checked_at >= self._check_interval_seconds:
            self._checked_at = now
            if self._files.changed():
                self._reload()
        return self._value

    def _reload(self) -> None:
        old_files, self._files = self._files, FileSet(self._clock.time())
        old_error, self._last_error = self._last_error, None
        try:
            self._value = self._make(self._files, self._value)
        except OSError as error:
            self._last_error = error.strerror or str(error)
        except (ConfigError, ValueError) as error:
            self._last_error = str(error)
        if self._last_error is not None and self._last_error == old_error:
            return
        if self._files.fingerprints != old_files.fingerprints or old_error:
            self._report(self._last_error)
