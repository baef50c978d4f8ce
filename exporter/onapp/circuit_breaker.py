"""The circuit breaker of a panel: it decides whether a request may be sent.

It protects a failing panel from further load, and an account from being locked: OnApp
locks an account after a few requests with wrong credentials.

On HTTP 401, ``client`` raises Unauthorized and ``PanelApi`` records it here.
``CredentialState.record_refusal`` then blocks these credentials for ten minutes,
doubled up to an hour, for all pollers of the same address. Other failures block
requests for a second, doubled up to ``longest_pause_seconds``. An answer that may not
be the panel's own (UNRECOGNIZED) blocks only if it is the third consecutive failure.
After the pause, a single trial request decides. ``Poller`` shows the panel as
unreachable, and reads the secret's file every five seconds: a changed secret gets its
trial request at once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..config.secrets import Credentials
from ..errors import UNRECOGNIZED, RequestError, Unauthorized, UnexpectedStatus
from .backoff import Backoff

_FAILURE_THRESHOLD = 3
_FIRST_PAUSE_SECONDS = 1.0
_REFUSED_PAUSE_SECONDS = 600.0
_LONGEST_REFUSED_PAUSE_SECONDS = 3600.0
_REFUSALS = Backoff(_REFUSED_PAUSE_SECONDS, _LONGEST_REFUSED_PAUSE_SECONDS)
_PAUSES = Backoff(_FIRST_PAUSE_SECONDS)
_CANCELLATIONS = Backoff(_FIRST_PAUSE_SECONDS, _REFUSED_PAUSE_SECONDS)
_MAX_FAILED_CREDENTIALS = 16
_TOO_MANY_REQUESTS = 429


class BreakerState(enum.Enum):
    """Which requests a circuit breaker permits."""

    CLOSED = "closed"
    """Any number of requests."""
    HALF_OPEN = "half-open"
    """One trial request at a time."""
    OPEN = "open"
    """No request."""


@dataclass(frozen=True, slots=True)
class _AuthFailures:
    """Failed attempts to authenticate with one pair of credentials."""

    refusals: Backoff = _REFUSALS
    """Refusals; the count restarts at zero after an hour of success."""
    cancellations: Backoff = _CANCELLATIONS
    """Consecutive trial requests that were cancelled before their answer."""
    retry_at: float = 0.0
    """Monotonic time before which the credentials must not be sent again."""
    refused: bool = False
    """Whether the last attempt was refused."""


_NO_FAILURES = _AuthFailures()


@dataclass(slots=True, eq=False)
class CredentialState:
    """The credentials that one panel accepts and refuses.

    All circuit breakers of the same panel share it, because all their attempts count
    towards the same account lock.
    """

    now: Callable[[], float]
    """Returns monotonic seconds."""
    jitter: Callable[[], float]
    """Returns a number from 0 to 1."""
    sharing_exporters: int = 1
    """How many exporters use the same account; pauses are longer by this factor."""
    _accepted_by_username: dict[str, Credentials] = field(default_factory=dict)
    _failures: dict[Credentials, _AuthFailures] = field(default_factory=dict)
    _trial_owners: dict[Credentials, object] = field(default_factory=dict)
    """The breaker that may send the trial request, by credentials not yet accepted."""

    def accepted(self, credentials: Credentials) -> bool:
        """Return whether the panel accepted these credentials at the last attempt."""
        return self._accepted_by_username.get(credentials.username) == credentials

    def refused(self, credentials: Credentials) -> bool:
        """Return whether the panel refused these credentials at the last attempt."""
        return self._failures_of(credentials).refused

    def seconds_to_retry(self, credentials: Credentials) -> float:
        """Return how many seconds these credentials must not be sent."""
        return max(0.0, self._failures_of(credentials).retry_at - self.now())

    def record_success(self, credentials: Credentials) -> None:
        """Record that the panel accepted these credentials."""
        failures = self._failures_of(credentials)
        if failures.refused and self.seconds_to_retry(credentials):
            return  # the request was sent before the refusal
        self._accepted_by_username[credentials.username] = credentials
        if failures.refusals.failures:
            self._failures[credentials] = _AuthFailures(
                failures.refusals, retry_at=failures.retry_at
            )
        else:
            self._failures.pop(credentials, None)

    def record_refusal(self, credentials: Credentials) -> None:
        """Record that the panel refused these credentials."""
        failures = self._failures_of(credentials)
        if failures.refused and self.seconds_to_retry(credentials):
            return  # concurrent requests count as one attempt
        self.record_unproven(credentials)
        refusals = self._failures_of(credentials).refusals.after_failure()
        refused = _AuthFailures(refusals, refused=True)
        self._back_off(credentials, refused, refusals.seconds)

    def record_unproven(self, credentials: Credentials) -> None:
        """Record that a trial request must check whether they are accepted."""
        if self.accepted(credentials):
            del self._accepted_by_username[credentials.username]
            accepted_seconds = self.now() - self._failures_of(credentials).retry_at
            if accepted_seconds >= _LONGEST_REFUSED_PAUSE_SECONDS:
                self._failures.pop(credentials, None)

    def record_cancellation(self, credentials: Credentials, owner: object) -> None:
        """Record that a request was cancelled before its answer.

        The answer may have been a refusal, so a trial request must check. If the trial
        request itself was cancelled, the next one waits, longer each time.
        """
        if self.accepted(credentials):
            self.record_unproven(credentials)
        elif self.holds_trial(credentials, owner):
            failures = self._failures_of(credentials)
            cancellations = failures.cancellations.after_failure()
            failures = replace(failures, cancellations=cancellations)
            self._back_off(credentials, failures, cancellations.seconds)

    def claim_trial(self, credentials: Credentials, owner: object) -> bool:
        """Claim the trial request; return whether it is now reserved for ``owner``."""
        return self._trial_owners.setdefault(credentials, owner) is owner

    def holds_trial(self, credentials: Credentials, owner: object) -> bool:
        """Return whether ``owner`` has claimed the trial request."""
        return self._trial_owners.get(credentials) is owner

    def release_trial(self, owner: object) -> None:
        """Release the trial requests that ``owner`` has claimed."""
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
    """The circuit breaker of one poller: allows or blocks requests to its panel."""

    credentials: Callable[[], Credentials]
    credential_state: CredentialState
    longest_pause_seconds: float
    last_proven_at: float | None = None
    """Monotonic time of the last answer that proved the credentials; None: none yet."""
    last_refusal: Unauthorized | None = None
    """The last HTTP 401 since then; None: this poller received none."""
    _consecutive_failures: int = 0
    _pauses: Backoff = _PAUSES
    _paused_until: float = 0.0

    def take_over(self, other: CircuitBreaker) -> None:
        """Continue from another breaker of the same panel."""
        self.last_proven_at = other.last_proven_at
        self._consecutive_failures = other._consecutive_failures
        self._pauses = other._pauses
        self._pause(other._paused_until - self.credential_state.now())

    def state(self) -> BreakerState:
        """Return the current state."""
        credentials = self.credentials()
        if self._open_seconds(credentials):
            return BreakerState.OPEN
        accepted = self.credential_state.accepted(credentials)
        closed = accepted and self._consecutive_failures < _FAILURE_THRESHOLD
        return BreakerState.CLOSED if closed else BreakerState.HALF_OPEN

    def admitted_credentials(self) -> Credentials | None:
        """Return the credentials for a request now; None: it must not be sent.

        Credentials that are not accepted yet are only for the owner of the trial
        request, not for requests that were planned with an earlier secret.
        """
        credentials = self.credentials()
        if self._open_seconds(credentials):
            return None
        accepted = self.credential_state.accepted(credentials)
        holds_trial = self.credential_state.holds_trial(credentials, self)
        return credentials if accepted or holds_trial else None

    def claim_trial(self) -> bool:
        """Claim the trial request; return whether this breaker may send it."""
        return self.credential_state.claim_trial(self.credentials(), self)

    def release_trial(self) -> None:
        """Release the trial request for other breakers of the panel."""
        self.credential_state.release_trial(self)

    def credentials_refused(self) -> bool:
        """Return whether the panel refused the current credentials."""
        return self.credential_state.refused(self.credentials())

    def credentials_backing_off(self) -> bool:
        """Return whether the current credentials must not be sent yet."""
        return self.credential_state.seconds_to_retry(self.credentials()) > 0

    def open_seconds(self) -> float:
        """Return how many seconds the breaker stays open unless the secret changes."""
        return self._open_seconds(self.credentials())

    def record_success(self, credentials: Credentials) -> None:
        """Record an answer that proves the credentials."""
        self.last_proven_at, self.last_refusal = self.credential_state.now(), None
        self.credential_state.record_success(credentials)
        self._consecutive_failures = 0
        self._pauses = self._pauses.after_success()

    def record_failure(self, credentials: Credentials, error: RequestError) -> None:
        """Record a failed request; some errors still prove the credentials."""
        if isinstance(error, Unauthorized) and error.with_cookies:
            self.credential_state.record_unproven(credentials)
        elif isinstance(error, Unauthorized):
            self.last_refusal = error
            self.credential_state.record_refusal(credentials)
        elif error.proven:
            self.record_success(credentials)
        else:
            self._count_failure(credentials, error)

    def record_cancellation(self, credentials: Credentials) -> None:
        """Record that a request was cancelled."""
        self.credential_state.record_cancellation(credentials, self)

    def _open_seconds(self, credentials: Credentials) -> float:
        paused_seconds = max(0.0, self._paused_until - self.credential_state.now())
        return max(paused_seconds, self.credential_state.seconds_to_retry(credentials))

    def _count_failure(self, credentials: Credentials, error: RequestError) -> None:
        """Count a failure; open the breaker unless only one server may be affected."""
        self._consecutive_failures += 1
        accepted = self.credential_state.accepted(credentials)
        trips = (
            self._consecutive_failures >= _FAILURE_THRESHOLD
            # The next resource may prove credentials that are not accepted yet.
            or not (accepted or isinstance(error, UNRECOGNIZED))
            or _is_rate_limit(error)
        )
        retry_after_seconds = error.retry_after_seconds
        if retry_after_seconds is not None:
            # It may apply to one server or to the whole panel: a trial request decides.
            self._consecutive_failures = max(
                self._consecutive_failures, _FAILURE_THRESHOLD
            )
        if not trips:
            return
        self._pause(retry_after_seconds or 0.0)
        if self.credential_state.now() < self._paused_until:
            return
        self._pauses = self._pauses.after_failure()
        self._pause(self._pauses.seconds * (1 - self.credential_state.jitter() / 4))

    def _pause(self, seconds: float) -> None:
        until = self.credential_state.now() + min(seconds, self.longest_pause_seconds)
        self._paused_until = max(self._paused_until, until)


def _is_rate_limit(error: RequestError) -> bool:
    """Return whether the panel limits the rate of all requests."""
    return isinstance(error, UnexpectedStatus) and error.status == _TOO_MANY_REQUESTS
