"""When to read: the panel itself first, then each server in its turn.

One poller a panel. It starts what is due while slots are free, then sleeps until a
request ends or something else is due. The log speaks when things change, not each
time they are as they were.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import structlog

from ..clock import Clock, Heartbeat
from ..errors import (
    ADDRESS_HINT,
    ExporterError,
    NotAsked,
    NotFound,
    PanelError,
    Unauthorized,
    Undecodable,
    seconds_asked_for,
    trace,
)
from ..model.store import LastError, PanelStore
from ..onapp.api import PanelApi
from ..onapp.backoff import exponential_pause
from ..onapp.circuit_breaker import BreakerState, CircuitBreaker
from ..onapp.permissions import backups_hint
from .collectors import Collectors
from .inventory import Inventory
from .jobs import PanelJob
from .scheduler import FirstPass, Scheduler

log = structlog.get_logger()

_SECRET_CHECK_SECONDS = 5.0
_TURN_SECONDS = 1.0
_FIRST_RETRY_SECONDS = 15.0
_LONGEST_RETRY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class PollIntervals:
    """How often, and how much at once, a panel is asked."""

    interval_seconds: float
    discovery_seconds: float
    concurrency: int


@dataclass(slots=True, eq=False)
class Poller:
    """Reads one panel for as long as it runs."""

    store: PanelStore
    reader: PanelApi
    gate: CircuitBreaker
    clock: Clock
    rhythm: PollIntervals
    roster: Inventory
    timetable: Scheduler
    programme: Collectors
    pulse: Heartbeat
    asleep: bool = field(default=False, init=False)
    """Whether nothing is due: simulations move on when nothing is in flight too."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _contact: asyncio.Task[None] | None = field(default=None, init=False)
    _trouble: type[ExporterError] | None = field(default=None, init=False)
    _bug: str = field(default="", init=False)
    _first_pass: FirstPass = field(init=False)
    _retries: int = field(default=0, init=False)
    _retry_at: float = field(default=0.0, init=False)
    _inventory_due: float = field(default=0.0, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        """Begin with nothing read."""
        self._first_pass = FirstPass(self.store, self.timetable, self.programme.errands)

    @property
    def in_flight(self) -> int:
        """How many readings are under way."""
        return len(self._tasks)

    async def run(self) -> None:
        """Poll until cancelled; then end every request under way."""
        self._inventory_due = self._retry_at = self.clock.monotonic()
        self.roster.enter_known()
        self.programme.begin()
        try:
            while True:
                self._start_due()
                self._publish()
                seconds = self._seconds_to_sleep()
                self.asleep = seconds != 0
                with self.pulse.waiting(seconds):
                    await self.clock.wait(self._wake, seconds)
                self.asleep = False
                self._wake.clear()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_due(self) -> None:
        """Start what the gate permits and the clock demands."""
        permit = self.gate.state()
        if permit is BreakerState.OPEN:
            # Refused is an end too; after a pause the first pass goes on.
            self.store.first_pass_ended |= self.gate.credentials_refused()
            if self.gate.credentials_refused() and self.store.reachable is not False:
                # Not by this one's try; its turn comes as soon as another is let in.
                self._inventory_due = min(self._inventory_due, self.clock.monotonic())
                self._refused(Unauthorized("HTTP 401 for another section's request"))
        elif permit is BreakerState.HALF_OPEN:
            if not self._tasks and self.gate.claim_trial():
                self._start_contact()
        else:
            self._start_reads()

    def _start_reads(self) -> None:
        now = self.clock.monotonic()
        while len(self._tasks) < self.rhythm.concurrency:
            if self._contact is None and self._contact_due() <= now:
                self._start_contact()
            elif not (self._start_errand(now) or self._start_read(now)):
                break

    def _start_errand(self, now: float) -> bool:
        errand = self.programme.errands.take(now) if self._acquainted() else None
        if errand is not None:
            self._start(partial(self._run, errand), partial(self._not_run, errand))
        return errand is not None

    def _start_read(self, now: float) -> bool:
        vm_id = self.timetable.take(now)
        if vm_id is not None:
            self._start(partial(self._read, vm_id), partial(self._not_read, vm_id))
        return vm_id is not None

    def _acquainted(self) -> bool:
        """Tell whether the inventory was read once, or cannot be for now."""
        return self._first_pass.begun or self.store.first_pass_ended

    def _start_contact(self) -> None:
        self._contact = self._start(self._ask_for_panel, self._lost)

    def _start(
        self,
        work: Callable[[], Awaitable[None]],
        failed: Callable[[ExporterError], None],
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guard(work, failed))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task is self._contact:
            self._contact = None
            self.gate.release_trial()
        self.asleep = False
        self._wake.set()

    async def _guard(
        self,
        work: Callable[[], Awaitable[None]],
        failed: Callable[[ExporterError], None],
    ) -> None:
        try:
            await work()
        except ExporterError as error:
            failed(error)
        except Exception as error:
            # The only broad except: a bug must not stop the polling.
            # Its message may quote a panel's answer; its name and place do not.
            bug = trace(error)
            if bug != self._bug:
                log.exception("bug in the exporter", panel=self.store.name)
            self._bug = bug
            failure = PanelError(f"a bug in the exporter: {type(error).__name__}")
            self.gate.record_failure(self.gate.credentials(), failure)
            failed(failure)

    def _publish(self) -> None:
        """Let the store know how the polling goes."""
        self.programme.expire_old()
        self.store.last_proven_at_monotonic = self.gate.last_proven_at
        self.store.skew_seconds = self.reader.skew_seconds
        self.store.overdue_since_monotonic = self.timetable.overdue_since()
        opens = self.clock.monotonic() + self.gate.open_seconds()
        self.store.next_request_monotonic = max(self._next_due() or opens, opens)
        self.store.first_pass_ended |= self._first_pass.over()

    async def _ask_for_panel(self) -> None:
        """Ask for the version, as a sign of life, and for the inventory when due."""
        parts = (self._ask_for_version, self._ask_for_inventory)
        # After a failed version in turns: it alone may be what fails.
        turned = self.store.reachable is False and self._retries % 2
        for ask in reversed(parts) if turned else parts:
            await ask()
        if self.store.inventory_answered:
            self._recovered()
        if self.store.inventory_succeeded:
            self._retries = 0

    def _recovered(self) -> None:
        if self._trouble is not None:
            log.info("panel answers", panel=self.store.name, version=self.store.version)
        self._trouble = self.store.last_error = None

    async def _ask_for_version(self) -> None:
        try:
            version = await self.reader.version()
        except PanelError:
            self.store.reachable = False
            raise
        self.store.version = version or self.store.version
        self.store.reachable = True
        self._wake.set()  # the gate may have opened

    async def _ask_for_inventory(self) -> None:
        now = self.clock.monotonic()
        if now < self._inventory_due:
            return
        self._inventory_due = now + self.rhythm.discovery_seconds
        if not await self.roster.read():
            self._inventory_due = now + self._seconds_to_retry(None)
        self._first_pass.expect()

    def _tried(self, vm_id: int, *, failed: bool, rest_seconds: float = 0.0) -> None:
        now = self.clock.monotonic()
        self.timetable.done(vm_id, now, failed=failed, rest_seconds=rest_seconds)
        self._first_pass.tried(vm_id)

    def _lost(self, error: ExporterError) -> None:
        """Take in that the panel itself did not say what it was asked for."""
        if isinstance(error, NotAsked):
            self._inventory_due = min(self._inventory_due, self.clock.monotonic())
            return  # the gate tells when to try again
        self.store.first_pass_ended = True
        self._complain(error)
        self._retry_at = self.clock.monotonic() + self._seconds_to_retry(error)
        self._inventory_due = min(self._inventory_due, self._retry_at)

    def _seconds_to_retry(self, error: ExporterError | None) -> float:
        """Return how long to wait this time: longer each time."""
        seconds = exponential_pause(_FIRST_RETRY_SECONDS, self._retries)
        self._retries += 1
        longest = min(_LONGEST_RETRY_SECONDS, self.rhythm.discovery_seconds)
        return min(max(seconds, seconds_asked_for(error)), longest)

    def _complain(self, error: ExporterError) -> None:
        """Keep the panel's trouble; log it when it begins or becomes another."""
        hint = ADDRESS_HINT if isinstance(error, NotFound | Undecodable) else ""
        self.store.last_error = LastError.of(error, self.clock.time(), hint)
        if type(error) is not self._trouble:
            self._trouble = type(error)
            log.error("panel lost", panel=self.store.name, **error.told(hint))

    async def _run(self, errand: PanelJob) -> None:
        await errand.run()
        errand.succeeded(self.clock.monotonic())

    def _not_run(self, errand: PanelJob, error: ExporterError) -> None:
        if isinstance(error, NotAsked):
            errand.put_back()
            return
        errand.failed(self.clock.monotonic(), error)
        if isinstance(error, Unauthorized):
            self._refused(error)

    async def _read(self, vm_id: int) -> None:
        backups = await self.reader.backups(vm_id)
        watch = self.store.servers.get(vm_id)
        if watch is None:
            self.reader.forget(vm_id)  # gone while it was being read
            self._tried(vm_id, failed=False)
            return
        if watch.failing:
            log.info("server read again", panel=self.store.name, vm_id=vm_id)
        time, monotonic = self.clock.time(), self.clock.monotonic()
        self.store.record_backups(vm_id, backups, time=time, monotonic=monotonic)
        try:
            await self.programme.read(vm_id)
        except Unauthorized as error:
            self._refused(error)
        finally:
            self._tried(vm_id, failed=False)

    def _not_read(self, vm_id: int, error: ExporterError) -> None:
        if isinstance(error, NotAsked):
            self.timetable.put_back(vm_id)
            return
        self._tried(vm_id, failed=True, rest_seconds=seconds_asked_for(error))
        self.programme.expire(vm_id)
        if isinstance(error, Unauthorized):
            self._refused(error)
        watch = self.store.servers.get(vm_id)
        if watch is None:
            return
        hint = backups_hint(error)
        if not watch.failing and not isinstance(error, Unauthorized):
            where = {"panel": self.store.name, "vm_id": vm_id}
            log.warning("server not read", **where, **error.told(hint))
        self.store.record_failure(vm_id, LastError.of(error, self.clock.time(), hint))

    def _refused(self, error: Unauthorized) -> None:
        self.store.reachable = False
        self._complain(error)

    def _contact_due(self) -> float:
        """Return when to ask for the panel itself: on time, and after a silence."""
        heard_at = self.gate.last_proven_at or self.clock.monotonic()
        silent = heard_at + self.rhythm.interval_seconds
        return max(self._retry_at, min(self._inventory_due, silent))

    def _seconds_to_sleep(self) -> float | None:
        """Return how long nothing can be due; None: until a request ends."""
        permit = self.gate.state()
        if permit is BreakerState.OPEN:
            closed = self.gate.open_seconds()
            resting = self.gate.credentials_backing_off()
            return min(closed, _SECRET_CHECK_SECONDS) if resting else closed
        if permit is BreakerState.HALF_OPEN:
            return None if self._tasks else _TURN_SECONDS  # another's turn
        if len(self._tasks) >= self.rhythm.concurrency:
            return None
        first = self._next_due()
        return None if first is None else max(0.0, first - self.clock.monotonic())

    def _next_due(self) -> float | None:
        """Return when something is due; None: when a request has ended."""
        moments = [self.timetable.next_due()]
        if self._acquainted():
            moments.append(self.programme.errands.next_due())
        if self._contact is None:
            moments.append(self._contact_due())
        return min((m for m in moments if m is not None), default=None)
