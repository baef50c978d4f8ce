"""Whether a panel may be asked at this moment; learns from how each request ended.

Two things must never happen: a panel in trouble is hammered, and refused credentials
are tried until the account is locked. Source: wrong credentials lock an OnApp account
after a few tries.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from .errors import PanelError, Unauthorized
from .secret import Credentials

_SUSPICIOUS_FAILURES = 3
_FIRST_PAUSE_SECONDS = 1.0
_REFUSED_PAUSE_SECONDS = 600.0
_LONGEST_REFUSED_PAUSE_SECONDS = 3600.0
_LONGEST_EXPONENT = 16


class Permit(enum.Enum):
    """What may be sent to a panel."""

    ANY = "any number of requests"
    ONE = "one request alone, to find out how the panel is"
    NONE = "nothing"


@dataclass(slots=True, eq=False)
class Gate:
    """Opens and closes the way to one panel.

    ``sharers`` is how many exporters use the same account: each one's tries count
    towards the same lock-out, so each waits longer.
    """

    now: Callable[[], float]
    credentials: Callable[[], Credentials]
    longest_pause_seconds: float
    jitter: Callable[[], float]
    """Returns a number from 0 to 1."""
    sharers: int = 1
    heard_at: float | None = None
    """When the panel last answered somebody whom it knows."""
    _proven: Credentials | None = None
    _refused: Credentials | None = None
    _refusals: int = 0
    _refused_until: float = 0.0
    _failures: int = 0
    _pauses: int = 0
    _paused_until: float = 0.0

    def permit(self) -> Permit:
        """Return what may be sent now."""
        if self.seconds_closed():
            return Permit.NONE
        proven = self._proven is not None and self.credentials() == self._proven
        sound = proven and self._failures < _SUSPICIOUS_FAILURES
        return Permit.ANY if sound else Permit.ONE

    def refusing(self) -> bool:
        """Tell whether the present credentials are known to be refused."""
        return self._refused is not None and self._refused == self.credentials()

    def seconds_closed(self) -> float:
        """Return how long nothing will be permitted, if nothing changes."""
        until = self._refused_until if self.refusing() else self._paused_until
        return max(0.0, until - self.now())

    def worked(self, credentials: Credentials) -> None:
        """Learn that the panel answered somebody whom it knows."""
        self.heard_at = self.now()
        self._proven = credentials
        self._refused = None
        self._refusals = self._failures = self._pauses = 0

    def failed(self, credentials: Credentials, error: PanelError) -> None:
        """Learn that a request brought nothing."""
        if isinstance(error, Unauthorized):
            self._refuse(credentials)
        elif error.authenticated:
            self.worked(credentials)
        else:
            self._doubt(credentials, error.retry_after_seconds)

    def _refuse(self, credentials: Credentials) -> None:
        if credentials == self._refused and self.now() < self._refused_until:
            return  # requests that were under way together count as one try
        self._refusals = self._refusals + 1 if credentials == self._refused else 1
        self._proven, self._refused = None, credentials
        pause = min(
            _REFUSED_PAUSE_SECONDS * 2 ** min(self._refusals - 1, _LONGEST_EXPONENT),
            _LONGEST_REFUSED_PAUSE_SECONDS,
        )
        spread = self.sharers * (1 + self.jitter() / 10)
        self._refused_until = self.now() + pause * spread

    def _doubt(self, credentials: Credentials, asked_seconds: float | None) -> None:
        self._failures += 1
        if asked_seconds is not None:
            self._pause(asked_seconds)
        probing = credentials != self._proven
        if self.now() < self._paused_until or not (
            probing or self._failures >= _SUSPICIOUS_FAILURES
        ):
            return
        pause = _FIRST_PAUSE_SECONDS * 2 ** min(self._pauses, _LONGEST_EXPONENT)
        self._pauses += 1
        self._pause(pause * (1 - self.jitter() / 4))

    def _pause(self, seconds: float) -> None:
        until = self.now() + min(seconds, self.longest_pause_seconds)
        self._paused_until = max(self._paused_until, until)
