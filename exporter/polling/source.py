"""A list of all servers' rows, or of each server's, whichever the panel gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic

from ..clock import Clock
from ..errors import PanelError
from ..onapp.paging import Listed, Value
from .jobs import OFF_SECONDS, REFUSED
from .per_server import Particular


@dataclass(slots=True, eq=False)
class Source(Generic[Value]):
    """A list that a panel gives for all servers at once, or else one by one."""

    everywhere: Callable[[], Awaitable[Listed[Value]]]
    one_by_one: Particular
    clock: Clock
    longest_age_seconds: float
    listed: Listed[Value] | None = None
    """What there is of all servers: the same object until it changes; None: unknown."""
    settled: bool = False
    """Whether that is the panel's word; until then what a reload left stays."""
    refused: bool = False
    """Whether the panel does not give the whole list: until it has given it."""
    recent: bool = True
    """Whether it was complete, or began, not too long ago."""
    _ids: frozenset[int] = frozenset()
    _read_at: float = field(init=False)
    _whole_at: float = field(init=False)
    """When it was last complete; at first, when it began."""
    _refused_until: float = 0.0

    def __post_init__(self) -> None:
        """Begin: what a reload left is young."""
        self._read_at = self._whole_at = self.clock.monotonic()

    @property
    def manner(self) -> tuple[bool, ...]:
        """Return on what it depends, beside the rows, what a server is told."""
        return self.settled, self.listed is not None, self.complete

    @property
    def values(self) -> tuple[Value, ...]:
        """Return what is listed: nothing, when that is not known."""
        return () if self.listed is None else self.listed.values

    @property
    def complete(self) -> bool:
        """Tell whether what is not listed does not exist."""
        return self.listed is None or self.listed.complete

    @property
    def in_use(self) -> bool:
        """Tell whether it tells the servers what is theirs."""
        return self.settled and not self.one_by_one.wanted

    async def read(self) -> None:
        """Read the list of the whole panel; refused, let each server be asked."""
        now = self.clock.monotonic()
        if now < self._refused_until:
            return
        try:
            listed = await self.everywhere()
        except REFUSED:
            self.listed, self.settled, self.refused = None, True, True
            self._refused_until = now + OFF_SECONDS
        except PanelError:
            self.expire()
            raise
        else:
            self._take_in(listed, now)
            listed.raise_if_cut_short()

    def expire(self) -> bool:
        """Drop what was read too long ago; tell whether there was any."""
        age = self.clock.monotonic() - self._read_at
        known = self.listed is not None or not self.settled
        if not known or age <= self.longest_age_seconds:
            return False
        self.listed, self.settled = None, True
        return True

    def lacked(self, known: tuple[Value, ...] | None) -> tuple[Value, ...]:
        """Return what was known, and may only be missing in the list."""
        if self.listed is None or self.complete or not self.recent:
            return ()
        return tuple(
            value
            for value in known or ()
            if value.id not in self._ids and self.listed.may_lack(value.id)
        )

    def _take_in(self, listed: Listed[Value], now: float) -> None:
        self._read_at, self.settled = now, True
        if listed != self.listed:
            self.listed, self._ids = listed, listed.ids()
        self.refused = self.refused and listed.cut_short
        if self.complete:
            self._whole_at = now
        self.recent = now - self._whole_at <= self.longest_age_seconds
