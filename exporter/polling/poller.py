"""Main loop of one panel: starts what is due, sleeps until something else is.

The circuit breaker decides whether any number of requests may be sent, one, or none.
The panel itself (version and inventory) comes first, then panel-wide jobs, then
servers. While only one may be sent, and those of the panel itself prove nothing, the
others take turns with them. A message is logged when a state changes, not at every
attempt.
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
    UNRECOGNIZED,
    ExporterError,
    NotFound,
    NotSent,
    PanelError,
    TimedOut,
    TlsFailed,
    Unauthorized,
    Undecodable,
    Unreachable,
    redacted_traceback,
    retry_after,
)
from ..model.entities import BACKUPS, INVENTORY
from ..model.store import LastError, PanelStore
from ..onapp.api import PanelApi
from ..onapp.backoff import exponential_pause
from ..onapp.circuit_breaker import BreakerState, CircuitBreaker
from ..onapp.permissions import backups_hint
from .collectors import Collectors
from .inventory import Inventory
from .jobs import CollectorStatus, PanelJob
from .scheduler import FirstPass, Scheduler

log = structlog.get_logger()

_SECRET_CHECK_SECONDS = 5.0
"""While refused credentials wait, how often the secret's file is checked."""
_CLAIM_RETRY_SECONDS = 1.0
"""While another poller tries the same credentials, how often this one asks again."""
_NO_ANSWER = TimedOut | Unreachable | TlsFailed
_FIRST_RETRY_SECONDS = 15.0
_MAX_RETRY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class PollIntervals:
    """How often a panel is asked, and by how many requests at once."""

    interval_seconds: float
    """Between two reads of the same server."""
    discovery_seconds: float
    """Between two reads of the inventory."""
    concurrency: int


