"""The kinds of metric families: what each is made from, and so when it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .samples import Now, Sample, ServerView
from .store import Knowledge, PanelStore


@dataclass(frozen=True, slots=True)
class Family:
    """What all families have; ``name`` is the name of the samples."""

    name: str
    help: str
    labels: tuple[str, ...]

    type = "gauge"


@dataclass(frozen=True, slots=True)
class PanelFamily(Family):
    """Made from the state of a panel's polling, at every scrape."""

    samples: Callable[[PanelStore, Now], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class PanelCounter(PanelFamily):
    """The same, of what only ever grows."""

    type = "counter"


@dataclass(frozen=True, slots=True)
class ServerFamily(Family):
    """Made from what else than its backups is known of a server."""

    samples: Callable[[Knowledge], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class BackupsFamily(Family):
    """Made from a server's backups, as long as they are fresh."""

    samples: Callable[[ServerView], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class AgeFamily(Family):
    """Seconds since moments (Unix time) in a server's backups."""

    moments: Callable[[ServerView], Iterable[Sample]]
