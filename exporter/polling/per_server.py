"""Lists that belong to one server beside its backups, asked for in the same slot.

What goes wrong here touches the reading of the backups by the time that it takes only:
a server whose list failed is asked for it again later each time, and all are left alone
while it fails everywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..clock import Clock
from ..errors import NotAsked, PanelError, Unauthorized
from ..model.store import PanelStore
from ..onapp.backoff import exponential_pause
from ..onapp.paging import Listed
from .jobs import OFF_SECONDS, REFUSED, CollectorStatus

_ENOUGH_REFUSED = 3
"""So many servers in a row without the list: the panel does not give it at all."""
_ENOUGH_FAILED = 3
"""So many failures in a row: it would only keep the backups waiting."""
_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 3600.0


@dataclass(slots=True, eq=False)
class _Progress:
    """How the reading of one server's list goes."""

    read_at: float
    whole_at: float
    """When the list last came without a gap."""
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    refused: bool = False


@dataclass(slots=True, eq=False)
class PerServerCollector:
    """One such list; ``name`` is the field of ServerState that it becomes."""

    name: str
    store: PanelStore
    clock: Clock
    condition: CollectorStatus
    ask: Callable[[int], Awaitable[Listed[Any]]]
    wanted: bool = True
    """Whether it is asked for, and not known otherwise."""
    exclusive: bool = True
    """Whether a row is one server's alone: one in two lists has moved."""
    _begun_at: float = 0.0
    """When it was made or last began: whatever was known then was young."""
    _off_until: float = 0.0
    _servers: dict[int, _Progress] = field(default_factory=dict)
    _failing: set[int] = field(default_factory=set)
    _in_a_row: set[int] = field(default_factory=set)
    """The servers that were refused since the last that was not."""
    _alone: set[int] = field(default_factory=set)
    """Servers that failed while another did not: they tell nothing of all."""
    _failed_in_a_row: int = 0
    _pause_seconds: float = _FIRST_PAUSE_SECONDS
    """How long the next pause of all servers will be."""
    _probing: bool = False
    """Whether one server is asked alone, after a pause."""
    _given: bool = False
    """Whether any server ever had it: then the panel does give it."""
    _holders: dict[int, int] | None = None
    """Which server has each row; None: as the store tells."""

    def __post_init__(self) -> None:
        """Begin with what is known by now."""
        self._begun_at = self.clock.monotonic()

    async def read(self, vm_id: int) -> None:
        """Read the list of one server; raise Unauthorized and nothing else."""
        if not self.wanted:
            return
        if self._rests(vm_id):
            self.expire(vm_id)
            return
        probes = self._failed_in_a_row >= _ENOUGH_FAILED
        self._probing |= probes
        try:
            await self._ask(vm_id)
        finally:
            self._probing &= not probes

    def expire(self, vm_id: int) -> None:
        """Drop what is known of a server, if it is too old by now."""
        watch = self.store.servers.get(vm_id)
        if watch and not self.store.is_fresh(watch, self.clock.monotonic()):
            # It is not asked for without its backups: how it failed is long ago.
            self._failing.discard(vm_id)
        if not self._is_young(self._progress(vm_id).read_at):
            if self._known(vm_id):
                self._holders = None
            self.store.update(vm_id, self.name, None)

    def want(self, *, wanted: bool) -> bool:
        """Ask for it from now on, or no longer; tell whether that changed."""
        changed = wanted != self.wanted
        self.wanted = wanted
        if changed and wanted:
            self.condition.begins()
            self._begun_at = self.clock.monotonic()
            self._holders = None
        elif changed:
            self.condition.ended()
            self._given = False
            self._end_pauses()
            for known in (self._failing, self._alone, self._in_a_row):
                known.clear()
            self._servers.clear()
        return changed

    def leave(self, vm_id: int) -> None:
        """Forget a server."""
        self._holders = None
        self._servers.pop(vm_id, None)
        for known in (self._failing, self._alone, self._in_a_row):
            known.discard(vm_id)

    async def _ask(self, vm_id: int) -> None:
        try:
            listed = await self.ask(vm_id)
        except NotAsked:
            self.expire(vm_id)
        except Unauthorized:
            self.expire(vm_id)
            raise
        except PanelError as error:
            if self._still_wanted(vm_id):
                self._failed(vm_id, error)
        else:
            if self._still_wanted(vm_id):
                self._worked(vm_id, listed)

    def _still_wanted(self, vm_id: int) -> bool:
        """Tell whether an answer is of use: much can end while it is awaited."""
        return self.wanted and vm_id in self.store.servers

    def _rests(self, vm_id: int) -> bool:
        """Tell whether a server is not to be asked now."""
        until = max(self._off_until, self._progress(vm_id).rests_until)
        return self._probing or self.clock.monotonic() < until

    def _progress(self, vm_id: int) -> _Progress:
        known = self._servers.get(vm_id)
        return known or _Progress(self._begun_at, self._begun_at)

    def _is_young(self, moment: float) -> bool:
        return self.clock.monotonic() - moment <= self.store.max_age_seconds

    def _worked(self, vm_id: int, listed: Listed[Any]) -> None:
        self._end_pauses()
        self._in_a_row.clear()
        if not self._given:
            for other in self._servers.values():
                if other.refused:  # perhaps only as all were
                    other.rests_until = 0.0
        self._given = True
        self._failing.discard(vm_id)
        self._alone = set(self._failing)
        now = self.clock.monotonic()
        whole_at = now if listed.complete else self._progress(vm_id).whole_at
        self._servers[vm_id] = _Progress(now, whole_at)
        values = listed.values
        if not listed.complete and self._is_young(whole_at):
            values += self._missing(vm_id, listed)
        self._tell(vm_id, values, partial=not listed.complete)
        try:
            listed.raise_if_truncated()
        except PanelError as error:
            self._failing.add(vm_id)
            self.condition.failed(error, vm_id=vm_id)
        if not self._failing:
            self.condition.worked()

    def _tell(self, vm_id: int, values: tuple[Any, ...], *, partial: bool) -> None:
        """Let a server have these rows, and no other: one may have moved."""
        if not self.exclusive:
            self.store.update(vm_id, self.name, values, partial=partial)
            return
        if self._holders is None:
            self._holders = {
                row.id: number
                for number in self.store.servers
                for row in self._known(number)
            }
        for row in self._known(vm_id):
            self._holders.pop(row.id, None)
        for row in values:
            before = self._holders.pop(row.id, vm_id)
            if before != vm_id:
                self._take_away(before, row.id)
            self._holders[row.id] = vm_id
        self.store.update(vm_id, self.name, values, partial=partial)

    def _take_away(self, vm_id: int, row_id: int) -> None:
        watch = self.store.servers.get(vm_id)
        if watch is not None:
            rest = tuple(row for row in self._known(vm_id) if row.id != row_id)
            partial = self.name in watch.state.partial
            self.store.update(vm_id, self.name, rest, partial=partial)

    def _known(self, vm_id: int) -> tuple[Any, ...]:
        watch = self.store.servers.get(vm_id)
        return (watch and getattr(watch.state, self.name)) or ()

    def _missing(self, vm_id: int, listed: Listed[Any]) -> tuple[Any, ...]:
        """Return rows that were known, and may only be missing in the list."""
        ids = listed.ids()
        return tuple(
            value
            for value in self._known(vm_id)
            if value.id not in ids and listed.may_omit(value.id)
        )

    def _failed(self, vm_id: int, error: PanelError) -> None:
        self._failing.add(vm_id)
        progress = self._servers.setdefault(vm_id, self._progress(vm_id))
        progress.refused = isinstance(error, REFUSED)
        if progress.refused:
            self._refused(vm_id, progress)
        else:
            self._rest(progress)
            if vm_id not in self._alone:
                self._pause()
        self.condition.failed(error, vm_id=vm_id)
        self.expire(vm_id)

    def _rest(self, progress: _Progress) -> None:
        """Leave a server alone: first until its next turn, then for longer."""
        first = self.store.interval_seconds / 2
        seconds = exponential_pause(first, progress.failures, _LONGEST_PAUSE_SECONDS)
        progress.failures += 1
        progress.rests_until = self.clock.monotonic() + seconds

    def _pause(self) -> None:
        """Leave all alone after several failures, each time for longer."""
        now = self.clock.monotonic()
        self._failed_in_a_row += 1
        # Those that were under way when a pause began do not make it longer.
        if now < self._off_until or self._failed_in_a_row < _ENOUGH_FAILED:
            return
        self._off_until = now + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _end_pauses(self) -> None:
        self._off_until, self._failed_in_a_row = 0.0, 0
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def _refused(self, vm_id: int, progress: _Progress) -> None:
        """Leave a server alone, or all: one may be refused, or just be destroyed."""
        until = self.clock.monotonic() + OFF_SECONDS
        progress.rests_until = until
        self._in_a_row.add(vm_id)
        if not self._given and len(self._in_a_row) >= _ENOUGH_REFUSED:
            # After the pause all others come first, and find out for these too.
            for number in self._in_a_row:
                later = until + self.store.interval_seconds
                self._servers[number].rests_until = later
            self._failing.clear()
            self._in_a_row.clear()
            self._off_until = until
