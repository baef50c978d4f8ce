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
from .backoff import exponential_pause

_FAILURE_THRESHOLD = 3
_FIRST_PAUSE_SECONDS = 1.0
_REFUSED_PAUSE_SECONDS = 600.0
_LONGEST_REFUSED_PAUSE_SECONDS = 3600.0
_MAX_FAILED_CREDENTIALS = 16
_TOO_MANY_REQUESTS = 429


class BreakerState(enum.Enum):
    """What may be sent to a panel."""

    CLOSED = "any number of requests"
    HALF_OPEN = "one request alone, to find out how the panel is"
    OPEN = "nothing"


@dataclass(frozen=True, slots=True)
class _AuthFailures:
    """What speaks against credentials."""

    refusals: int = 0
    """How often they were refused; what worked for an hour begins anew."""
    cancellations: int = 0
    """How often they were tried since, and nobody waited for the answer."""
    retry_at: float = 0.0
    refused: bool = False
    """Whether they were refused when they were last tried."""


_NO_FAILURES = _AuthFailures()


@dataclass(slots=True, eq=False)
class CredentialState:
    """How credentials stand with one panel; shared by all who ask it.

    ``sharers`` is how many exporters use the same account: each one's tries count
    towards the same lock-out, so each waits longer.
    """

    now: Callable[[], float]
    jitter: Callable[[], float]
    """Returns a number from 0 to 1."""
    sharing_exporters: int = 1
    _accepted_by_username: dict[str, Credentials] = field(default_factory=dict)
    """By user name."""
    _failures: dict[Credentials, _AuthFailures] = field(default_factory=dict)
    _trial_owners: dict[Credentials, object] = field(default_factory=dict)

    def accepted(self, credentials: Credentials) -> bool:
        """Tell whether the panel knows them."""
        return self._accepted_by_username.get(credentials.username) == credentials

    def refused(self, credentials: Credentials) -> bool:
        """Tell whether the panel refused them when they were last tried."""
        return self._failures_of(credentials).refused

    def seconds_to_retry(self, credentials: Credentials) -> float:
        """Return how long they are not to be tried again."""
        return max(0.0, self._failures_of(credentials).retry_at - self.now())

    def record_success(self, credentials: Credentials) -> None:
        """Learn that the panel knows them."""
        failures = self._failures_of(credentials)
        if failures.refused and self.seconds_to_retry(credentials):
            return  # asked before they were refused: that says nothing of now
        self._accepted_by_username[credentials.username] = credentials
        if failures.refusals:
            self._failures[credentials] = _AuthFailures(
                failures.refusals, 0, failures.retry_at
            )
        else:
            self._failures.pop(credentials, None)

    def record_refusal(self, credentials: Credentials) -> None:
        """Learn that the panel refused them."""
        failures = self._failures_of(credentials)
        if failures.refused and self.seconds_to_retry(credentials):
            return  # requests that were under way together count as one try
        earlier_refusals = failures.refusals
        if self.accepted(credentials):
            del self._accepted_by_username[credentials.username]
            accepted_seconds = self.now() - failures.retry_at
            earlier_refusals = (
                0
                if accepted_seconds >= _LONGEST_REFUSED_PAUSE_SECONDS
                else earlier_refusals
            )
        pause_seconds = exponential_pause(
            _REFUSED_PAUSE_SECONDS, earlier_refusals, _LONGEST_REFUSED_PAUSE_SECONDS
        )
        self._back_off(
            credentials,
            _AuthFailures(refusals=earlier_refusals + 1, refused=True),
            pause_seconds,
        )

    def record_cancellation(self, credentials: Credentials, owner: object) -> None:
        """Learn that the answer to a request was not waited for.

        It may have been a refusal: one request alone finds out. If it was that one,
        the next has to wait, longer each time.
        """
        if self.accepted(credentials):
            del self._accepted_by_username[credentials.username]
        elif self.holds_trial(credentials, owner):
            failures = self._failures_of(credentials)
            pause_seconds = exponential_pause(
                _FIRST_PAUSE_SECONDS, failures.cancellations, _REFUSED_PAUSE_SECONDS
            )
            self._back_off(
                credentials,
                replace(failures, cancellations=failures.cancellations + 1),
                pause_seconds,
            )

    def claim_trial(self, credentials: Credentials, owner: object) -> bool:
        """Tell whether ``who`` may try them now; nobody else may until the release."""
        return self._trial_owners.setdefault(credentials, owner) is owner

    def holds_trial(self, credentials: Credentials, owner: object) -> bool:
        """Tell whether ``who`` is trying them."""
        return self._trial_owners.get(credentials) is owner

    def release_trial(self, owner: object) -> None:
        """Let others try what ``who`` tried."""
        trials = self._trial_owners.items()
        self._trial_owners = {tried: by for tried, by in trials if by is not owner}

    def _failures_of(self, credentials: Credentials) -> _AuthFailures:
        return self._failures.get(credentials, _NO_FAILURES)

    def _back_off(
        self, credentials: Credentials, failures: _AuthFailures, pause_seconds: float
    ) -> None:
        factor = self.sharing_exporters * (1 + self.jitter() / 10)
        retry_at = max(failures.retry_at, self.now() + pause_seconds * factor)
        self._failures.pop(credentials, None)
        self._failures[credentials] = replace(failures, retry_at=retry_at)
        if len(self._failures) > _MAX_FAILED_CREDENTIALS:
            del self._failures[next(iter(self._failures))]