@dataclass(slots=True, eq=False)
class Poller:
    """Polls one panel until it is cancelled."""

    store: PanelStore
    api: PanelApi
    breaker: CircuitBreaker
    clock: Clock
    intervals: PollIntervals
    inventory: Inventory
    scheduler: Scheduler
    collectors: Collectors
    heartbeat: Heartbeat
    sleeping: bool = field(default=False, init=False)
    """Whether the loop waits for something to become due; simulations ask for it."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _contact_task: asyncio.Task[None] | None = field(default=None, init=False)
    """The one of them that reads version and inventory."""
    _trial_task: asyncio.Task[None] | None = field(default=None, init=False)
    """The one that was started to find out whether requests may be sent."""
    _try_elsewhere: bool = field(default=False, init=False)
    """Whether the last contact brought an answer that may not be the panel's own."""
    _logged_error: type[ExporterError] | None = field(default=None, init=False)
    """The panel's error that was logged last; None since it recovered."""
    _logged_bug: str = field(default="", init=False)
    """The traceback that was logged last."""
    _first_pass: FirstPass = field(init=False)
    _refused_at: float = field(default=0.0, init=False)
    """Monotonic time of the refusal that the store shows."""
    _contact_retries: int = field(default=0, init=False)
    _contact_retry_at: float = field(default=0.0, init=False)
    _inventory_due: float = field(default=0.0, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        """Start the first pass with nothing tried."""
        self._first_pass = FirstPass(
            self.store, self.scheduler, self.collectors.job_queue
        )

    @property
    def in_flight(self) -> int:
        """Number of tasks that are running."""
        return len(self._tasks)

    async def run(self) -> None:
        """Poll until cancelled; then cancel the requests in flight."""
        self._inventory_due = self._contact_retry_at = self.clock.monotonic()
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
        """Start what is due, as far as the circuit breaker permits."""
        permit = self.breaker.state()
        if permit is BreakerState.OPEN:
            # Refused credentials end the first pass; it continues after the pause.
            self.store.first_pass_ended |= self.breaker.credentials_refused()
            if self.breaker.credentials_refused() and self.store.reachable is not False:
                # Another poller's request was refused. The inventory is read as soon as
                # requests are permitted again.
                self._inventory_due = min(self._inventory_due, self.clock.monotonic())
                self._credentials_refused(
                    Unauthorized("HTTP 401 for another section's request")
                )
        elif permit is BreakerState.HALF_OPEN:
            if not self._tasks and self.breaker.claim_trial():
                self._trial_task = self._start_trial()
        else:
            self._start_up_to_limit()

    def _start_trial(self) -> asyncio.Task[None]:
        """Start a contact; after one in vain, what else is the most overdue."""
        now, elsewhere = self.clock.monotonic(), self._try_elsewhere
        self._try_elsewhere = False
        starts = [self._start_job, self._start_server_read] if elsewhere else []
        if (self.scheduler.next_due() or now) < (
            self.collectors.job_queue.next_due() or now
        ):
            starts.reverse()
        tasks = (start(now) for start in starts)
        return next(filter(None, tasks), None) or self._start_contact()

    def _start_up_to_limit(self) -> None:
        now = self.clock.monotonic()
        while len(self._tasks) < self.intervals.concurrency:
            if self._contact_task is None and self._contact_due() <= now:
                self._start_contact()
            elif not (self._start_job(now) or self._start_server_read(now)):
                break

    def _start_job(self, now: float) -> asyncio.Task[None] | None:
        job = self.collectors.job_queue.pop_due(now) if self._may_run_jobs() else None
        if job is None:
            return None
        return self._start_task(
            partial(self._run_job, job), partial(self._job_failed, job)
        )

    def _start_server_read(self, now: float) -> asyncio.Task[None] | None:
        vm_id = self.scheduler.pop_due(now)
        if vm_id is None:
            return None
        return self._start_task(
            partial(self._read_server, vm_id), partial(self._server_failed, vm_id)
        )

    def _may_run_jobs(self) -> bool:
        """Return whether the inventory was read once, or cannot be read for now."""
        return self._first_pass.has_inventory or self.store.first_pass_ended

    def _start_contact(self) -> asyncio.Task[None]:
        task = self._start_task(self._contact_panel, self._contact_failed)
        self._contact_task = task
        return task

    def _start_task(
        self,
        work: Callable[[], Awaitable[None]],
        on_error: Callable[[ExporterError], None],
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guard(work, on_error))
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task is self._trial_task:
            self._trial_task = None
            self.breaker.release_trial()
            if task is not self._contact_task and (
                self.breaker.state() is BreakerState.CLOSED
            ):
                self._inventory_due = self._contact_retry_at = self.clock.monotonic()
        if task is self._contact_task:
            self._contact_task = None
        self.sleeping = False
        self._wake.set()

    async def _guard(
        self,
        work: Callable[[], Awaitable[None]],
        on_error: Callable[[ExporterError], None],
    ) -> None:
        try:
            await work()
        except ExporterError as error:
            on_error(error)
        except Exception as error:
            # The only broad except: a bug must not stop the polling.
            # Its message may quote a panel's answer, its type and traceback do not.
            bug = redacted_traceback(error)
            if bug != self._logged_bug:
                log.exception("bug in the exporter", panel=self.store.name)
            self._logged_bug = bug
            failure = PanelError(f"a bug in the exporter: {type(error).__name__}")
            self.breaker.record_failure(self.breaker.credentials(), failure)
            on_error(failure)

    def _update_credentials_refused(self) -> None:
        """Note a refusal; it ends with an answer that proves the credentials."""
        if self.breaker.credentials_refused():
            if not self.store.credentials_refused:
                self._refused_at = self.clock.monotonic()
            self.store.credentials_refused = True
        elif self.store.reachable is not None and (
            not self.store.credentials_refused
            or (self.breaker.last_proven_at or 0.0) > self._refused_at
        ):
            self.store.credentials_refused = False

    def _update_store(self) -> None:
        """Copy the state of the polling into the store; drop data that are too old."""
        self.collectors.expire_all()
        self.store.last_proven_at_monotonic = self.breaker.last_proven_at
        self._update_credentials_refused()
        self.store.skew_seconds = self.api.skew_seconds
        self.store.future_rows = self.api.future_rows
        self.store.overdue_since_monotonic = self.scheduler.overdue_since()
        allowed_at = self.clock.monotonic() + self.breaker.open_seconds()
        self.store.next_request_monotonic = max(
            self._next_due() or allowed_at, allowed_at
        )
        self.store.first_pass_ended |= self._first_pass.has_ended()

    async def _contact_panel(self) -> None:
        """Read the version, to see that the panel answers, and the inventory if due.

        An answer to one that may not be the panel's own says nothing about the other.
        """
        steps = (self._read_version, self._read_inventory)
        # After a failure the order alternates: perhaps only the version fails.
        inventory_first = self.store.reachable is False and self._contact_retries % 2
        failures: list[ExporterError] = []
        for step in reversed(steps) if inventory_first else steps:
            try:
                await step()
            except (*UNRECOGNIZED, NotSent) as error:
                failures.append(error)
        if failures:
            raise failures[0]
        if self.store.inventory_answered:
            self._clear_last_error()
        if self.store.inventory_succeeded:
            self._contact_retries = 0

    def _clear_last_error(self) -> None:
        if self._logged_error is not None:
            log.info("panel answers", panel=self.store.name, version=self.store.version)
        self._logged_error = self.store.last_error = None

    async def _read_version(self) -> None:
        reachable: bool | None = False  # after a bug too
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
        if now < self._inventory_due:
            return
        self._inventory_due = now + self.intervals.discovery_seconds
        with CollectorStatus(self.store, INVENTORY).timed(self.clock):
            complete = await self.inventory.read()
        if not complete:
            self._inventory_due = now + self._back_off(None)
        self._first_pass.update_servers(self.inventory.missing.keys())

    def _reschedule(
        self, vm_id: int, *, failed: bool, retry_after_seconds: float = 0.0
    ) -> None:
        now = self.clock.monotonic()
        self.scheduler.reschedule(
            vm_id, now, failed=failed, retry_after_seconds=retry_after_seconds
        )
        self._first_pass.mark_tried(vm_id)

    def _contact_failed(self, error: ExporterError) -> None:
        """Plan the next contact after version or inventory could not be read."""
        if isinstance(error, NotSent):
            self._inventory_due = min(self._inventory_due, self.clock.monotonic())
            return  # the circuit breaker says when to try again
        closed = self.breaker.state() is BreakerState.CLOSED
        self.store.first_pass_ended |= not (closed and self._first_pass.has_inventory)
        self._try_elsewhere = not isinstance(error, _NO_ANSWER | Unauthorized)
        self._record_panel_error(error)
        self._contact_retry_at = self.clock.monotonic() + self._back_off(error)
        self._inventory_due = min(self._inventory_due, self._contact_retry_at)

    def _back_off(self, error: ExporterError | None) -> float:
        """Count a retry, and return how long to wait before it."""
        seconds = exponential_pause(_FIRST_RETRY_SECONDS, self._contact_retries)
        self._contact_retries += 1
        most = min(_MAX_RETRY_SECONDS, self.intervals.discovery_seconds)
        return min(max(seconds, retry_after(error)), most)

    def _record_panel_error(self, error: ExporterError) -> None:
        """Store the panel's error; log it when its type is a new one."""
        hint = ADDRESS_HINT if isinstance(error, NotFound | Undecodable) else ""
        last_error = LastError.of(error, self.clock.time(), hint)
        self.store.last_error = last_error.following(self.store.last_error)
        if type(error) is not self._logged_error:
            self._logged_error = type(error)
            log.error("panel lost", panel=self.store.name, **error.log_fields(hint))

    async def _run_job(self, job: PanelJob) -> None:
        with job.status.timed(self.clock):
            await job.run()
        job.record_success(self.clock.monotonic())

    def _job_failed(self, job: PanelJob, error: ExporterError) -> None:
        if isinstance(error, NotSent):
            job.put_back()
            return
        job.record_failure(self.clock.monotonic(), error)
        if isinstance(error, Unauthorized):
            self._credentials_refused(error)

    async def _read_server(self, vm_id: int) -> None:
        entry = self.store.servers.get(vm_id)
        with CollectorStatus(self.store, BACKUPS).timed(self.clock):
            backups = await self.api.backups(vm_id)
        if self.store.is_other_server(vm_id, entry):
            self.api.forget(vm_id)  # removed or replaced while it was being read
            self._reschedule(vm_id, failed=False)
            return
        if entry is not None and entry.failing:
            log.info("server read again", panel=self.store.name, vm_id=vm_id)
        time, monotonic = self.clock.time(), self.clock.monotonic()
        self.store.record_backups(vm_id, backups, time=time, monotonic=monotonic)
        try:
            await self.collectors.read_server(vm_id)
        except Unauthorized as error:
            self._credentials_refused(error)
        finally:
            self._reschedule(vm_id, failed=False)

    def _server_failed(self, vm_id: int, error: ExporterError) -> None:
        if isinstance(error, NotSent):
            self.scheduler.put_back(vm_id)
            return
        self._reschedule(vm_id, failed=True, retry_after_seconds=retry_after(error))
        self.collectors.expire_server(vm_id)
        if isinstance(error, Unauthorized):
            self._credentials_refused(error)
        if isinstance(error, NotFound):
            self.inventory.remove_if_missing(vm_id)
        entry = self.store.servers.get(vm_id)
        if entry is None:
            return
        hint = backups_hint(error)
        if not entry.failing and not isinstance(error, Unauthorized):
            where = {"panel": self.store.name, "vm_id": vm_id}
            log.warning("server not read", **where, **error.log_fields(hint))
        self.store.record_failure(vm_id, LastError.of(error, self.clock.time(), hint))

    def _credentials_refused(self, error: Unauthorized) -> None:
        self.store.reachable = False
        self._record_panel_error(error)

    def _contact_due(self) -> float:
        """Return when the panel is due: with its inventory, or after a silence."""
        last_answer_at = self.breaker.last_proven_at or self.clock.monotonic()
        silence_ends_at = last_answer_at + self.intervals.interval_seconds
        return max(self._contact_retry_at, min(self._inventory_due, silence_ends_at))

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
        if len(self._tasks) >= self.intervals.concurrency:
            return None
        due = self._next_due()
        return None if due is None else max(0.0, due - self.clock.monotonic())

    def _next_due(self) -> float | None:
        """Return when the next request is due; None: not before a task ends."""
        moments = [self.scheduler.next_due()]
        if self._may_run_jobs():
            moments.append(self.collectors.job_queue.next_due())
        if self._contact_task is None:
            moments.append(self._contact_due())
        return min((m for m in moments if m is not None), default=None)
