"""The gate: when a panel may be asked, learned from how requests ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.secrets import Credentials
from exporter.errors import (
    Forbidden,
    NotFound,
    Redirected,
    RequestError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Undecodable,
    UnexpectedStatus,
    Unprocessable,
    Unreachable,
)
from exporter.onapp.circuit_breaker import BreakerState, CircuitBreaker, CredentialState

MINUTE = 60.0
HOUR = 3600.0
FIRST = Credentials("ops@example.com", "first key")
SECOND = Credentials("ops@example.com", "second key")
DOWN = Unreachable("connection refused")


@dataclass(eq=False)
class Panel:
    """What a gate needs besides a panel: a time, and a secret that changes."""

    now: float = 1000.0
    secret: Credentials = FIRST
    jitter: float = 0.0
    sharers: int = 1
    longest_pause_seconds: float = 300.0
    credential_state: CredentialState = field(init=False)

    def __post_init__(self) -> None:
        """Begin with a panel of which nothing is known."""
        self.credential_state = CredentialState(
            lambda: self.now, lambda: self.jitter, self.sharers
        )

    def breaker(self) -> CircuitBreaker:
        """Return a new way to the panel."""
        return CircuitBreaker(
            lambda: self.secret, self.credential_state, self.longest_pause_seconds
        )

    def accepting_breaker(self) -> CircuitBreaker:
        """Return a way on which the secret has worked."""
        breaker = self.breaker()
        breaker.record_success(self.secret)
        return breaker


def busy(status: int, seconds: float | None = None) -> UnexpectedStatus:
    """Return the answer of a panel that asks to be left alone."""
    return UnexpectedStatus("busy", status=status, retry_after_seconds=seconds)


def pauses(
    panel: Panel, breaker: CircuitBreaker, error: RequestError, times: int
) -> list[float]:
    """Fail again each time the gate opens; return how long it stayed closed."""
    found = []
    for _ in range(times):
        breaker.record_failure(panel.secret, error)
        found.append(breaker.open_seconds())
        panel.now += found[-1]
    return found


def test_new_credentials_are_tried_by_one_request_alone() -> None:
    """Until an answer proves them, every request could be one more wrong try."""
    panel = Panel()
    breaker = panel.breaker()

    assert breaker.state() is BreakerState.HALF_OPEN

    breaker.record_success(FIRST)

    assert breaker.state() is BreakerState.CLOSED


def test_a_changed_secret_has_to_prove_itself_again() -> None:
    """What the old secret has earned does not count for the new one."""
    panel = Panel()
    breaker = panel.accepting_breaker()
    panel.secret = SECOND

    assert breaker.state() is BreakerState.HALF_OPEN


@pytest.mark.parametrize(
    "error",
    [Forbidden("403"), NotFound("404"), Unprocessable("422", status=422)],
    ids=["403", "404", "422"],
)
def test_a_refusal_of_somebody_known_proves_the_credentials(
    error: RequestError,
) -> None:
    """403, 404 and 422 come after the panel has looked at who asks."""
    panel = Panel()
    breaker = panel.breaker()
    breaker.record_failure(FIRST, error)

    assert breaker.state() is BreakerState.CLOSED
    assert breaker.last_proven_at == panel.now


def test_the_pauses_of_a_panel_that_is_down_double_up_to_the_longest() -> None:
    """An interval or five minutes is the most that a panel waits to be found again."""
    panel = Panel()

    assert pauses(panel, panel.breaker(), DOWN, 11) == [
        *(1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0),
        *(300.0, 300.0),
    ]


def test_jitter_only_shortens_a_pause() -> None:
    """Exporters that lost a panel together do not come back together."""
    panel = Panel(jitter=1.0)

    assert pauses(panel, panel.breaker(), DOWN, 4) == [0.75, 1.5, 3.0, 6.0]


def test_a_single_failure_does_not_close_the_gate() -> None:
    """One server's problem is no reason to leave the panel alone."""
    breaker = Panel().accepting_breaker()
    breaker.record_failure(FIRST, TimedOut("one"))
    breaker.record_failure(FIRST, TimedOut("two"))
    breaker.record_success(FIRST)
    breaker.record_failure(FIRST, TimedOut("three"))

    assert breaker.state() is BreakerState.CLOSED


