"""The kinds of metric families: what each is made from, and so when it changes.

A row of the table is a family: name, help, labels, and pure functions that give its
samples. An unknown value yields no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, TypeAlias, TypeVar

import msgspec

from ..clock import Now
from ..config.schema import Detail
from ..health.targets import BackupSummary, summarize_backups
from ..model.entities import Backup
from ..model.store import PanelStore, ServerState

Subject = TypeVar("Subject")
T = TypeVar("T")

Sample: TypeAlias = tuple[tuple[str, ...], float]
"""The values of the family's labels, in its order, and the sample's value."""
Row: TypeAlias = tuple[tuple[str, ...], T]
"""The same labels, and what values are made of: families may share their rows."""


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server's knowledge, judged."""

    state: ServerState
    summary: BackupSummary
    detailed_backups: tuple[Backup, ...]
    """The backups that get series of their own."""

    @property
    def labels(self) -> tuple[str, str]:
        """Return the values of ``panel`` and ``vm_id``."""
        return self.state.panel, str(self.state.vm_id)


def server_view(state: ServerState, detail: Detail) -> ServerView:
    """Judge a server's backups and choose those with series of their own."""
    backups = tuple(state.backups or ())  # unpacked once
    unpacked = msgspec.structs.replace(state, backups=backups)
    return ServerView(
        unpacked, summarize_backups(unpacked), tuple(_detailed_backups(backups, detail))
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


@dataclass(frozen=True, slots=True)
class Family:
    """What all families have; ``name`` is the name of the samples."""

    name: str
    help: str
    labels: tuple[str, ...]

    type = "gauge"


@dataclass(frozen=True, slots=True)
class PanelFamily(Family, Generic[T]):
    """Made from the state of a panel's polling, at every scrape."""

    rows: Callable[[PanelStore, Now], Iterable[Row[T]]]
    """Families with the same share their labels."""
    value: Callable[[T], float | None]
    """Returns None where the value is not known: then there is no sample."""

    def samples(self, panel: PanelStore, now: Now) -> Iterator[Sample]:
        """Yield what is known."""
        return _samples(self.rows(panel, now), self.value)


@dataclass(frozen=True, slots=True)
class PanelCounter(PanelFamily[T]):
    """The same, of what only ever grows."""

    type = "counter"


@dataclass(frozen=True, slots=True)
class CachedFamily(Family, Generic[Subject, T]):
    """Made of rows of a server; families with the same ``rows`` share their labels."""

    rows: Callable[[Subject], Iterable[Row[T]]]
    value: Callable[[T], float | None]
    """Returns None where the value is not known: then there is no sample."""

    def samples(self, subject: Subject) -> Iterator[Sample]:
        """Yield what is known."""
        return _samples(self.rows(subject), self.value)


@dataclass(frozen=True, slots=True)
class ServerFamily(CachedFamily[ServerState, T]):
    """Made from what else than its backups is known of a server."""


@dataclass(frozen=True, slots=True)
class BackupsFamily(CachedFamily[ServerView, T]):
    """Made from a server's backups, as long as they are fresh."""


@dataclass(frozen=True, slots=True)
class AgeFamily(BackupsFamily[T]):
    """The same, but of moments (Unix time): its values are their ages."""


def _samples(
    rows: Iterable[Row[T]], value_of: Callable[[T], float | None]
) -> Iterator[Sample]:
    for labels, row in rows:
        value = value_of(row)
        if value is not None:
            yield labels, value


def identity(value: float) -> float:
    """Return the value of a row that is nothing but its value."""
    return value


def label_value(value: object | None) -> str:
    """Return a label's value; empty when it is not known."""
    return "" if value is None else str(value)


def backup_server_label(backup_server_id: int | None) -> str:
    """Return the value of the label ``backup_server_id``."""
    return "none" if backup_server_id is None else str(backup_server_id)
