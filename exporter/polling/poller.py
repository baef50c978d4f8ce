"""Main loop of one panel: it runs due jobs, handles their errors, and plans them again.

The circuit breaker permits any number of requests, a single one, or none. The contact
with the panel itself (version and inventory) comes first, then panel-wide lists, then
servers. While only a single request is permitted and the contact proves nothing, other
jobs take turns with it. Messages are logged when a state changes, not at every attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import structlog

from ..clock import Clock, Heartbeat
from ..errors import (
    UNRECOGNIZED,
    ExporterError,
    NotSent,
    PanelError,
    TimedOut,
    TlsFailed,
    Unauthorized,
    Unreachable,
    redacted_traceback,
)
from ..model.entities import INVENTORY
from ..model.store import LastError, PanelStore
from ..onapp.api import PanelApi
from ..onapp.backoff import Backoff
from ..onapp.circuit_breaker import BreakerState, CircuitBreaker
from .collectors import Collectors
from .inventory import Inventory
from .jobs import Job, JobQueue, Priority, Recurrence
from .lists import CollectorStatus

log = structlog.get_logger()

_SECRET_CHECK_SECONDS = 5.0
"""How often the secret's file is checked while refused credentials are blocked."""
_CLAIM_RETRY_SECONDS = 1.0
"""How long to wait while another poller tries the same credentials."""
_NO_ANSWER = TimedOut | Unreachable | TlsFailed
_FIRST_RETRY_SECONDS = 15.0
_MAX_RETRY_SECONDS = 300.0


