"""The timetable: who is due when; pure, so simulated moments are enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.polling.scheduler import Scheduler

INTERVAL = 900.0
MOMENTS = st.floats(0, 1e9, allow_nan=False)
INTERVALS = st.floats(1, 1e6)
IDS = st.integers(1, 2**63)


def read_all(server_scheduler: Scheduler, now: float) -> list[int]:
    """Read every server that is due; return them in order."""
    found = []
    while (vm_id := server_scheduler.pop_due(now)) is not None:
        server_scheduler.reschedule(vm_id, now, failed=False)
        found.append(vm_id)
    return found


def slots(
    ids: Sequence[int], *, name: str = "cp", interval: float = INTERVAL
) -> list[float]:
    """Return when servers that were read at 0 are due next."""
    found = []
    server_scheduler = Scheduler(name, interval)
    for vm_id in ids:
        server_scheduler.add(vm_id, 0.0)
    read_all(server_scheduler, 0.0)
    while (due := server_scheduler.next_due()) is not None:
        accepted = server_scheduler.pop_due(due)
        assert accepted is not None
        found.append(due)
        server_scheduler.remove(accepted)
    return found


def test_a_new_server_is_due_at_once() -> None:
    """The first pass does not wait for slots."""
    server_scheduler = Scheduler("cp", INTERVAL)
    server_scheduler.add(1, 50.0)

    assert server_scheduler.next_due() == 50.0


def test_a_server_that_is_there_keeps_its_time() -> None:
    """Every inventory enters every server again."""
    server_scheduler = Scheduler("cp", INTERVAL)
    server_scheduler.add(1, 50.0)
    server_scheduler.add(1, 60.0)

    assert server_scheduler.next_due() == 50.0


def test_the_one_due_longest_comes_first() -> None:
    """So none waits for ever, however busy it gets."""
    server_scheduler = Scheduler("cp", INTERVAL)
    for vm_id, moment in ((1, 30.0), (2, 10.0), (3, 20.0)):
        server_scheduler.add(vm_id, moment)

    assert [server_scheduler.pop_due(40.0) for _ in range(4)] == [2, 3, 1, None]


def test_nothing_is_handed_out_before_its_time() -> None:
    """A moment too early is too early."""
    server_scheduler = Scheduler("cp", INTERVAL)
    server_scheduler.add(1, 50.0)

    assert server_scheduler.pop_due(49.999) is None


@settings(deadline=None)
@given(MOMENTS, INTERVALS, IDS)
def test_the_next_slot_is_at_most_an_interval_away(
    now: float, interval: float, vm_id: int
) -> None:
    """And never now: rounding must not make a server due twice at one moment."""
    server_scheduler = Scheduler("cp", interval)
    server_scheduler.add(vm_id, now)
    server_scheduler.pop_due(now)
    server_scheduler.reschedule(vm_id, now, failed=False)
    due = server_scheduler.next_due()

    assert due is not None
    assert now < due <= now + interval * (1 + 2e-6) + now * 1e-14


@settings(deadline=None)
@given(MOMENTS, INTERVALS, IDS)
def test_slots_come_an_interval_apart(now: float, interval: float, vm_id: int) -> None:
    """A server read at its slot is read again one interval later."""
    server_scheduler = Scheduler("cp", interval)
    server_scheduler.add(vm_id, now)
    moments = []
    for _ in range(6):
        due = server_scheduler.next_due()
        assert due is not None
        moments.append(due)
        read_all(server_scheduler, due)
    gaps = [later - earlier for earlier, later in pairwise(moments[1:])]

    assert all(abs(gap - interval) <= moments[-1] * 1e-14 for gap in gaps), gaps


@settings(deadline=None)
@given(st.integers(1, 2**40), st.integers(1, 400), st.sampled_from(["cp", "lon1"]))
def test_slots_spread_evenly_over_the_interval(
    first: int, count: int, name: str
) -> None:
    """No tenth of the interval gets much more than a tenth of the servers."""
    moments = slots(range(first, first + count), name=name)
    fullest = max(
        sum(start <= moment < start + INTERVAL / 10 for moment in moments)
        for start in moments
    )
    share = count / 10

    assert len(moments) == count
    assert fullest <= share + 6 * share**0.5 + 4


def test_two_panels_have_different_slots_for_the_same_number() -> None:
    """An exporter of many panels does not ask them all at one moment."""
    assert slots([2], name="lon1") != slots([2], name="ams1")


def test_a_server_keeps_its_slot_when_others_come_and_go() -> None:
    """Slots depend on the server alone."""
    everybody = Scheduler("cp", INTERVAL)
    for vm_id in range(1, 50):
        everybody.add(vm_id, 0.0)
    read_all(everybody, 0.0)
    for vm_id in range(1, 50):
        if vm_id != 7:
            everybody.remove(vm_id)

    assert everybody.next_due() == slots([7])[0]


def test_a_failed_server_is_tried_before_its_slot_later_each_time() -> None:
    """After a 16th, two and four 16ths of the interval, then in its slots only."""
    server_scheduler = Scheduler("cp", 1600.0)
    server_scheduler.add(1, 0.0)
    read_all(server_scheduler, 0.0)
    moments = []
    for _ in range(7):
        due = server_scheduler.next_due()
        assert due is not None
        assert server_scheduler.pop_due(due) == 1
        server_scheduler.reschedule(1, due, failed=True)
        moments.append(due)
    gaps = [round(later - earlier, 6) for earlier, later in pairwise(moments)]

    assert gaps == [100.0, 200.0, 400.0, 900.0, 1600.0, 1600.0]


def test_a_success_ends_the_retries() -> None:
    """The next failure begins with the shortest wait again."""
    server_scheduler = Scheduler("cp", 1600.0)
    server_scheduler.add(1, 0.0)
    for failed in (True, True, False, True):
        due = server_scheduler.next_due()
        assert due is not None
        server_scheduler.pop_due(due)
        server_scheduler.reschedule(1, due, failed=failed)
        last = due
    due = server_scheduler.next_due()

    assert due is not None
    assert due - last <= 100.0


def test_a_server_that_asked_for_a_rest_gets_it() -> None:
    """A retry waits for as long as Retry-After said."""
    server_scheduler = Scheduler("cp", 1600.0)
    server_scheduler.add(1, 0.0)
    server_scheduler.pop_due(0.0)
    server_scheduler.reschedule(1, 0.0, failed=True, retry_after_seconds=350.0)
    due = server_scheduler.next_due()

    assert due is not None
    assert due >= 350.0


def test_no_rest_is_longer_than_an_interval() -> None:
    """A server that asks for a day is read once an interval all the same."""
    server_scheduler = Scheduler("cp", 1600.0)
    server_scheduler.add(1, 0.0)
    server_scheduler.pop_due(0.0)
    server_scheduler.reschedule(1, 0.0, failed=True, retry_after_seconds=86_400.0)

    assert server_scheduler.next_due() == 1600.0


def test_a_hastened_server_has_its_rest() -> None:
    """News of it do not undo what Retry-After said."""
    server_scheduler = Scheduler("cp", 1600.0)
    server_scheduler.add(1, 0.0)
    server_scheduler.pop_due(0.0)
    server_scheduler.reschedule(1, 0.0, failed=True, retry_after_seconds=350.0)
    server_scheduler.poll_soon(1, 60.0)

    assert server_scheduler.next_due() == 350.0


def test_a_hastened_server_that_fails_waits_for_its_retry() -> None:
    """However often it is hastened, waiting or in hand, in its slots too."""
    server_scheduler = Scheduler("cp", 1600.0)
    server_scheduler.add(1, 0.0)
    read_all(server_scheduler, 0.0)
    moments = []
    for _ in range(6):
        due = server_scheduler.next_due()
        assert due is not None
        assert server_scheduler.pop_due(due) == 1
        server_scheduler.poll_soon(1, due)
        server_scheduler.reschedule(1, due, failed=True)
        server_scheduler.poll_soon(1, due + 1.0)
        moments.append(due)
    gaps = [round(later - earlier, 6) for earlier, later in pairwise(moments)]

    assert gaps == [100.0, 200.0, 400.0, 900.0, 1600.0]


def test_a_hastened_server_that_works_again_is_due_at_once() -> None:
    """The rest ends with the failures."""
    server_scheduler = Scheduler("cp", 1600.0)
    server_scheduler.add(1, 0.0)
    server_scheduler.pop_due(0.0)
    server_scheduler.reschedule(1, 0.0, failed=True)
    server_scheduler.pop_due(100.0)
    server_scheduler.reschedule(1, 100.0, failed=False)
    server_scheduler.poll_soon(1, 101.0)

    assert server_scheduler.next_due() == 101.0


def polled_soon(count: int) -> list[float]:
    """Return after how long each of so many servers that changed together is due."""
    server_scheduler = Scheduler("cp", 10 * INTERVAL)
    for vm_id in range(count):
        server_scheduler.add(vm_id, 0.0)
    read_all(server_scheduler, 0.0)
    for vm_id in range(count):
        server_scheduler.poll_soon(vm_id, 0.5)
    moments = []
    while (due := server_scheduler.next_due()) is not None:
        accepted = server_scheduler.pop_due(due)
        assert accepted is not None
        server_scheduler.remove(accepted)
        moments.append(due - 0.5)
    return moments


@pytest.mark.parametrize(
    ("count", "most_a_second", "last"),
    [(1, 1, 0.0), (8, 8, 0.0), (12, 12, 2.0), (60, 16, 26.0), (900, 45, 30.0)],
)
def test_many_that_change_together_are_due_one_after_another(
    count: int, most_a_second: int, last: float
) -> None:
    """A few at once, a few more soon, hundreds over half a minute."""
    moments = polled_soon(count)
    each_second = Counter(int(moment) for moment in moments)

    assert moments[:8] == [0.0] * min(count, 8)
    assert max(each_second.values()) <= most_a_second
    assert max(moments) <= last


def test_a_burst_ends() -> None:
    """Whoever changes half a minute later waits for none of it."""
    server_scheduler = Scheduler("cp", 10 * INTERVAL)
    for vm_id in range(500):
        server_scheduler.add(vm_id, 0.0)
    read_all(server_scheduler, 0.0)
    for vm_id in range(499):
        server_scheduler.poll_soon(vm_id, 0.5)
    read_all(server_scheduler, 31.0)
    server_scheduler.poll_soon(499, 31.0)

    assert server_scheduler.pop_due(31.0) == 499


def test_none_that_is_hastened_waits_for_longer_than_its_slot() -> None:
    """Hastening only ever brings a read forward."""
    server_scheduler = Scheduler("cp", 8.0)
    for vm_id in range(300):
        server_scheduler.add(vm_id, 0.0)
    read_all(server_scheduler, 0.0)
    for vm_id in range(300):
        server_scheduler.poll_soon(vm_id, 0.5)

    assert len(read_all(server_scheduler, 8.0)) == 300


def test_a_server_put_back_stays_as_overdue_as_it_was() -> None:
    """What was not asked is not done."""
    server_scheduler = Scheduler("cp", INTERVAL)
    server_scheduler.add(1, 50.0)
    server_scheduler.pop_due(70.0)
    server_scheduler.put_back(1)

    assert server_scheduler.overdue_since() == 50.0
    assert server_scheduler.pop_due(70.0) == 1


def test_a_server_in_hand_counts_as_overdue() -> None:
    """A read that hangs shows in the lag."""
    server_scheduler = Scheduler("cp", INTERVAL)
    server_scheduler.add(1, 50.0)
    server_scheduler.add(2, 60.0)
    server_scheduler.pop_due(70.0)

    assert server_scheduler.overdue_since() == 50.0


def test_a_server_that_left_is_never_handed_out_again() -> None:
    """Not even when it left while it was in hand."""
    server_scheduler = Scheduler("cp", INTERVAL)
    server_scheduler.add(1, 0.0)
    server_scheduler.add(2, 0.0)
    server_scheduler.pop_due(0.0)
    server_scheduler.remove(1)
    server_scheduler.remove(2)
    server_scheduler.reschedule(1, 1.0, failed=False)

    assert server_scheduler.pop_due(1e9) is None
    assert server_scheduler.overdue_since() is None


def test_a_server_that_left_and_came_back_in_hand_is_not_asked_twice_at_once() -> None:
    """It waits until the first read has ended."""
    server_scheduler = Scheduler("cp", INTERVAL)
    server_scheduler.add(1, 0.0)
    server_scheduler.pop_due(0.0)
    server_scheduler.remove(1)
    server_scheduler.add(1, 5.0)

    assert server_scheduler.pop_due(10.0) is None

    server_scheduler.reschedule(1, 10.0, failed=False)

    assert server_scheduler.pop_due(10.0 + INTERVAL) == 1


_ACTS = st.tuples(
    st.sampled_from(["enter", "leave", "take", "put back", "done", "failed", "wait"]),
    st.integers(1, 5),
    st.floats(0, 500),
)


@settings(deadline=None)
@given(st.lists(_ACTS, max_size=120))
def test_in_whatever_order_things_happen_nobody_is_lost_or_asked_twice(
    acts: list[tuple[str, int, float]],
) -> None:
    """A server is waiting or in hand, once, from its entry until it leaves."""
    server_scheduler = Scheduler("cp", INTERVAL)
    now = 1000.0
    here: set[int] = set()
    in_hand: list[int] = []
    for act, vm_id, seconds in acts:
        if act == "enter":
            server_scheduler.add(vm_id, now)
            here.add(vm_id)
        elif act == "leave":
            server_scheduler.remove(vm_id)
            here.discard(vm_id)
        elif act == "take":
            accepted = server_scheduler.pop_due(now)

            assert accepted not in in_hand
            assert accepted is None or accepted in here

            in_hand += [] if accepted is None else [accepted]
        elif act == "wait":
            now += seconds
        elif in_hand:
            _end(server_scheduler, act, in_hand.pop(vm_id % len(in_hand)), now)
    for vm_id in in_hand:
        server_scheduler.reschedule(vm_id, now, failed=False)

    assert sorted(read_all(server_scheduler, now + INTERVAL)) == sorted(here)


def _end(server_scheduler: Scheduler, how: str, vm_id: int, now: float) -> None:
    if how == "put back":
        server_scheduler.put_back(vm_id)
    else:
        server_scheduler.reschedule(vm_id, now, failed=how == "failed")


@settings(deadline=None)
@given(st.integers(1, 30), st.floats(1, 400))
def test_a_panel_too_slow_for_all_its_servers_starves_none(
    count: int, seconds: float
) -> None:
    """Whoever is due waits for each of the others once at most."""
    server_scheduler = Scheduler("cp", INTERVAL)
    now = 0.0
    for vm_id in range(count):
        server_scheduler.add(vm_id, now)
    for _ in range(count * 6):
        due = server_scheduler.next_due()
        assert due is not None
        now = max(now, due)
        accepted = server_scheduler.pop_due(now)
        assert accepted is not None

        assert now - due <= count * seconds

        now += seconds
        server_scheduler.reschedule(accepted, now, failed=False)


def test_servers_that_come_and_go_leave_nothing_behind() -> None:
    """The memory of a timetable is bounded by who is there."""
    server_scheduler = Scheduler("cp", INTERVAL)
    server_scheduler.add(1, 0.0)
    for vm_id in range(2, 2000):
        server_scheduler.add(vm_id, 0.0)
        server_scheduler.pop_due(0.0)
        server_scheduler.reschedule(vm_id, 0.0, failed=True)
        server_scheduler.remove(vm_id)
    read_all(server_scheduler, INTERVAL)
    fields = (getattr(server_scheduler, name) for name in Scheduler.__slots__)
    held = sum(len(each) for each in fields if isinstance(each, dict | set | list))

    assert held <= 4