def test_three_failures_in_a_row_close_it_until_one_request_succeeds() -> None:
    """Then nothing is sent for a while, then one request alone."""
    panel = Panel()
    breaker = panel.accepting_breaker()
    for _ in range(3):
        breaker.record_failure(FIRST, DOWN)

    assert breaker.state() is BreakerState.OPEN

    panel.now += breaker.open_seconds()

    assert breaker.state() is BreakerState.HALF_OPEN

    breaker.record_success(FIRST)

    assert breaker.state() is BreakerState.CLOSED


def test_requests_under_way_when_a_panel_goes_down_count_as_one_pause() -> None:
    """Eight that fail together do not make the first pause two minutes long."""
    panel = Panel()
    breaker = panel.accepting_breaker()
    for _ in range(8):
        breaker.record_failure(FIRST, DOWN)

    assert breaker.open_seconds() == 1.0


def test_too_many_requests_close_the_gate_for_as_long_as_the_panel_asks() -> None:
    """A limit on requests counts them all, whatever they ask for."""
    panel = Panel()
    breaker = panel.accepting_breaker()
    breaker.record_failure(FIRST, busy(429, 90))

    assert breaker.open_seconds() == 90.0

    panel.now += 90

    assert breaker.state() is BreakerState.HALF_OPEN


def test_too_many_requests_pause_also_when_the_panel_names_no_time() -> None:
    """A limit without Retry-After is met with pauses that double."""
    panel = Panel()

    assert pauses(panel, panel.accepting_breaker(), busy(429), 3) == [1.0, 2.0, 4.0]


def test_a_busy_answer_to_one_request_makes_another_find_out() -> None:
    """503 with Retry-After may be one server's own: a second one tells."""
    panel = Panel()
    breaker = panel.accepting_breaker()
    breaker.record_failure(FIRST, busy(503, 120))

    assert breaker.state() is BreakerState.HALF_OPEN

    breaker.record_failure(FIRST, busy(503, 120))

    assert breaker.open_seconds() == 120.0


def test_a_busy_answer_is_forgotten_when_the_panel_answers_something_else() -> None:
    """The others go on as before."""
    breaker = Panel().accepting_breaker()
    breaker.record_failure(FIRST, busy(503, 120))
    breaker.record_success(FIRST)

    assert breaker.state() is BreakerState.CLOSED


def test_no_panel_can_ask_for_more_than_the_longest_pause() -> None:
    """A proxy that says a day is asked again after an interval or five minutes."""
    breaker = Panel().accepting_breaker()
    breaker.record_failure(FIRST, busy(429, 24 * HOUR))

    assert breaker.open_seconds() == 300.0


def test_refused_credentials_wait_ten_minutes_growing_to_an_hour() -> None:
    """More tries could lock the account."""
    panel = Panel()

    assert pauses(panel, panel.breaker(), Unauthorized("401"), 6) == [
        *(10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, HOUR, HOUR)
    ]


def test_exporters_that_share_an_account_wait_longer_together() -> None:
    """Four shards try no more often than one exporter would."""
    panel = Panel(sharers=4, jitter=1.0)

    assert pauses(panel, panel.breaker(), Unauthorized("401"), 2) == pytest.approx(
        [4 * 11 * MINUTE, 4 * 22 * MINUTE]
    )


def test_refusals_of_requests_under_way_count_as_one() -> None:
    """The pause does not grow eightfold because eight requests were in flight."""
    panel = Panel()
    breaker = panel.accepting_breaker()
    for _ in range(8):
        breaker.record_failure(FIRST, Unauthorized("401"))

    assert breaker.open_seconds() == 10 * MINUTE


def test_credentials_that_worked_are_unproven_once_they_are_refused() -> None:
    """After the pause they are tried by one request alone."""
    panel = Panel()
    breaker = panel.accepting_breaker()
    breaker.record_failure(FIRST, Unauthorized("401"))
    panel.now += 10 * MINUTE

    assert breaker.state() is BreakerState.HALF_OPEN


def test_a_changed_secret_may_be_tried_at_once() -> None:
    """Whoever mends the file does not wait for ten minutes to pass."""
    panel = Panel()
    breaker = panel.breaker()
    breaker.record_failure(FIRST, Unauthorized("401"))
    panel.secret = SECOND

    assert breaker.state() is BreakerState.HALF_OPEN


