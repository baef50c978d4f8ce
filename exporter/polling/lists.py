"""All lists except backups: panel-wide ones, and those of single servers.

A failed list of a server does not fail the read of its backups. It is requested again
after half an interval, doubled with each failure. After three consecutive failures the
list is paused for all servers for a minute, doubled each time; then a single server is
tried. A server whose list is refused pauses for an hour. If three servers in a row are
refused and none has ever succeeded, all servers pause.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Generic

import structlog

from ..clock import Clock
from ..errors import REFUSED, ExporterError, NotSent, PanelError, Unauthorized
from ..model.entities import SCHEDULES
from ..model.store import LastError, PanelStore, ServerEntry, ServerState
from ..onapp.backoff import Backoff
from ..onapp.paging import Listed, Value
from .jobs import REFUSED_SECONDS, Recurrence

log = structlog.get_logger()

_REFUSALS_BEFORE_PAUSE = 3
"""After this many refused servers in a row, the panel refuses the list to all."""
_FAILURES_BEFORE_PAUSE = 3
"""Consecutive failures before the pause: more would only delay the backups."""
_FIRST_PAUSE_SECONDS = 60.0
_MAX_PAUSE_SECONDS = 3600.0


@dataclass(slots=True, eq=False)
class CollectorStatus:
    """Outcome of a collector, or of a part of it, in the store and in the log."""

    store: PanelStore
    clock: Clock
    collector: str
    part: str = ""
    _logged_errors: set[type[ExporterError]] = field(default_factory=set)
    """Error types logged since the last success."""

    @property
    def key(self) -> tuple[str, str]:
        """Key of the outcome in the store."""
        return self.collector, self.part

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Store the duration and the end of a run."""
        started_at = self.clock.monotonic()
        try:
            yield
        finally:
            seconds = self.clock.monotonic() - started_at
            self.store.durations[self.collector] = seconds
            self.store.runs_ended_at[self.collector] = self.clock.time()

    def record_success(self) -> None:
        """Store that the last run succeeded."""
        self.store.outcomes[self.key] = True
        self.store.collector_errors.pop(self.key, None)
        self._log_recovery()

    def mark_unread(self) -> None:
        """Store a failure without an error, until the first run succeeds."""
        self.store.outcomes[self.key] = False

    def clear(self) -> None:
        """Remove the outcome of a collector that is no longer used."""
        self.store.outcomes.pop(self.key, None)
        self.store.collector_errors.pop(self.key, None)
        self._log_recovery()

    def _log_recovery(self) -> None:
        if self._logged_errors:
            log.info(
                "collector works again",
                panel=self.store.name,
                collector=self.collector,
            )
        self._logged_errors.clear()

    def record_failure(self, error: ExporterError, **context: int) -> None:
        """Store that the last run failed; log the first error of each type."""
        self.store.outcomes[self.key] = False
        errors = self.store.collector_errors
        previous = errors.get(self.key)
        errors[self.key] = LastError.of(error, self.clock.time(), previous)
        if type(error) in self._logged_errors:
            return
        self._logged_errors.add(type(error))
        log.warning(
            "collector disabled for an hour: the panel refuses it"
            if isinstance(error, REFUSED)
            else "collector failed, retrying",
            panel=self.store.name,
            collector=self.collector,
            **context,
            **error.log_fields(),
        )


@dataclass(slots=True, eq=False, kw_only=True)
class ListState(Recurrence):
    """Age and completeness of a list, and when it may be requested again."""

    refusable: bool = True
    refused: bool = False
    max_age_seconds: float
    read_at: float
    complete: bool = True
    """Whether the last list was complete: a row that it lacks does not exist."""
    complete_at: float
    """When the list was last complete; initially, when it was first needed."""

    def record_rows(self, listed: Listed[Any], now: float) -> None:
        """Record a successful read."""
        self.record_success(now)
        self.read_at, self.complete = now, listed.complete
        if listed.complete:
            self.complete_at = now

    @property
    def _retains_rows(self) -> bool:
        """Whether missing rows are kept: the list is incomplete, but not for long."""
        incomplete_seconds = self.read_at - self.complete_at
        return not self.complete and incomplete_seconds <= self.max_age_seconds

    def is_partial(self, state: ServerState, name: str) -> bool:
        """Return whether a server may have unknown rows.

        A list that was known in full stays complete while missing rows are retained.
        """
        was_complete = getattr(state, name) is not None and name not in state.partial
        return not (self.complete or (was_complete and self._retains_rows))

    def retained(
        self,
        previous: tuple[Value, ...] | None,
        listed: Listed[Value],
        listed_ids: frozenset[int],
    ) -> tuple[Value, ...]:
        """Return the previous rows that an incomplete list may have omitted."""
        if not self._retains_rows:
            return ()
        return tuple(
            row
            for row in previous or ()
            if row.id not in listed_ids and listed.may_omit(row.id)
        )


