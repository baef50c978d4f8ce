"""Whether a panel may be asked at this moment; learns from how each request ended.

Two things must never happen: a panel in trouble is hammered, and refused credentials
are tried until the account is locked. Source: wrong credentials lock an OnApp account
after a few tries.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from .backoff import doubled
from .errors import PanelError, Unauthorized, UnexpectedStatus
from .secret import Credentials

_SUSPICIOUS_FAILURES = 3
_FIRST_PAUSE_SECONDS = 1.0
_REFUSED_PAUSE_SECONDS = 600.0
_LONGEST_REFUSED_PAUSE_SECONDS = 3600.0
_REFUSED_REMEMBERED = 16
_TOO_MANY_REQUESTS = 429


class Permit(enum.Enum):
    """What may be sent to a panel."""

    ANY = "any number of requests"
    ONE = "one request alone, to find out how the panel is"
    NONE = "nothing"


@dataclass(slots=True, eq=False)
class Standing:
    """How credentials stand with one panel; shared by all who ask it.

    ``sharers`` is how many exporters use the same account: each one's tries count
    towards the same lock-out, so each waits longer.
    """

    now: Callable[[], float]
    jitter: Callable[[], float]
    """Returns a number from 0 to 1."""
    sharers: int = 1
    _proven: dict[str, Credentials] = field(default_factory=dict)
    """By user name."""
    _refused: dict[Credentials, tuple[int, float]] = field(default_factory=dict)
    """How often they were refused, and until when they are not tried again."""
    _tried_by: dict[Credentials, object] = field(default_factory=dict)

    def proven(self, credentials: Credentials) -> bool:
        """Tell whether the panel knows them."""
        return self._proven.get(credentials.username) == credentials

    def refused(self, credentials: Credentials) -> bool:
        """Tell whether the panel refused them when they were last tried."""
        return credentials in self._refused

    def seconds_refused(self, credentials: Credentials) -> float:
        """Return how long they are not to be tried again."""
        _, until = self._refused.get(credentials, (0, 0.0))
        return max(0.0, until - self.now())

    def worked(self, credentials: Credentials) -> None:
        """Learn that the panel knows them."""
        self._proven[credentials.username] = credentials
        self._refused.pop(credentials, None)

    def refuse(self, credentials: Credentials) -> None:
        """Learn that the panel refused them."""
        if self.seconds_refused(credentials):
            return  # requests that were under way together count as one try
        if self.proven(credentials):
            del self._proven[credentials.username]
        times, _ = self._refused.pop(credentials, (0, 0.0))
        pause = doubled(_REFUSED_PAUSE_SECONDS, times, _LONGEST_REFUSED_PAUSE_SECONDS)
        spread = self.sharers * (1 + self.jitter() / 10)
        self._refused[credentials] = times + 1, self.now() + pause * spread
        if len(self._refused) > _REFUSED_REMEMBERED:
            del self._refused[next(iter(self._refused))]

    def claim(self, credentials: Credentials, who: object) -> bool:
        """Tell whether ``who`` may try them now; nobody else may until the release."""
        return self._tried_by.setdefault(credentials, who) is who

    def release(self, who: object) -> None:
        """Let others try what ``who`` tried."""
        claims = self._tried_by.items()
        self._tried_by = {tried: by for tried, by in claims if by is not who}


@dataclass(slots=True, eq=False)
class Gate:
    """Opens and closes one poller's way to its panel."""

    credentials: Callable[[], Credentials]
    standing: Standing
    longest_pause_seconds: float
    heard_at: float | None = None
    """When the panel last answered somebody whom it knows."""
    _failures: int = 0
    _pauses: int = 0
    _paused_until: float = 0.0

    def take_over(self, other: Gate) -> None:
        """Begin with what another gate knows of the same panel."""
        self.heard_at = other.heard_at
        self._failures, self._pauses = other._failures, other._pauses
        self._pause(other._paused_until - self.standing.now())

    def permit(self) -> Permit:
        """Return what may be sent now."""
        credentials = self.credentials()
        if self._seconds_closed(credentials):
            return Permit.NONE
        proven = self.standing.proven(credentials)
        sound = proven and self._failures < _SUSPICIOUS_FAILURES
        return Permit.ANY if sound else Permit.ONE

    def claim(self) -> bool:
        """Tell whether the one request that is permitted may come from here."""
        return self.standing.claim(self.credentials(), self)

    def release(self) -> None:
        """Leave the one request that is permitted to whoever wants it."""
        self.standing.release(self)

    def refusing(self) -> bool:
        """Tell whether the present credentials are known to be refused."""
        return self.standing.refused(self.credentials())

    def seconds_closed(self) -> float:
        """Return how long nothing will be permitted, if nothing changes."""
        return self._seconds_closed(self.credentials())

    def worked(self, credentials: Credentials) -> None:
        """Learn that the panel answered somebody whom it knows."""
        self.heard_at = self.standing.now()
        self.standing.worked(credentials)
        self._failures = self._pauses = 0

    def failed(self, credentials: Credentials, error: PanelError) -> None:
        """Learn that a request brought nothing."""
        if isinstance(error, Unauthorized):
            self.standing.refuse(credentials)
        elif error.authenticated:
            self.worked(credentials)
        else:
            self._doubt(credentials, error)

    def _seconds_closed(self, credentials: Credentials) -> float:
        paused = max(0.0, self._paused_until - self.standing.now())
        return max(paused, self.standing.seconds_refused(credentials))

    def _doubt(self, credentials: Credentials, error: PanelError) -> None:
        """Suspect the panel; pause when it was not just one server's trouble."""
        self._failures += 1
        alarming = (
            self._failures >= _SUSPICIOUS_FAILURES
            or not self.standing.proven(credentials)
            or _is_for_all(error)
        )
        asked_seconds = error.retry_after_seconds
        if asked_seconds is not None:
            # One server, or the whole panel? One request will tell.
            self._failures = max(self._failures, _SUSPICIOUS_FAILURES)
        if not alarming:
            return
        self._pause(asked_seconds or 0.0)
        if self.standing.now() < self._paused_until:
            return
        pause = doubled(_FIRST_PAUSE_SECONDS, self._pauses)
        self._pauses += 1
        self._pause(pause * (1 - self.standing.jitter() / 4))

    def _pause(self, seconds: float) -> None:
        until = self.standing.now() + min(seconds, self.longest_pause_seconds)
        self._paused_until = max(self._paused_until, until)


def _is_for_all(error: PanelError) -> bool:
    """Tell whether the panel counts requests, whatever they ask for."""
    return isinstance(error, UnexpectedStatus) and error.status == _TOO_MANY_REQUESTS
