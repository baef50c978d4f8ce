"""The kinds of metric families: what each is made from, and so when it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..clock import Now
from ..model.store import Knowledge, PanelStore
from .samples import Row, Sample, ServerView

Subject = TypeVar("Subject")
T = TypeVar("T")


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
        return _known(self.rows(panel, now), self.value)


@dataclass(frozen=True, slots=True)
class PanelCounter(PanelFamily[T]):
    """The same, of what only ever grows."""

    type = "counter"


@dataclass(frozen=True, slots=True)
class RowFamily(Family, Generic[Subject, T]):
    """Made of rows of a server; families with the same ``rows`` share their labels."""

    rows: Callable[[Subject], Iterable[Row[T]]]
    value: Callable[[T], float | None]
    """Returns None where the value is not known: then there is no sample."""

    def samples(self, subject: Subject) -> Iterator[Sample]:
        """Yield what is known."""
        return _known(self.rows(subject), self.value)


@dataclass(frozen=True, slots=True)
class ServerFamily(RowFamily[Knowledge, T]):
    """Made from what else than its backups is known of a server."""


@dataclass(frozen=True, slots=True)
class BackupsFamily(RowFamily[ServerView, T]):
    """Made from a server's backups, as long as they are fresh."""


@dataclass(frozen=True, slots=True)
class AgeFamily(BackupsFamily[T]):
    """The same, but of moments (Unix time): its values are their ages."""


def _known(
    rows: Iterable[Row[T]], value_of: Callable[[T], float | None]
) -> Iterator[Sample]:
    for labels, row in rows:
        value = value_of(row)
        if value is not None:
            yield labels, value
