"""The last good reading of each server, and how fresh it is.

What is known of a server is one frozen value, replaced whole: no scrape sees half of
it. ``monotonic`` moments decide on freshness, Unix moments are shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from .model import Backup, Server
from .selection import Expectation

INVENTORY = "inventory"
BACKUPS = "backups"


class Knowledge(msgspec.Struct, frozen=True):
    """What is known of one server; the same object as long as nothing changes."""

    panel: str
    vm_id: int
    expectation: Expectation
    server: Server | None = None
    """None: the inventory does not tell (no permission, or not read yet)."""
    backups: tuple[Backup, ...] | None = None
    """None: never read."""


class Watch(msgspec.Struct, frozen=True):
    """A server's knowledge, and how the reading of its backups goes."""

    knowledge: Knowledge
    failing: bool | None = None
    """Whether the last read failed; None: not tried yet."""
    read_at: float | None = None
    """Unix time of the last read that succeeded."""
    read_at_monotonic: float | None = None


@dataclass(slots=True, eq=False)
class PanelStore:
    """What is known of one panel; written by its poller only."""

    name: str
    url: str
    interval_seconds: float
    max_age_seconds: float
    longest_silence_seconds: float
    """Without an authenticated answer for so long, the panel is down."""
    watches: dict[int, Watch] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    """Configured identifiers that no server is known for."""
    version: str | None = None
    answering: bool | None = None
    """Whether the panel answered when last asked for itself; None: no contact yet."""
    heard_at_monotonic: float | None = None
    """When the panel last answered somebody whom it knows."""
    skew_seconds: float | None = None
    servers_listed: int | None = None
    """How many servers the whole inventory holds, after include and exclude."""
    inventory_answered: bool | None = None
    """Whether the last read of the inventory brought any of it."""
    inventory_succeeded: bool | None = None
    """Whether it brought all of it."""
    inventory_read_at: float | None = None
    overdue_since_monotonic: float | None = None
    first_pass_ended: bool = False

    def up(self, monotonic: float) -> bool | None:
        """Tell whether the panel answers; None before the first contact."""
        if not self.answering:
            return self.answering
        if self.inventory_answered is False:
            return False
        silence = monotonic - (self.heard_at_monotonic or monotonic)
        return silence <= self.longest_silence_seconds

    def fresh(self, watch: Watch, monotonic: float) -> bool:
        """Tell whether a server's backups may still be shown."""
        read_at = watch.read_at_monotonic
        return read_at is not None and monotonic - read_at <= self.max_age_seconds

    def backups_succeeded(self) -> bool | None:
        """Tell whether every server's last read succeeded; None before the first."""
        outcomes = {watch.failing for watch in self.watches.values()} - {None}
        if self.unresolved or True in outcomes:
            return False
        return True if outcomes else None

    def watch(
        self, vm_id: int, server: Server | None, expectation: Expectation
    ) -> None:
        """Begin to watch a server, or take in what the inventory now says of it."""
        watch = self.watches.get(vm_id)
        if watch is None:
            known = Knowledge(self.name, vm_id, expectation, server)
            self.watches[vm_id] = Watch(known)
            return
        known = watch.knowledge
        if (known.server, known.expectation) != (server, expectation):
            known = Knowledge(self.name, vm_id, expectation, server, known.backups)
            self.watches[vm_id] = msgspec.structs.replace(watch, knowledge=known)

    def succeeded(
        self, vm_id: int, backups: tuple[Backup, ...], *, time: float, monotonic: float
    ) -> None:
        """Take in a server's backups."""
        watch = self.watches[vm_id]
        known = watch.knowledge
        if known.backups is not backups:
            known = msgspec.structs.replace(known, backups=backups)
        self.watches[vm_id] = Watch(known, False, time, monotonic)  # noqa: FBT003  # fields by position: this runs once a request

    def failed(self, vm_id: int) -> None:
        """Remember that a read failed; the last good data stay."""
        watch = self.watches[vm_id]
        self.watches[vm_id] = msgspec.structs.replace(watch, failing=True)

    def forget(self, vm_id: int) -> None:
        """Drop a server that is gone."""
        del self.watches[vm_id]

    def take_over(self, other: PanelStore) -> None:
        """Begin with what another store knows of the same panel."""
        self.watches = other.watches
        self.version = other.version
        self.answering = other.answering
        self.heard_at_monotonic = other.heard_at_monotonic
        self.skew_seconds = other.skew_seconds
        self.servers_listed = other.servers_listed
        self.inventory_answered = other.inventory_answered
        self.inventory_succeeded = other.inventory_succeeded
        self.inventory_read_at = other.inventory_read_at


@dataclass(slots=True, eq=False)
class Store:
    """Every panel's store, in the order of the configuration."""

    panels: dict[str, PanelStore] = field(default_factory=dict)
    _ready: bool = False

    def ready(self) -> bool:
        """Tell whether every panel's first pass has ended, well or badly.

        A panel that a reload adds later does not take it back.
        """
        ended = [panel.first_pass_ended for panel in self.panels.values()]
        self._ready = self._ready or (bool(ended) and all(ended))
        return self._ready

    def replace(self, panels: dict[str, PanelStore]) -> None:
        """Hold these panels from now on."""
        self.ready()  # what was ready before stays so, asked or not
        self.panels = panels