def test_a_bad_secret_that_comes_back_is_still_bad() -> None:
    """A file that flips between two wrong keys earns no further tries."""
    panel = Panel()
    breaker = panel.breaker()
    breaker.record_failure(FIRST, Unauthorized("401"))
    panel.secret = SECOND
    breaker.record_failure(SECOND, Unauthorized("401"))
    panel.secret = FIRST

    assert breaker.open_seconds() == 10 * MINUTE


def test_a_late_answer_to_the_old_secret_says_nothing_of_the_new_one() -> None:
    """A request sent before the change may end after the new key was refused."""
    panel = Panel()
    breaker = panel.accepting_breaker()
    panel.secret = SECOND
    breaker.record_failure(SECOND, Unauthorized("401"))
    breaker.record_success(FIRST)

    assert breaker.state() is BreakerState.OPEN

    breaker.record_failure(FIRST, Unauthorized("401"))

    assert breaker.open_seconds() == 10 * MINUTE


def test_a_panel_that_goes_down_while_credentials_are_refused_is_left_alone() -> None:
    """The try after ten minutes may find no panel: it is not repeated at once."""
    panel = Panel()
    breaker = panel.breaker()
    breaker.record_failure(FIRST, Unauthorized("401"))
    panel.now += 10 * MINUTE

    assert pauses(panel, breaker, DOWN, 3) == [1.0, 2.0, 4.0]


def test_only_the_last_sixteen_bad_secrets_are_remembered() -> None:
    """A secret that changes for ever does not fill the memory."""
    panel = Panel()
    breaker = panel.breaker()
    secrets = [Credentials("ops@example.com", f"key {n}") for n in range(17)]
    for secret in secrets:
        breaker.record_failure(secret, Unauthorized("401"))

    assert [panel.credential_state.refused(secret) for secret in secrets] == [
        *[False],
        *[True] * 16,
    ]


def test_two_gates_to_one_panel_do_not_try_the_same_secret_at_once() -> None:
    """Two sections of the configuration may name one panel and one account."""
    panel = Panel()
    one, other = panel.breaker(), panel.breaker()

    assert (one.claim_trial(), other.claim_trial(), one.claim_trial()) == (
        True,
        False,
        True,
    )

    one.release_trial()

    assert other.claim_trial() is True


def test_what_one_gate_learns_of_credentials_every_gate_to_the_panel_knows() -> None:
    """They count towards one lock-out."""
    panel = Panel()
    one, other = panel.breaker(), panel.breaker()
    one.record_failure(FIRST, Unauthorized("401"))

    assert other.open_seconds() == 10 * MINUTE

    panel.now += 10 * MINUTE
    one.record_success(FIRST)

    assert other.state() is BreakerState.CLOSED


def test_an_answer_that_comes_after_a_refusal_opens_nothing() -> None:
    """It was asked for before: what the panel says now is the refusal."""
    panel = Panel()
    breaker = panel.accepting_breaker()
    breaker.record_failure(FIRST, Unauthorized("401"))
    breaker.record_success(FIRST)
    breaker.record_failure(FIRST, NotFound("404"))

    assert breaker.open_seconds() == 10 * MINUTE


def test_what_works_now_and_then_rests_longer_each_time() -> None:
    """A panel that mixes answers and refusals is one that refuses."""
    panel = Panel()
    breaker = panel.breaker()
    found = []
    for _ in range(4):
        breaker.record_success(FIRST)
        found += pauses(panel, breaker, Unauthorized("401"), 1)

    assert found == [10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR]


def test_what_has_worked_for_an_hour_is_as_good_as_new() -> None:
    """The next refusal, for whatever reason, is a first one."""
    panel = Panel()
    breaker = panel.breaker()
    pauses(panel, breaker, Unauthorized("401"), 3)
    breaker.record_success(FIRST)
    panel.now += HOUR

    assert pauses(panel, breaker, Unauthorized("401"), 1) == [10 * MINUTE]


def test_a_request_that_is_given_up_has_proven_nothing() -> None:
    """A reload ends it: the panel may have been about to refuse it."""
    breaker = Panel().accepting_breaker()
    breaker.record_cancellation(FIRST)

    assert breaker.state() is BreakerState.HALF_OPEN


def test_the_one_request_that_is_given_up_is_repeated_later_each_time() -> None:
    """Else every reload would be one more try of which nobody knows the end."""
    panel = Panel()
    found = []
    for _ in range(12):
        breaker = panel.breaker()  # each reload makes a new one
        breaker.claim_trial()
        breaker.record_cancellation(FIRST)
        breaker.release_trial()
        found.append(breaker.open_seconds())
        panel.now += found[-1]

    assert found == [
        *(1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0),
        *(600.0, 600.0),
    ]

    breaker.record_success(FIRST)

    assert breaker.state() is BreakerState.CLOSED