@dataclass(slots=True, eq=False)
class ServerListCollector:
    """Reader of one list of each server; ``name`` is its field of ServerState."""

    name: str
    store: PanelStore
    clock: Clock
    status: CollectorStatus
    fetch: Callable[[int], Awaitable[Listed[Any]]]
    enabled: bool = True
    """Whether the list is requested; otherwise a panel-wide list supplies it."""
    _started_at: float = 0.0
    """When the collector was created or enabled; older data count as read then."""
    _states: dict[int, ListState] = field(default_factory=dict)
    _failing: set[int] = field(default_factory=set)
    """Servers whose last read failed."""
    _failing_alone: set[int] = field(default_factory=set)
    """Servers that failed while another succeeded; their failures do not pause all."""
    _refused_in_row: set[int] = field(default_factory=set)
    """Servers that were refused since the last success."""
    _pause: Recurrence = field(init=False)
    """Pause of all servers."""
    _backoff: Backoff = field(init=False)
    """Backoff of one server: half an interval, so its next slot includes the list."""
    _failures_in_row: int = 0
    _probing: bool = False
    """Whether a single server is being tried after a pause."""
    _ever_succeeded: bool = False
    """Whether any server's list was read: the panel does not refuse it to all."""

    def __post_init__(self) -> None:
        """Initialize the state; data in the store count as just read."""
        self._backoff = Backoff(self.store.interval_seconds / 2, _MAX_PAUSE_SECONDS)
        self._start_again()

    def _start_again(self) -> None:
        self._started_at = self.clock.monotonic()
        self._pause = Recurrence(0.0, Backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS))
        self._failures_in_row, self._ever_succeeded = 0, False
        self._states = {}
        self._failing, self._failing_alone, self._refused_in_row = set(), set(), set()

    def set_enabled(self, *, enabled: bool) -> bool:
        """Enable or disable requests for the list; return whether that changed."""
        if enabled == self.enabled:
            return False
        self.enabled = enabled
        self._start_again()
        if enabled:
            self.status.mark_unread()
        else:
            self.status.clear()
        return True

    def remove(self, vm_id: int) -> None:
        """Drop the state of a server that is gone."""
        self._states.pop(vm_id, None)
        for servers in (self._failing, self._failing_alone, self._refused_in_row):
            servers.discard(vm_id)

    async def read(self, vm_id: int) -> None:
        """Read the list of one server if it is due; raises no error of the panel."""
        if not self.enabled:
            return
        due = max(self._pause.due, self._state(vm_id).due)
        if self._probing or self.clock.monotonic() < due:
            self.expire(vm_id)
            return
        is_probe = self._failures_in_row >= _FAILURES_BEFORE_PAUSE
        self._probing |= is_probe
        before = self.store.servers.get(vm_id)
        try:
            with self.status.timed():
                listed = await self.fetch(vm_id)
        except (NotSent, Unauthorized):
            self.expire(vm_id)  # the circuit breaker has recorded the cause
        except PanelError as error:
            if self._is_still_needed(vm_id, before):
                self._record_failure(vm_id, error)
        else:
            if self._is_still_needed(vm_id, before):
                self._record_success(vm_id, listed)
        finally:
            self._probing &= not is_probe

    def expire(self, vm_id: int) -> None:
        """Drop the list of a server if it is too old."""
        if not self.enabled:
            return
        now, entry = self.clock.monotonic(), self.store.servers.get(vm_id)
        if entry and not self.store.is_fresh(entry, now):
            # Without backups the list is not read, so an old failure is meaningless.
            self._failing.discard(vm_id)
        if now - self._state(vm_id).read_at > self.store.max_age_seconds:
            self.store.update(vm_id, self.name, None)

    def _is_still_needed(self, vm_id: int, before: ServerEntry | None) -> bool:
        """Return whether an answer is still needed; this can change during requests."""
        return self.enabled and not self.store.is_other_server(vm_id, before)

    def _state(self, vm_id: int) -> ListState:
        return self._states.get(vm_id) or ListState(
            *(0.0, self._backoff),
            max_age_seconds=self.store.max_age_seconds,
            read_at=self._started_at,
            complete_at=self._started_at,
        )

    def _record_success(self, vm_id: int, listed: Listed[Any]) -> None:
        now = self.clock.monotonic()
        self._pause.record_success(now)
        self._failures_in_row = 0
        self._refused_in_row.clear()
        if not self._ever_succeeded:
            for other in self._states.values():
                if other.refused:  # perhaps the panel had refused all servers
                    other.due = now
        self._ever_succeeded = True
        self._failing.discard(vm_id)
        self._failing_alone = set(self._failing)
        state = self._states.setdefault(vm_id, self._state(vm_id))
        state.record_rows(listed, now)
        state.refused = False
        server = self.store.servers[vm_id].state
        partial = state.is_partial(server, self.name)
        known = getattr(server, self.name)
        rows = listed.values + state.retained(known, listed, listed.ids())
        if self.name == SCHEDULES:
            time = self.clock.time()
            self.store.record_schedules(
                vm_id, rows, time, partial=partial, own_list=True
            )
        else:
            self.store.update(vm_id, self.name, rows, partial=partial)
        try:
            listed.raise_if_truncated()
        except PanelError as error:
            self._failing.add(vm_id)
            self.status.record_failure(error, vm_id=vm_id)
        if not self._failing:
            self.status.record_success()

    def _record_failure(self, vm_id: int, error: PanelError) -> None:
        now = self.clock.monotonic()
        self._failing.add(vm_id)
        state = self._states.setdefault(vm_id, self._state(vm_id))
        state.record_failure(now, error)
        state.refused = isinstance(error, REFUSED)
        if state.refused:
            self._record_refusal(vm_id, now)
        elif vm_id not in self._failing_alone:
            self._failures_in_row += 1
            # Requests that were in flight when the pause started do not extend it.
            if now >= self._pause.due and (
                self._failures_in_row >= _FAILURES_BEFORE_PAUSE
            ):
                self._pause.record_failure(now)
        self.status.record_failure(error, vm_id=vm_id)
        self.expire(vm_id)

    def _record_refusal(self, vm_id: int, now: float) -> None:
        """Pause all servers after several refusals; one server may just be deleted."""
        self._refused_in_row.add(vm_id)
        if self.name == SCHEDULES:
            self.store.set_schedules_refused(vm_id)
        refusals = len(self._refused_in_row)
        if self._ever_succeeded or refusals < _REFUSALS_BEFORE_PAUSE:
            return
        self._pause.due = now + REFUSED_SECONDS
        # After the pause other servers come first; a success ends it for these.
        for other in self._refused_in_row:
            self._states[other].due = self._pause.due + self.store.interval_seconds
        self._failing.clear()
        self._refused_in_row.clear()
        if self.name == SCHEDULES:
            self.store.set_schedules_refused()


