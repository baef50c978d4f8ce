"""The queue of jobs: what is due when; pure, so simulated moments are enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import Forbidden, PanelError, UnexpectedStatus
from exporter.onapp.backoff import Backoff
from exporter.polling.jobs import Job, JobQueue, Priority, server_job

INTERVAL = 900.0
MOMENTS = st.floats(0, 1e9, allow_nan=False)
INTERVALS = st.floats(1, 1e6)
IDS = st.integers(1, 2**63)


class Servers:
    """A queue of servers, each called by its number."""

    def __init__(self, panel: str = "cp", interval: float = INTERVAL) -> None:
        """Make an empty one."""
        self.panel, self.interval, self.jobs = panel, interval, JobQueue()
        self.started: dict[int, Job] = {}

    def add(self, vm_id: int, now: float) -> None:
        """Add a server."""
        job = server_job(self.panel, vm_id, self.interval, _run, _on_failure)
        self.jobs.add(job, now)

    def remove(self, vm_id: int) -> None:
        """Remove a server."""
        self.jobs.remove_server(vm_id)

    def run_soon(self, vm_id: int, now: float) -> None:
        """Hasten a server."""
        self.jobs.run_soon(vm_id, now)

    def next_due(self) -> float | None:
        """Return when the next one is due."""
        job = self.jobs.first(Priority.SERVER)
        return None if job is None else job.due

    def pop_due(self, now: float) -> int | None:
        """Start the most overdue one."""
        job = self.jobs.first(Priority.SERVER)
        if job is None or job.due > now:
            return None
        self.jobs.start(job)
        self.started[job.number] = job
        return job.number

    def put_back(self, vm_id: int) -> None:
        """Put a server back that was not asked."""
        self.jobs.put_back(self.started.pop(vm_id))

    def reschedule(
        self, vm_id: int, now: float, *, failed: bool, retry_after: float | None = None
    ) -> None:
        """End the read of a server."""
        error = UnexpectedStatus("503", status=503, retry_after_seconds=retry_after)
        self.jobs.end(self.started.pop(vm_id), now, error if failed else None)

    def overdue_since(self) -> float | None:
        """Return since when the most overdue one is."""
        return self.jobs.overdue_since()


async def _run() -> None:
    """Do nothing: only when it would run matters here."""


def _on_failure(_: object) -> None:
    """Do nothing."""


def read_all(queue: Servers, now: float) -> list[int]:
    """Read every server that is due; return them in order."""
    found = []
    while (vm_id := queue.pop_due(now)) is not None:
        queue.reschedule(vm_id, now, failed=False)
        found.append(vm_id)
    return found


def gaps_of_failures(
    queue: Servers, times: int, *, run_soon: bool = False
) -> list[float]:
    """Let server 1 fail so often; return how long it waited each time.

    With ``run_soon`` something changes during each read and after it.
    """
    moments = []
    for _ in range(times):
        due = queue.next_due()
        assert due is not None
        assert queue.pop_due(due) == 1
        if run_soon:
            queue.run_soon(1, due)
        queue.reschedule(1, due, failed=True)
        if run_soon:
            queue.run_soon(1, due + 1.0)
        moments.append(due)
    return [round(later - earlier, 6) for earlier, later in pairwise(moments)]


def slots(
    ids: Sequence[int], *, name: str = "cp", interval: float = INTERVAL
) -> list[float]:
    """Return when servers that were read at 0 are due next."""
    found = []
    queue = Servers(name, interval)
    for vm_id in ids:
        queue.add(vm_id, 0.0)
    read_all(queue, 0.0)
    while (due := queue.next_due()) is not None:
        accepted = queue.pop_due(due)
        assert accepted is not None
        found.append(due)
        queue.remove(accepted)
    return found


def test_a_new_server_is_due_at_once() -> None:
    """The first pass does not wait for slots."""
    queue = Servers("cp", INTERVAL)
    queue.add(1, 50.0)

    assert queue.next_due() == 50.0


def test_a_server_that_is_there_keeps_its_time() -> None:
    """Every inventory enters every server again."""
    queue = Servers("cp", INTERVAL)
    queue.add(1, 50.0)
    queue.add(1, 60.0)

    assert queue.next_due() == 50.0


def test_the_one_due_longest_comes_first() -> None:
    """So none waits for ever, however busy it gets."""
    queue = Servers("cp", INTERVAL)
    for vm_id, moment in ((1, 30.0), (2, 10.0), (3, 20.0)):
        queue.add(vm_id, moment)

    assert [queue.pop_due(40.0) for _ in range(4)] == [2, 3, 1, None]


def test_nothing_is_handed_out_before_its_time() -> None:
    """A moment too early is too early."""
    queue = Servers("cp", INTERVAL)
    queue.add(1, 50.0)

    assert queue.pop_due(49.999) is None


@settings(deadline=None)
@given(MOMENTS, INTERVALS, IDS)
def test_the_next_slot_is_at_most_an_interval_away(
    now: float, interval: float, vm_id: int
) -> None:
    """And never now: rounding must not make a server due twice at one moment."""
    queue = Servers("cp", interval)
    queue.add(vm_id, now)
    queue.pop_due(now)
    queue.reschedule(vm_id, now, failed=False)
    due = queue.next_due()

    assert due is not None
    assert now < due <= now + interval * (1 + 2e-6) + now * 1e-14


@settings(deadline=None)
@given(MOMENTS, INTERVALS, IDS)
def test_slots_come_an_interval_apart(now: float, interval: float, vm_id: int) -> None:
    """A server read at its slot is read again one interval later."""
    queue = Servers("cp", interval)
    queue.add(vm_id, now)
    moments = []
    for _ in range(6):
        due = queue.next_due()
        assert due is not None
        moments.append(due)
        read_all(queue, due)
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
    everybody = Servers("cp", INTERVAL)
    for vm_id in range(1, 50):
        everybody.add(vm_id, 0.0)
    read_all(everybody, 0.0)
    for vm_id in range(1, 50):
        if vm_id != 7:
            everybody.remove(vm_id)

    assert everybody.next_due() == slots([7])[0]


def test_a_failed_server_is_tried_before_its_slot_later_each_time() -> None:
    """After a 16th, two and four 16ths of the interval, then in its slots only."""
    queue = Servers("cp", 1600.0)
    queue.add(1, 0.0)
    read_all(queue, 0.0)

    assert gaps_of_failures(queue, 7) == [100.0, 200.0, 400.0, 900.0, 1600.0, 1600.0]


def test_a_success_ends_the_retries() -> None:
    """The next failure begins with the shortest wait again."""
    queue = Servers("cp", 1600.0)
    queue.add(1, 0.0)
    for failed in (True, True, False, True):
        due = queue.next_due()
        assert due is not None
        queue.pop_due(due)
        queue.reschedule(1, due, failed=failed)
        last = due
    due = queue.next_due()

    assert due is not None
    assert due - last <= 100.0


def test_a_server_that_asked_for_a_rest_gets_it() -> None:
    """A retry waits for as long as Retry-After said."""
    queue = Servers("cp", 1600.0)
    queue.add(1, 0.0)
    queue.pop_due(0.0)
    queue.reschedule(1, 0.0, failed=True, retry_after=350.0)
    due = queue.next_due()

    assert due is not None
    assert due >= 350.0


def test_no_rest_is_longer_than_an_interval() -> None:
    """A server that asks for a day is read once an interval all the same."""
    queue = Servers("cp", 1600.0)
    queue.add(1, 0.0)
    queue.pop_due(0.0)
    queue.reschedule(1, 0.0, failed=True, retry_after=86_400.0)

    assert queue.next_due() == 1600.0


def test_a_hastened_server_has_its_rest() -> None:
    """News of it do not undo what Retry-After said."""
    queue = Servers("cp", 1600.0)
    queue.add(1, 0.0)
    queue.pop_due(0.0)
    queue.reschedule(1, 0.0, failed=True, retry_after=350.0)
    queue.run_soon(1, 60.0)

    assert queue.next_due() == 350.0


def test_a_hastened_server_that_fails_waits_for_its_retry() -> None:
    """However often it is hastened, waiting or in hand, in its slots too."""
    queue = Servers("cp", 1600.0)
    queue.add(1, 0.0)
    read_all(queue, 0.0)

    assert gaps_of_failures(queue, 6, run_soon=True) == [
        *(100.0, 200.0, 400.0, 900.0, 1600.0)
    ]


def test_a_hastened_server_that_works_again_is_due_at_once() -> None:
    """The rest ends with the failures."""
    queue = Servers("cp", 1600.0)
    queue.add(1, 0.0)
    queue.pop_due(0.0)
    queue.reschedule(1, 0.0, failed=True)
    queue.pop_due(100.0)
    queue.reschedule(1, 100.0, failed=False)
    queue.run_soon(1, 101.0)

    assert queue.next_due() == 101.0


def run_early(count: int) -> list[float]:
    """Return after how long each of so many servers that changed together is due."""
    queue = Servers("cp", 10 * INTERVAL)
    for vm_id in range(count):
        queue.add(vm_id, 0.0)
    read_all(queue, 0.0)
    for vm_id in range(count):
        queue.run_soon(vm_id, 0.5)
    moments = []
    while (due := queue.next_due()) is not None:
        accepted = queue.pop_due(due)
        assert accepted is not None
        queue.remove(accepted)
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
    moments = run_early(count)
    each_second = Counter(int(moment) for moment in moments)

    assert moments[:8] == [0.0] * min(count, 8)
    assert max(each_second.values()) <= most_a_second
    assert max(moments) <= last


def test_a_burst_ends() -> None:
    """Whoever changes half a minute later waits for none of it."""
    queue = Servers("cp", 10 * INTERVAL)
    for vm_id in range(500):
        queue.add(vm_id, 0.0)
    read_all(queue, 0.0)
    for vm_id in range(499):
        queue.run_soon(vm_id, 0.5)
    read_all(queue, 31.0)
    queue.run_soon(499, 31.0)

    assert queue.pop_due(31.0) == 499


def test_none_that_is_hastened_waits_for_longer_than_its_slot() -> None:
    """Hastening only ever brings a read forward."""
    queue = Servers("cp", 8.0)
    for vm_id in range(300):
        queue.add(vm_id, 0.0)
    read_all(queue, 0.0)
    for vm_id in range(300):
        queue.run_soon(vm_id, 0.5)

    assert len(read_all(queue, 8.0)) == 300


def test_a_server_put_back_stays_as_overdue_as_it_was() -> None:
    """What was not asked is not done."""
    queue = Servers("cp", INTERVAL)
    queue.add(1, 50.0)
    queue.pop_due(70.0)
    queue.put_back(1)

    assert queue.overdue_since() == 50.0
    assert queue.pop_due(70.0) == 1


def test_a_server_in_hand_counts_as_overdue() -> None:
    """A read that hangs shows in the lag."""
    queue = Servers("cp", INTERVAL)
    queue.add(1, 50.0)
    queue.add(2, 60.0)
    queue.pop_due(70.0)

    assert queue.overdue_since() == 50.0


def test_a_server_that_left_is_never_handed_out_again() -> None:
    """Not even when it left while it was in hand."""
    queue = Servers("cp", INTERVAL)
    queue.add(1, 0.0)
    queue.add(2, 0.0)
    queue.pop_due(0.0)
    queue.remove(1)
    queue.remove(2)
    queue.reschedule(1, 1.0, failed=False)

    assert queue.pop_due(1e9) is None
    assert queue.overdue_since() is None


def test_a_server_that_left_and_came_back_in_hand_is_not_asked_twice_at_once() -> None:
    """It waits until the first read has ended."""
    queue = Servers("cp", INTERVAL)
    queue.add(1, 0.0)
    queue.pop_due(0.0)
    queue.remove(1)
    queue.add(1, 5.0)

    assert queue.pop_due(10.0) is None

    queue.reschedule(1, 10.0, failed=False)

    assert queue.pop_due(10.0 + INTERVAL) == 1


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
    queue = Servers("cp", INTERVAL)
    now = 1000.0
    here: set[int] = set()
    in_hand: list[int] = []
    for act, vm_id, seconds in acts:
        if act == "enter":
            queue.add(vm_id, now)
            here.add(vm_id)
        elif act == "leave":
            queue.remove(vm_id)
            here.discard(vm_id)
        elif act == "take":
            accepted = queue.pop_due(now)

            assert accepted not in in_hand
            assert accepted is None or accepted in here

            in_hand += [] if accepted is None else [accepted]
        elif act == "wait":
            now += seconds
        elif in_hand:
            _end(queue, act, in_hand.pop(vm_id % len(in_hand)), now)
    for vm_id in in_hand:
        queue.reschedule(vm_id, now, failed=False)

    assert sorted(read_all(queue, now + INTERVAL)) == sorted(here)


def _end(queue: Servers, how: str, vm_id: int, now: float) -> None:
    if how == "put back":
        queue.put_back(vm_id)
    else:
        queue.reschedule(vm_id, now, failed=how == "failed")


@settings(deadline=None)
@given(st.integers(1, 30), st.floats(1, 400))
def test_a_panel_too_slow_for_all_its_servers_starves_none(
    count: int, seconds: float
) -> None:
    """Whoever is due waits for each of the others once at most."""
    queue = Servers("cp", INTERVAL)
    now = 0.0
    for vm_id in range(count):
        queue.add(vm_id, now)
    for _ in range(count * 6):
        due = queue.next_due()
        assert due is not None
        now = max(now, due)
        accepted = queue.pop_due(now)
        assert accepted is not None

        assert now - due <= count * seconds

        now += seconds
        queue.reschedule(accepted, now, failed=False)


def test_servers_that_come_and_go_leave_nothing_behind() -> None:
    """The memory of a timetable is bounded by who is there."""
    queue = Servers("cp", INTERVAL)
    queue.add(1, 0.0)
    for vm_id in range(2, 2000):
        queue.add(vm_id, 0.0)
        started = queue.pop_due(0.0)
        assert started is not None
        queue.reschedule(started, 0.0, failed=True)
        queue.remove(vm_id)
    read_all(queue, INTERVAL)
    held = [
        *queue.jobs._jobs,  # noqa: SLF001  # what must not grow
        *queue.jobs._heaps,  # noqa: SLF001  # the same
        queue.jobs._in_progress,  # noqa: SLF001  # the same
        queue.jobs.untried,
    ]

    assert sum(map(len, held)) <= 4


def test_a_list_is_retried_later_each_time_up_to_its_interval() -> None:
    """A success ends that; a refusal is final for an hour."""
    queue, now = JobQueue(), 0.0
    job = Job(
        *(100.0, Backoff(15.0, 100.0)),
        refusable=True,
        run=_run,
        on_failure=_on_failure,
        priority=Priority.LIST,
        number=0,
    )
    queue.add(job, now)
    pauses = []
    for error in (*[PanelError()] * 5, Forbidden(), None, PanelError()):
        queue.start(job)
        queue.end(job, now, error)
        pauses.append(job.due - now)
        now = job.due

    assert pauses == [15.0, 30.0, 60.0, 100.0, 100.0, 3600.0, 100.0, 15.0]


def test_what_was_never_tried_is_known() -> None:
    """A server that needs another read counts again, one that left does not."""
    queue = Servers()
    for vm_id in (1, 2, 3):
        queue.add(vm_id, 0.0)
    untried = [len(queue.jobs.untried)]
    read_all(queue, 0.0)
    untried.append(len(queue.jobs.untried))
    queue.jobs.run_soon(1, 1.0, untried=True)
    queue.jobs.run_soon(2, 1.0)
    queue.jobs.run_soon(3, 1.0, untried=True)
    untried.append(len(queue.jobs.untried))
    queue.remove(3)
    read_all(queue, 1.0)
    untried.append(len(queue.jobs.untried))

    assert untried == [3, 0, 2, 0]