def test_an_unproven_secret_is_lent_only_to_who_has_claimed_it() -> None:
    """What is under way while the secret changes does not go on with the new one."""
    panel = Panel()
    breaker = panel.accepting_breaker()
    admitted = [breaker.admitted_credentials()]
    panel.secret = SECOND
    admitted.append(breaker.admitted_credentials())
    breaker.claim_trial()
    admitted.append(breaker.admitted_credentials())

    assert admitted == [FIRST, None, SECOND]


def test_two_accounts_of_one_panel_do_not_displace_each_other() -> None:
    """Each is proven by itself."""
    panel = Panel()
    one, other = panel.breaker(), panel.breaker()
    one.record_success(FIRST)
    other.record_success(Credentials("someone@example.com", "key"))

    assert one.state() is BreakerState.CLOSED


def test_a_new_gate_takes_over_the_pause_that_the_panel_was_given() -> None:
    """A reload is no reason to hammer a panel, and has its own longest pause."""
    panel = Panel()
    old = panel.accepting_breaker()
    old.record_failure(FIRST, busy(429, 300))
    panel.longest_pause_seconds = 60.0
    new = panel.breaker()
    new.take_over(old)

    assert new.last_proven_at == panel.now
    assert new.open_seconds() == 60.0


def test_a_redirect_is_no_proof_of_anything() -> None:
    """Whoever redirects may never have looked at the credentials."""
    breaker = Panel().breaker()
    breaker.record_failure(FIRST, Redirected("302"))

    assert breaker.state() is BreakerState.OPEN
    assert breaker.last_proven_at is None


@pytest.mark.parametrize(
    "error", [Undecodable("a page"), TooLarge("a flood")], ids=["page", "flood"]
)
def test_a_page_is_no_proof_but_the_next_resource_may_be_asked(
    error: RequestError,
) -> None:
    """One request at a time goes on, and after three the panel is left alone."""
    breaker = Panel().breaker()
    states = []
    for _ in range(3):
        breaker.record_failure(FIRST, error)
        states.append(breaker.state())

    assert states == [BreakerState.HALF_OPEN, BreakerState.HALF_OPEN, BreakerState.OPEN]
    assert breaker.last_proven_at is None


_OUTCOMES = st.sampled_from(
    [None, DOWN, TimedOut("slow"), Unauthorized("401"), Forbidden("403"), busy(503, 7)]
)
_SECRETS = st.sampled_from([FIRST, SECOND])


@settings(deadline=None)
@given(st.lists(st.tuples(_SECRETS, _OUTCOMES), max_size=60))
def test_whatever_happens_a_refused_secret_rests_for_ten_minutes(
    events: list[tuple[Credentials, RequestError | None]],
) -> None:
    """Nothing that a panel, a file or a late answer does brings it back earlier."""
    panel = Panel()
    breaker = panel.breaker()
    refused: dict[Credentials, list[float]] = {FIRST: [], SECOND: []}
    for secret, error in events:
        panel.secret = secret
        panel.now += breaker.open_seconds() / 2  # looks in between, too
        closed = breaker.state() is BreakerState.OPEN
        if error is None:
            breaker.record_success(secret)
        elif not closed:
            breaker.record_failure(secret, error)
            if isinstance(error, Unauthorized):
                refused[secret].append(panel.now)

    assert all(
        later - earlier >= 10 * MINUTE
        for moments in refused.values()
        for earlier, later in pairwise(moments)
    )


@settings(deadline=None)
@given(st.lists(_OUTCOMES, max_size=60))
def test_whatever_happens_a_failure_of_an_unproven_secret_closes_the_gate(
    outcomes: list[RequestError | None],
) -> None:
    """So no panel is ever asked without a rest between."""
    panel = Panel()
    breaker = panel.breaker()
    for error in outcomes:
        panel.now += breaker.open_seconds()
        alone = breaker.state() is BreakerState.HALF_OPEN
        if error is None:
            breaker.record_success(FIRST)
        else:
            breaker.record_failure(FIRST, error)
        open_ = error is None or error.proven

        assert not alone or (breaker.open_seconds() == 0) == open_
