"""Lists of one server besides its backups, read in the same slot as these.

A failure here does not fail the read of the backups. A server whose list failed is
asked again after half an interval, doubled each time. After three failures without a
success between them all servers pause for a minute, doubled each time; then a single
one is asked. A refused server pauses for an hour; three in a row, while none has ever
succeeded, pause all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..clock import Clock
from ..errors import REFUSED, NotSent, PanelError, Unauthorized
from ..model.entities import SCHEDULES
from ..model.store import PanelStore, ServerEntry
from ..onapp.backoff import exponential_pause
from ..onapp.paging import Listed
from .jobs import DISABLED_SECONDS, CollectorStatus

_REFUSALS_BEFORE_PAUSE = 3
"""So many servers in a row were refused: the panel refuses the list to all."""
_FAILURES_BEFORE_PAUSE = 3
"""So many failures in a row: more would only delay the backups."""
_FIRST_PAUSE_SECONDS = 60.0
_MAX_PAUSE_SECONDS = 3600.0


@dataclass(slots=True, eq=False)
class _ServerProgress:
    """State of one server's list."""

    read_at: float
    complete_at: float
    """When the list was last complete."""
    failures: int = 0
    """In a row."""
    paused_until: float = 0.0
    refused: bool = False


@dataclass(slots=True, eq=False)
class PerServerCollector:
    """Reads one list of each server; ``name`` is its field of ServerState."""

    name: str
    store: PanelStore
    clock: Clock
    status: CollectorStatus
    fetch: Callable[[int], Awaitable[Listed[Any]]]
    enabled: bool = True
    """Whether the list is requested; otherwise a panel-wide list has it."""
    _started_at: float = 0.0
    """When it was created or enabled: what was known then counts as just read."""
    _all_paused_until: float = 0.0
    _progress_of: dict[int, _ServerProgress] = field(default_factory=dict)
    _failing_servers: set[int] = field(default_factory=set)
    _refused_in_row: set[int] = field(default_factory=set)
    """Servers that were refused since the last success."""
    _failing_alone: set[int] = field(default_factory=set)
    """Servers that failed while another succeeded: they do not pause all."""
    _failures_in_row: int = 0
    _next_pause_seconds: float = _FIRST_PAUSE_SECONDS
    """Length of the next pause of all servers."""
    _probing: bool = False
    """Whether a single server is asked, after a pause."""
    _ever_succeeded: bool = False
    """Whether it was read of any server: then the panel does not refuse it to all."""

    def __post_init__(self) -> None:
        """Start now: what the store holds counts as just read."""
        self._started_at = self.clock.monotonic()

    async def read(self, vm_id: int) -> None:
        """Read the list of one server; raises no error but Unauthorized."""
        if not self.enabled:
            return
        if self._is_paused(vm_id):
            self.expire(vm_id)
            return
        is_probe = self._failures_in_row >= _FAILURES_BEFORE_PAUSE
        self._probing |= is_probe
        try:
            await self._fetch_and_record(vm_id)
        finally:
            self._probing &= not is_probe

    def expire(self, vm_id: int) -> None:
        """Drop the list of a server if it is too old."""
        entry = self.store.servers.get(vm_id)
        if entry and not self.store.is_fresh(entry, self.clock.monotonic()):
            # Without its backups the list is not read: an old failure says nothing.
            self._failing_servers.discard(vm_id)
        if not self._is_fresh(self._progress(vm_id).read_at):
            self.store.update(vm_id, self.name, None)

    def set_enabled(self, *, enabled: bool) -> bool:
        """Start or stop requesting the list; return whether that changed."""
        changed = enabled != self.enabled
        self.enabled = enabled
        if changed and enabled:
            self.status.mark_unread()
            self._started_at = self.clock.monotonic()
        elif changed:
            self.status.clear()
            self._ever_succeeded = False
            self._end_pause()
            for servers in (
                self._failing_servers,
                self._failing_alone,
                self._refused_in_row,
            ):
                servers.clear()
            self._progress_of.clear()
        return changed

    def remove(self, vm_id: int) -> None:
        """Drop the state of a server that is gone."""
        self._progress_of.pop(vm_id, None)
        for servers in (
            self._failing_servers,
            self._failing_alone,
            self._refused_in_row,
        ):
            servers.discard(vm_id)

    async def _fetch_and_record(self, vm_id: int) -> None:
        before = self.store.servers.get(vm_id)
        try:
            with self.status.timed(self.clock):
                listed = await self.fetch(vm_id)
        except NotSent:
            self.expire(vm_id)
        except Unauthorized:
            self.expire(vm_id)
            raise
        except PanelError as error:
            if self._is_still_needed(vm_id, before):
                self._record_failure(vm_id, error)
        else:
            if self._is_still_needed(vm_id, before):
                self._record_success(vm_id, listed)

    def _is_still_needed(self, vm_id: int, before: ServerEntry | None) -> bool:
        """Return whether an answer is of use: this may have changed meanwhile."""
        return self.enabled and not self.store.is_other_server(vm_id, before)

    def _is_paused(self, vm_id: int) -> bool:
        """Return whether a server is not to be asked now."""
        until = max(self._all_paused_until, self._progress(vm_id).paused_until)
        return self._probing or self.clock.monotonic() < until

    def _progress(self, vm_id: int) -> _ServerProgress:
        known = self._progress_of.get(vm_id)
        return known or _ServerProgress(self._started_at, self._started_at)

    def _is_fresh(self, moment: float) -> bool:
        return self.clock.monotonic() - moment <= self.store.max_age_seconds

    def _record_success(self, vm_id: int, listed: Listed[Any]) -> None:
        self._end_pause()
        self._refused_in_row.clear()
        if not self._ever_succeeded:
            for other in self._progress_of.values():
                if other.refused:  # perhaps because the panel refused all
                    other.paused_until = 0.0
        self._ever_succeeded = True
        self._failing_servers.discard(vm_id)
        self._failing_alone = set(self._failing_servers)
        now = self.clock.monotonic()
        complete_at = now if listed.complete else self._progress(vm_id).complete_at
        self._progress_of[vm_id] = _ServerProgress(now, complete_at)
        rows = listed.values
        if not listed.complete and self._is_fresh(complete_at):
            rows += self._retained_rows(vm_id, listed)
        self._update(vm_id, rows, partial=not listed.complete)
        try:
            listed.raise_if_truncated()
        except PanelError as error:
            self._failing_servers.add(vm_id)
            self.status.record_failure(error, vm_id=vm_id)
        if not self._failing_servers:
            self.status.record_success()

    def _update(self, vm_id: int, rows: tuple[Any, ...], *, partial: bool) -> None:
        if self.name != SCHEDULES:
            self.store.update(vm_id, self.name, rows, partial=partial)
            return
        time = self.clock.time()
        self.store.record_schedules(vm_id, rows, time, partial=partial, own_list=True)

    def _retained_rows(self, vm_id: int, listed: Listed[Any]) -> tuple[Any, ...]:
        """Return the known rows that may only be missing from an incomplete list."""
        ids = listed.ids()
        entry = self.store.servers.get(vm_id)
        return tuple(
            row
            for row in (entry and getattr(entry.state, self.name)) or ()
            if row.id not in ids and listed.may_omit(row.id)
        )

    def _record_failure(self, vm_id: int, error: PanelError) -> None:
        self._failing_servers.add(vm_id)
        progress = self._progress_of.setdefault(vm_id, self._progress(vm_id))
        progress.refused = isinstance(error, REFUSED)
        if progress.refused:
            self._record_refusal(vm_id, progress)
        else:
            self._pause_server(progress)
            if vm_id not in self._failing_alone:
                self._pause_all()
        self.status.record_failure(error, vm_id=vm_id)
        self.expire(vm_id)

    def _pause_server(self, progress: _ServerProgress) -> None:
        """Pause one server: half an interval, to use its next slot; then doubled."""
        first = self.store.interval_seconds / 2
        seconds = exponential_pause(first, progress.failures, _MAX_PAUSE_SECONDS)
        progress.failures += 1
        progress.paused_until = self.clock.monotonic() + seconds

    def _pause_all(self) -> None:
        """Pause all servers after several failures in a row, longer each time."""
        now = self.clock.monotonic()
        self._failures_in_row += 1
        # Requests that were in flight when a pause began do not extend it.
        if (
            now < self._all_paused_until
            or self._failures_in_row < _FAILURES_BEFORE_PAUSE
        ):
            return
        self._all_paused_until = now + self._next_pause_seconds
        self._next_pause_seconds = min(2 * self._next_pause_seconds, _MAX_PAUSE_SECONDS)

    def _end_pause(self) -> None:
        self._all_paused_until, self._failures_in_row = 0.0, 0
        self._next_pause_seconds = _FIRST_PAUSE_SECONDS

    def _record_refusal(self, vm_id: int, progress: _ServerProgress) -> None:
        """Pause the server for an hour; after several, all: one may just be deleted."""
        until = self.clock.monotonic() + DISABLED_SECONDS
        progress.paused_until = until
        self._refused_in_row.add(vm_id)
        if self.name == SCHEDULES:
            self.store.set_schedules_refused(vm_id)
        if (
            not self._ever_succeeded
            and len(self._refused_in_row) >= _REFUSALS_BEFORE_PAUSE
        ):
            # After the pause the others come first: their success ends it for these.
            for other in self._refused_in_row:
                later = until + self.store.interval_seconds
                self._progress_of[other].paused_until = later
            self._failing_servers.clear()
            self._refused_in_row.clear()
            self._all_paused_until = until
            if self.name == SCHEDULES:
                self.store.set_schedules_refused()
