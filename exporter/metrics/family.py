"""Types of metric families, by their input and thus by when they change.

A family has a name, help, labels, and pure functions that return its samples. An
unknown value has no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeAlias, TypeVar

from ..clock import Now
from ..config.schema import Detail
from ..health.server import ServerHealth
from ..health.targets import BackupSummary
from ..model.entities import Backup
from ..model.store import PanelStore, ServerState

Subject = TypeVar("Subject")
T = TypeVar("T")

Sample: TypeAlias = tuple[tuple[str, ...], float]
"""Label values in the order of the family's labels, and the sample's value."""
Row: TypeAlias = tuple[tuple[str, ...], T]
"""Label values in the same order, and the input of a family's value."""


@dataclass(frozen=True, slots=True)
class PanelView:
    """The state of one panel at a scrape, and the health of its servers."""

    panel: PanelStore
    now: Now
    healths: Mapping[int, ServerHealth]

    @property
    def shard_labels(self) -> tuple[str, str]:
        """Return the values of ``panel`` and ``shard``."""
        return self.panel.name, self.panel.shard


@dataclass(frozen=True, slots=True)
class ServerView:
    """The state of one server and the summary of its backups."""

    state: ServerState
    summary: BackupSummary
    detailed_backups: tuple[Backup, ...]
    """The backups that have series of their own."""

    @property
    def labels(self) -> tuple[str, str]:
        """Return the values of ``panel`` and ``vm_id``."""
        return self.state.panel, str(self.state.vm_id)


def server_view(health: ServerHealth, detail: Detail) -> ServerView | None:
    """Return a server with the backups that have their own series; None: not fresh."""
    state, summary = health.state, health.shown_summary
    if state is None or summary is None:
        return None
    return ServerView(
        state, summary, tuple(_detailed_backups(state.backups or (), detail))
    )


def _detailed_backups(backups: tuple[Backup, ...], detail: Detail) -> Iterable[Backup]:
    if not detail.backups:
        return ()
    if not detail.newest_per_target:
        return backups
    newest_first = sorted(
        backups, key=lambda b: (b.target, -(b.created_at or 0.0), -b.id)
    )
    kept = {
        backup.id
        for _, rows in groupby(newest_first, key=lambda b: b.target)
        for rank, backup in enumerate(rows)
        if rank < detail.newest_per_target or not backup.built
    }
    return (backup for backup in backups if backup.id in kept)


def identity(value: Any) -> Any:
    """Return the value of a row as it is."""
    return value


@dataclass(frozen=True, slots=True)
class Family(Generic[Subject, T]):
    """The common part of all families; ``name`` is the name of the samples."""

    name: str
    help: str
    labels: tuple[str, ...]
    rows: Callable[[Subject], Iterable[Row[T]]]
    """Families with the same function share their rendered labels."""
    value: Callable[[T], float | None] = identity
    """Returns None if the value is unknown: then there is no sample."""

    @property
    def type(self) -> str:
        """The type by its name in the exposition formats."""
        return "counter" if self.name.endswith("_total") else "gauge"

    def samples(self, subject: Subject) -> Iterator[Sample]:
        """Yield a sample for each known value."""
        for labels, row in self.rows(subject):
            value = self.value(row)
            if value is not None:
                yield labels, value


AnyFamily: TypeAlias = Family[Any, Any]


@dataclass(frozen=True, slots=True)
class PanelFamily(Family[PanelView, T]):
    """Family that is computed from the state of a panel at every scrape.

    All other families are computed from one server when it changes, and then cached.
    """


@dataclass(frozen=True, slots=True)
class ServerFamily(Family[ServerState, T]):
    """Family that is computed from a server's state, except its backups."""


@dataclass(frozen=True, slots=True)
class HealthFamily(Family[ServerHealth, T]):
    """Family that is computed from the health of a server."""

    read_rows: Callable[[PanelView], Iterable[Row[T]]] = lambda _: ()
    """Rows that change with each read of a server; they are rendered at every
    scrape."""


@dataclass(frozen=True, slots=True)
class BackupsFamily(Family[ServerView, T]):
    """Family that is computed from a server's backups while they are fresh."""


@dataclass(frozen=True, slots=True)
class AgeFamily(BackupsFamily[T]):
    """BackupsFamily of Unix times, which are exposed as ages."""


def label_value(value: object | None) -> str:
    """Return a value as a label value; empty if it is unknown."""
    return "" if value is None else str(value)


def backup_server_label(backup_server_id: int | None) -> str:
    """Return the label ``backup_server_id``: ``none`` for backups on hypervisors."""
    return "none" if backup_server_id is None else str(backup_server_id)