@dataclass(slots=True, eq=False)
class Poller:
    """The main loop of one panel; it runs until it is cancelled."""

    store: PanelStore
    api: PanelApi
    breaker: CircuitBreaker
    clock: Clock
    discovery_seconds: float
    """Interval between two reads of the inventory."""
    concurrency: int
    """Maximum number of concurrent requests."""
    inventory: Inventory
    queue: JobQueue
    collectors: Collectors
    heartbeat: Heartbeat
    sleeping: bool = field(default=False, init=False)
    """Whether the loop waits for the next due job; read by simulations."""
    _tasks: dict[asyncio.Task[None], Job] = field(default_factory=dict, init=False)
    _trial_task: asyncio.Task[None] | None = field(default=None, init=False)
    """Task of the trial request, which shows whether further requests may be sent."""
    _try_elsewhere: bool = field(default=False, init=False)
    """Whether the last contact got an answer that may not be the panel's own."""
    _logged_error: type[ExporterError] | None = field(default=None, init=False)
    """Type of the panel's last logged error; None after it recovered."""
    _logged_bug: str = field(default="", init=False)
    """The last logged traceback."""
    _refused_at: float = field(default=0.0, init=False)
    """Monotonic time of the refusal that the store shows."""
    _contact: Job = field(init=False)
    _inventory: Recurrence = field(init=False)
    """When the contact also reads the inventory."""
    _inventory_read: bool = field(default=False, init=False)
    """Whether any part of the inventory has been read."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        """Create the contact job, due at once."""
        seconds = self.discovery_seconds
        backoff = Backoff(_FIRST_RETRY_SECONDS, min(_MAX_RETRY_SECONDS, seconds))
        self._inventory = Recurrence(seconds, backoff)
        self._contact = Job(
            *(seconds, backoff),
            run=self._contact_panel,
            on_failure=self._contact_failed,
            priority=Priority.PANEL,
            number=0,
        )

    @property
    def in_flight(self) -> int:
        """Number of tasks that are running."""
        return len(self._tasks)

    async def run(self) -> None:
        """Poll until cancelled; then cancel the requests in flight."""
        self._inventory.due = self.clock.monotonic()
        self.queue.add(self._contact, self._inventory.due)
        self.inventory.add_known_servers()
        self.collectors.drop_disabled()
        try:
            while True:
                self._start_due()
                self._update_store()
                seconds = self._seconds_to_sleep()
                self.sleeping = seconds != 0
                with self.heartbeat.waiting(seconds):
                    await self.clock.wait(self._wake, seconds)
                self.sleeping = False
                self._wake.clear()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_due(self) -> None:
        """Start due jobs, as far as the circuit breaker permits."""
        self._plan_contact()
        if self._inventory_read or self.store.first_pass_ended:
            self.collectors.start()
        permit = self.breaker.state()
        if permit is BreakerState.OPEN:
            if self.breaker.credentials_refused():
                self._record_refusal()
        elif permit is BreakerState.HALF_OPEN:
            if not self._tasks and self.breaker.claim_trial():
                self._trial_task = self._start(self._trial_job())
        else:
            now = self.clock.monotonic()
            while len(self._tasks) < self.concurrency:
                job = next(self._due_jobs(now, Priority), None)
                if job is None:
                    break
                self._start(job)

    def _plan_contact(self) -> None:
        """Plan the contact for the inventory's due time, or after a silence."""
        answered_at = self.breaker.last_proven_at or self.clock.monotonic()
        silence_ends_at = answered_at + self.store.interval_seconds
        due = max(min(self._inventory.due, silence_ends_at), self._contact.not_before)
        if due != self._contact.due:
            self.queue.plan(self._contact, due)

    def _contact_now(self) -> None:
        self._inventory.due = self.clock.monotonic()
        self._contact.not_before = 0.0

    def _record_refusal(self) -> None:
        """Show that the credentials are refused, whichever request was refused."""
        # Refused credentials end the first pass; its jobs run after the pause.
        self.store.first_pass_ended = True
        if self.store.reachable is not False:
            self._contact_now()  # as soon as requests are permitted again
            self.store.reachable = False
            self._record_panel_error(
                self.breaker.last_refusal
                or Unauthorized("HTTP 401 for another section's request")
            )

    def _trial_job(self) -> Job:
        """Return the contact job; after a failed one, the most overdue other job."""
        elsewhere, self._try_elsewhere = self._try_elsewhere, False
        if elsewhere:
            now = self.clock.monotonic()
            due = self._due_jobs(now, (Priority.LIST, Priority.SERVER))
            return min(due, key=lambda job: job.due, default=self._contact)
        return self._contact

    def _due_jobs(self, now: float, among: Iterable[Priority]) -> Iterator[Job]:
        """Yield the first due job of each priority."""
        for priority in among:
            job = self.queue.first(priority)
            if job is not None and job.due <= now:
                yield job

    def _start(self, job: Job) -> asyncio.Task[None]:
        self.queue.start(job)
        task = asyncio.create_task(self._run(job))
        self._tasks[task] = job
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        job = self._tasks.pop(task)
        if task is self._trial_task:
            self._trial_task = None
            self.breaker.release_trial()
            closed = self.breaker.state() is BreakerState.CLOSED
            if closed and job is not self._contact:
                self._contact_now()
        self.sleeping = False
        self._wake.set()

    async def _run(self, job: Job) -> None:
        """Run a job and plan its next run; errors do not stop the polling."""
        self.heartbeat.beat()
        failure: ExporterError | None = None
        try:
            await job.run()
        except NotSent:
            self.queue.put_back(job)
            return
        except ExporterError as error:
            failure = error
        except Exception as error:
            # The only broad except: a bug must not stop the polling. The message may
            # quote a panel's answer; the type and the traceback do not.
            bug = redacted_traceback(error)
            if bug != self._logged_bug:
                log.exception("bug in the exporter", panel=self.store.name)
            self._logged_bug = bug
            failure = PanelError(f"a bug in the exporter: {type(error).__name__}")
            self.breaker.record_failure(self.breaker.credentials(), failure)
        self.queue.end(job, self.clock.monotonic(), failure)
        if failure is not None:
            job.on_failure(failure)

    def _update_credentials_refused(self) -> None:
        """Record a refusal, which lasts until an answer proves the credentials."""
        if self.breaker.credentials_refused():
            if not self.store.credentials_refused:
                self._refused_at = self.clock.monotonic()
                self.store.credentials_refused_at = self.clock.time()
            self.store.credentials_refused = True
        elif self.store.reachable is not None and (
            not self.store.credentials_refused
            or (self.breaker.last_proven_at or 0.0) > self._refused_at
        ):
            self.store.credentials_refused = False

    def _update_store(self) -> None:
        """Copy the polling state into the store; drop data that are too old."""
        self.collectors.expire_all()
        self.store.last_proven_at_monotonic = self.breaker.last_proven_at
        self.store.polled_at_monotonic = self.clock.monotonic()
        self._update_credentials_refused()
        self.store.skew_seconds = self.api.skew_seconds
        self.store.future_rows = self.api.future_rows
        self.store.overdue_since_monotonic = self.queue.overdue_since()
        self.store.first_pass_ended |= self._inventory_read and not self.queue.untried
        allowed_at = self.clock.monotonic() + self.breaker.open_seconds()
        self.store.next_request_monotonic = max(
            self._next_due() or allowed_at, allowed_at
        )

    async def _contact_panel(self) -> None:
        """Read the version to check that the panel answers, and the inventory if due.

        If the answer to one may not be the panel's own, the other is still requested.
        """
        steps = (self._read_version, self._read_inventory)
        # After a failure the order alternates: perhaps only the version fails.
        odd = self._contact.backoff.failures % 2
        inventory_first = self.store.reachable is False and odd
        failures: list[ExporterError] = []
        for step in reversed(steps) if inventory_first else steps:
            try:
                await step()
            except (*UNRECOGNIZED, NotSent) as error:
                failures.append(error)
        if failures:
            raise failures[0]
        if not self.store.inventory_answered:
            return
        if self._logged_error is not None:
            log.info(
                "panel reachable again",
                panel=self.store.name,
                version=self.store.version,
            )
        self._logged_error = self.store.last_error = None

    async def _read_version(self) -> None:
        reachable: bool | None = False  # stays False after a bug
        try:
            version = await self.api.version()
            self.store.version = version or self.store.version
            reachable = True
        except (NotSent, asyncio.CancelledError):
            reachable = self.store.reachable
            raise
        finally:
            self.store.reachable = reachable
        self._wake.set()  # the circuit breaker may have closed

    async def _read_inventory(self) -> None:
        now = self.clock.monotonic()
        if now < self._inventory.due:
            return
        with CollectorStatus(self.store, self.clock, INVENTORY).timed():
            complete = await self.inventory.read()
        self._inventory_read = True
        if complete:
            self._inventory.record_success(now)
        else:
            self._inventory.record_failure(now)

    def _contact_failed(self, error: ExporterError) -> None:
        """Record that the version or the inventory could not be read."""
        closed = self.breaker.state() is BreakerState.CLOSED
        self.store.first_pass_ended |= not (closed and self._inventory_read)
        self._try_elsewhere = not isinstance(error, _NO_ANSWER | Unauthorized)
        self._record_panel_error(error)
        self._inventory.due = min(self._inventory.due, self._contact.due)

    def _record_panel_error(self, error: ExporterError) -> None:
        """Store the panel's error; log it if its type is new."""
        previous = self.store.last_error
        self.store.last_error = LastError.of(error, self.clock.time(), previous)
        if type(error) is not self._logged_error:
            self._logged_error = type(error)
            refused = isinstance(error, Unauthorized)
            log.error(
                "panel refuses the credentials" if refused else "panel unreachable",
                panel=self.store.name,
                **error.log_fields(),
            )

    def _seconds_to_sleep(self) -> float | None:
        """Return how long to sleep; None: until a task ends."""
        permit = self.breaker.state()
        if permit is BreakerState.OPEN:
            pause_seconds = self.breaker.open_seconds()
            resting = self.breaker.credentials_backing_off()
            return (
                min(pause_seconds, _SECRET_CHECK_SECONDS) if resting else pause_seconds
            )
        if permit is BreakerState.HALF_OPEN:
            return None if self._tasks else _CLAIM_RETRY_SECONDS
        if len(self._tasks) >= self.concurrency:
            return None
        due = self._next_due()
        return None if due is None else max(0.0, due - self.clock.monotonic())

    def _next_due(self) -> float | None:
        """Return when the next request is due; None: only after a task ends."""
        first = (self.queue.first(priority) for priority in Priority)
        return min((job.due for job in first if job is not None), default=None)