@dataclass(slots=True, eq=False)
class CircuitBreaker:
    """Opens and closes one poller's way to its panel."""

    credentials: Callable[[], Credentials]
    credential_state: CredentialState
    longest_pause_seconds: float
    last_proven_at: float | None = None
    """When the panel last answered somebody whom it knows."""
    _consecutive_failures: int = 0
    _consecutive_pauses: int = 0
    _paused_until: float = 0.0

    def take_over(self, other: CircuitBreaker) -> None:
        """Begin with what another gate knows of the same panel."""
        self.last_proven_at = other.last_proven_at
        self._consecutive_failures, self._consecutive_pauses = (
            other._consecutive_failures,
            other._consecutive_pauses,
        )
        self._pause(other._paused_until - self.credential_state.now())

    def state(self) -> BreakerState:
        """Return what may be sent now."""
        credentials = self.credentials()
        if self._open_seconds(credentials):
            return BreakerState.OPEN
        accepted = self.credential_state.accepted(credentials)
        closed = accepted and self._consecutive_failures < _FAILURE_THRESHOLD
        return BreakerState.CLOSED if closed else BreakerState.HALF_OPEN

    def admitted_credentials(self) -> Credentials | None:
        """Return what a request may be sent with now; None: it may not be sent.

        What is not proven goes with the one request that has claimed it, and with no
        other that began when the secret was another.
        """
        credentials = self.credentials()
        if self._open_seconds(credentials):
            return None
        accepted = self.credential_state.accepted(credentials)
        holds_trial = self.credential_state.holds_trial(credentials, self)
        return credentials if accepted or holds_trial else None

    def claim_trial(self) -> bool:
        """Tell whether the one request that is permitted may come from here."""
        return self.credential_state.claim_trial(self.credentials(), self)

    def release_trial(self) -> None:
        """Leave the one request that is permitted to whoever wants it."""
        self.credential_state.release_trial(self)

    def credentials_refused(self) -> bool:
        """Tell whether the present credentials are known to be refused."""
        return self.credential_state.refused(self.credentials())

    def credentials_backing_off(self) -> bool:
        """Tell whether only other credentials would be tried now."""
        return self.credential_state.seconds_to_retry(self.credentials()) > 0

    def open_seconds(self) -> float:
        """Return how long nothing will be permitted, if nothing changes."""
        return self._open_seconds(self.credentials())

    def record_success(self, credentials: Credentials) -> None:
        """Learn that the panel answered somebody whom it knows."""
        self.last_proven_at = self.credential_state.now()
        self.credential_state.record_success(credentials)
        self._consecutive_failures = self._consecutive_pauses = 0

    def record_failure(self, credentials: Credentials, error: PanelError) -> None:
        """Learn that a request brought nothing."""
        if isinstance(error, Unauthorized):
            self.credential_state.record_refusal(credentials)
        elif error.authenticated:
            self.record_success(credentials)
        else:
            self._count_failure(credentials, error)

    def record_cancellation(self, credentials: Credentials) -> None:
        """Learn that a request was given up before its end."""
        self.credential_state.record_cancellation(credentials, self)

    def _open_seconds(self, credentials: Credentials) -> float:
        paused_seconds = max(0.0, self._paused_until - self.credential_state.now())
        return max(paused_seconds, self.credential_state.seconds_to_retry(credentials))

    def _count_failure(self, credentials: Credentials, error: PanelError) -> None:
        """Suspect the panel; pause when it was not just one server's trouble."""
        self._consecutive_failures += 1
        trips = (
            self._consecutive_failures >= _FAILURE_THRESHOLD
            or not self.credential_state.accepted(credentials)
            or _is_rate_limit(error)
        )
        retry_after_seconds = error.retry_after_seconds
        if retry_after_seconds is not None:
            # One server, or the whole panel? One request will tell.
            self._consecutive_failures = max(
                self._consecutive_failures, _FAILURE_THRESHOLD
            )
        if not trips:
            return
        self._pause(retry_after_seconds or 0.0)
        if self.credential_state.now() < self._paused_until:
            return
        pause_seconds = exponential_pause(
            _FIRST_PAUSE_SECONDS, self._consecutive_pauses
        )
        self._consecutive_pauses += 1
        self._pause(pause_seconds * (1 - self.credential_state.jitter() / 4))

    def _pause(self, seconds: float) -> None:
        until = self.credential_state.now() + min(seconds, self.longest_pause_seconds)
        self._paused_until = max(self._paused_until, until)


def _is_rate_limit(error: PanelError) -> bool:
    """Tell whether the panel counts requests, whatever they ask for."""
    return isinstance(error, UnexpectedStatus) and error.status == _TOO_MANY_REQUESTS
