"""Whether a panel may be asked at this moment; learns from how each request ended.

Two things must never happen: a panel in trouble is hammered, and refused credentials
are tried until the account is locked. Source: wrong credentials lock an OnApp account
after a few tries.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..config.secrets import Credentials
from ..errors import PanelError, Unauthorized, UnexpectedStatus
from .backoff import doubled

_SUSPICIOUS_FAILURES = 3
_FIRST_PAUSE_SECONDS = 1.0
_REFUSED_PAUSE_SECONDS = 600.0
_LONGEST_REFUSED_PAUSE_SECONDS = 3600.0
_DOUBTS_REMEMBERED = 16
_TOO_MANY_REQUESTS = 429


class Permit(enum.Enum):
    """What may be sent to a panel."""

    ANY = "any number of requests"
    ONE = "one request alone, to find out how the panel is"
    NONE = "nothing"


@dataclass(frozen=True, slots=True)
class _AuthFailures:
    """What speaks against credentials."""

    refusals: int = 0
    """How often they were refused; what worked for an hour begins anew."""
    unheard: int = 0
    """How often they were tried since, and nobody waited for the answer."""
    rests_until: float = 0.0
    refused: bool = False
    """Whether they were refused when they were last tried."""


_NO_DOUBT = _AuthFailures()


@dataclass(slots=True, eq=False)
class CredentialState:
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
    _doubts: dict[Credentials, _AuthFailures] = field(default_factory=dict)
    _tried_by: dict[Credentials, object] = field(default_factory=dict)

    def proven(self, credentials: Credentials) -> bool:
        """Tell whether the panel knows them."""
        return self._proven.get(credentials.username) == credentials

    def refused(self, credentials: Credentials) -> bool:
        """Tell whether the panel refused them when they were last tried."""
        return self._doubt(credentials).refused

    def seconds_resting(self, credentials: Credentials) -> float:
        """Return how long they are not to be tried again."""
        return max(0.0, self._doubt(credentials).rests_until - self.now())

    def worked(self, credentials: Credentials) -> None:
        """Learn that the panel knows them."""
        doubt = self._doubt(credentials)
        if doubt.refused and self.seconds_resting(credentials):
            return  # asked before they were refused: that says nothing of now
        self._proven[credentials.username] = credentials
        if doubt.refusals:
            self._doubts[credentials] = _AuthFailures(
                doubt.refusals, 0, doubt.rests_until
            )
        else:
            self._doubts.pop(credentials, None)

    def refuse(self, credentials: Credentials) -> None:
        """Learn that the panel refused them."""
        doubt = self._doubt(credentials)
        if doubt.refused and self.seconds_resting(credentials):
            return  # requests that were under way together count as one try
        times = doubt.refusals
        if self.proven(credentials):
            del self._proven[credentials.username]
            well_seconds = self.now() - doubt.rests_until
            times = 0 if well_seconds >= _LONGEST_REFUSED_PAUSE_SECONDS else times
        pause = doubled(_REFUSED_PAUSE_SECONDS, times, _LONGEST_REFUSED_PAUSE_SECONDS)
        self._rest(credentials, _AuthFailures(refusals=times + 1, refused=True), pause)

    def abandon(self, credentials: Credentials, who: object) -> None:
        """Learn that the answer to a request was not waited for.

        It may have been a refusal: one request alone finds out. If it was that one,
        the next has to wait, longer each time.
        """
        if self.proven(credentials):
            del self._proven[credentials.username]
        elif self.claimed(credentials, who):
            doubt = self._doubt(credentials)
            pause = doubled(_FIRST_PAUSE_SECONDS, doubt.unheard, _REFUSED_PAUSE_SECONDS)
            self._rest(credentials, replace(doubt, unheard=doubt.unheard + 1), pause)

    def claim(self, credentials: Credentials, who: object) -> bool:
        """Tell whether ``who`` may try them now; nobody else may until the release."""
        return self._tried_by.setdefault(credentials, who) is who

    def claimed(self, credentials: Credentials, who: object) -> bool:
        """Tell whether ``who`` is trying them."""
        return self._tried_by.get(credentials) is who

    def release(self, who: object) -> None:
        """Let others try what ``who`` tried."""
        claims = self._tried_by.items()
        self._tried_by = {tried: by for tried, by in claims if by is not who}

    def _doubt(self, credentials: Credentials) -> _AuthFailures:
        return self._doubts.get(credentials, _NO_DOUBT)

    def _rest(
        self, credentials: Credentials, doubt: _AuthFailures, seconds: float
    ) -> None:
        spread = self.sharers * (1 + self.jitter() / 10)
        until = max(doubt.rests_until, self.now() + seconds * spread)
        self._doubts.pop(credentials, None)
        self._doubts[credentials] = replace(doubt, rests_until=until)
        if len(self._doubts) > _DOUBTS_REMEMBERED:
            del self._doubts[next(iter(self._doubts))]


@dataclass(slots=True, eq=False)
class CircuitBreaker:
    """Opens and closes one poller's way to its panel."""

    credentials: Callable[[], Credentials]
    standing: CredentialState
    longest_pause_seconds: float
    heard_at: float | None = None
    """When the panel last answered somebody whom it knows."""
    _failures: int = 0
    _pauses: int = 0
    _paused_until: float = 0.0

    def take_over(self, other: CircuitBreaker) -> None:
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

    def admit(self) -> Credentials | None:
        """Return what a request may be sent with now; None: it may not be sent.

        What is not proven goes with the one request that has claimed it, and with no
        other that began when the secret was another.
        """
        credentials = self.credentials()
        if self._seconds_closed(credentials):
            return None
        proven = self.standing.proven(credentials)
        alone = self.standing.claimed(credentials, self)
        return credentials if proven or alone else None

    def claim(self) -> bool:
        """Tell whether the one request that is permitted may come from here."""
        return self.standing.claim(self.credentials(), self)

    def release(self) -> None:
        """Leave the one request that is permitted to whoever wants it."""
        self.standing.release(self)

    def refusing(self) -> bool:
        """Tell whether the present credentials are known to be refused."""
        return self.standing.refused(self.credentials())

    def resting(self) -> bool:
        """Tell whether only other credentials would be tried now."""
        return self.standing.seconds_resting(self.credentials()) > 0

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

    def abandoned(self, credentials: Credentials) -> None:
        """Learn that a request was given up before its end."""
        self.standing.abandon(credentials, self)

    def _seconds_closed(self, credentials: Credentials) -> float:
        paused = max(0.0, self._paused_until - self.standing.now())
        return max(paused, self.standing.seconds_resting(credentials))

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