@dataclass(slots=True, eq=False, kw_only=True)
class PanelListCollector(ListState, Generic[Value]):
    """A list of the whole panel; if refused, it is read per server."""

    fetch_all: Callable[[], Awaitable[Listed[Value]]]
    per_server: ServerListCollector
    clock: Clock
    listed: Listed[Value] | None = None
    """The last list, the same object until it changes; None: unknown."""
    last_read_at: float | None = None
    """Unix time of the last read."""
    settled: bool = False
    """Whether ``listed`` is valid; until then the store keeps the data from before a
    reload.

    ``refused`` stays set until the list is read in full.
    """
    _listed_ids: frozenset[int] = frozenset()

    @property
    def values(self) -> tuple[Value, ...]:
        """The rows of the list; empty if unknown."""
        return () if self.listed is None else self.listed.values

    @property
    def in_use(self) -> bool:
        """Whether servers get their rows from this list."""
        return self.settled and not self.per_server.enabled

    async def read(self) -> None:
        """Read the panel-wide list; raises PanelError unless it is refused."""
        now = self.clock.monotonic()
        if now < self.due:
            return
        try:
            listed = await self.fetch_all()
        except REFUSED as error:
            self.refused = True
            self._drop_list()
            self.record_failure(now, error)
        except PanelError:
            self.expire()
            raise
        else:
            self.record_rows(listed, now)
            self.last_read_at, self.settled = self.clock.time(), True
            if listed != self.listed:
                self.listed, self._listed_ids = listed, listed.ids()
            self.refused = self.refused and listed.truncated
            listed.raise_if_truncated()

    def expire(self) -> bool:
        """Drop a list that is too old; return whether there was one."""
        known = self.listed is not None or not self.settled
        age = self.clock.monotonic() - self.read_at
        if not known or age <= self.max_age_seconds:
            return False
        self._drop_list()
        return True

    def _drop_list(self) -> None:
        # An unknown list is not incomplete.
        self.listed, self.settled, self.complete = None, True, True

    def drop(self, is_dropped: Callable[[Value], bool]) -> None:
        """Drop rows of the list until it is read again."""
        if self.listed is not None:
            kept = tuple(value for value in self.values if not is_dropped(value))
            self.listed = replace(self.listed, values=kept)

    def lists(self, row: Value) -> bool:
        """Return whether a row is in the list."""
        return row.id in self._listed_ids

    def retained_rows(self, previous: tuple[Value, ...] | None) -> tuple[Value, ...]:
        """Return the previous rows that an incomplete list may have omitted."""
        if self.listed is None:
            return ()
        return self.retained(previous, self.listed, self._listed_ids)
