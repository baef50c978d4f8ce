"""Lists that belong to one server beside its backups, asked for in the same slot.

Nothing that goes wrong here touches the reading of the backups.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from .clock import Clock
from .errand import OFF_SECONDS, REFUSED, Condition
from .errors import NotAsked, PanelError, Unauthorized
from .store import PanelStore

_ENOUGH_REFUSED = 3
"""So many servers in a row without the list: the panel does not give it at all."""
_ENOUGH_FAILED = 3
"""So many failures in a row: it would only keep the backups waiting."""
_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 3600.0


@dataclass(slots=True, eq=False)
class Particular:
    """One such list; ``name`` is the field of Knowledge that it becomes."""

    name: str
    store: PanelStore
    clock: Clock
    condition: Condition
    ask: Callable[[int], Awaitable[tuple[Any, ...]]]
    wanted: bool = True
    """Whether it is asked for, and not known otherwise."""
    _begun_at: float = 0.0
    """When it was made or last began: whatever was known then was young."""
    _off_until: float = 0.0
    _read_at: dict[int, float] = field(default_factory=dict)
    _failing: set[int] = field(default_factory=set)
    _refused_until: dict[int, float] = field(default_factory=dict)
    _in_a_row: set[int] = field(default_factory=set)
    """The servers that were refused since the last that was not."""
    _alone: set[int] = field(default_factory=set)
    """Servers that failed while another did not: they tell nothing of all."""
    _failed_in_a_row: int = 0
    _pause_seconds: float = _FIRST_PAUSE_SECONDS
    """How long the next pause of all servers will be."""
    _given: bool = False
    """Whether any server ever had it: then the panel does give it."""

    def __post_init__(self) -> None:
        """Begin with what is known by now."""
        self._begun_at = self.clock.monotonic()

    async def read(self, vm_id: int) -> None:
        """Read the list of one server; raise Unauthorized and nothing else."""
        if not self.wanted:
            return
        off_until = max(self._off_until, self._refused_until.get(vm_id, 0.0))
        if self.clock.monotonic() < off_until:
            self.expire(vm_id)
            return
        try:
            values = await self.ask(vm_id)
        except (NotAsked, Unauthorized) as error:
            self.expire(vm_id)
            if isinstance(error, Unauthorized):
                raise
        except PanelError as error:
            self._failed(vm_id, error)
        else:
            self._worked(vm_id, values)

    def expire(self, vm_id: int) -> None:
        """Drop what is known of a server, if it is too old by now."""
        read_at = self._read_at.get(vm_id, self._begun_at)
        if self.clock.monotonic() - read_at > self.store.max_age_seconds:
            self.store.learn(vm_id, **{self.name: None})

    def want(self, *, wanted: bool) -> bool:
        """Ask for it from now on, or no longer; tell whether that begins."""
        begins = wanted and not self.wanted
        if begins:
            self.condition.begins()
            self._begun_at = self.clock.monotonic()
        elif self.wanted and not wanted:
            self.condition.ended()
            self._given = False
            self._end_pauses()
            for known in (
                self._failing,
                self._alone,
                self._in_a_row,
                self._refused_until,
            ):
                known.clear()
            self._read_at.clear()
        self.wanted = wanted
        return begins

    def leave(self, vm_id: int) -> None:
        """Forget a server."""
        self._read_at.pop(vm_id, None)
        self._failing.discard(vm_id)
        self._alone.discard(vm_id)
        self._in_a_row.discard(vm_id)
        self._refused_until.pop(vm_id, None)

    def _worked(self, vm_id: int, values: tuple[Any, ...]) -> None:
        self._end_pauses()
        self._in_a_row.clear()
        if not self._given:
            self._refused_until.clear()  # they may have been refused as all were
        self._given = True
        self._refused_until.pop(vm_id, None)
        self._failing.discard(vm_id)
        self._alone = set(self._failing)
        self._read_at[vm_id] = self.clock.monotonic()
        self.store.learn(vm_id, **{self.name: values})
        if not self._failing:
            self.condition.worked()

    def _failed(self, vm_id: int, error: PanelError) -> None:
        self._failing.add(vm_id)
        if isinstance(error, REFUSED):
            self._refused(vm_id)
        elif vm_id not in self._alone:
            self._pause()
        self.condition.failed(error, vm_id=vm_id)
        self.expire(vm_id)

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

    def _refused(self, vm_id: int) -> None:
        """Leave a server alone, or all: one may be refused, or just be destroyed."""
        until = self.clock.monotonic() + OFF_SECONDS
        self._refused_until[vm_id] = until
        self._in_a_row.add(vm_id)
        if not self._given and len(self._in_a_row) >= _ENOUGH_REFUSED:
            # After the pause all others come first, and find out for these too.
            later = until + self.store.interval_seconds
            self._refused_until = dict.fromkeys(self._in_a_row, later)
            self._failing.clear()
            self._in_a_row.clear()
            self._off_until = until
