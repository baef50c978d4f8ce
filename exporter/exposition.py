"""The bytes of a scrape: the table over the store, in text and OpenMetrics.

A server's lines are written when its backups change and joined at a scrape; only
ages and the panels' own lines are written each time.
Source: the Prometheus text format 0.0.4 and OpenMetrics 1.0.0. Gauges look the same
in both; OpenMetrics names a counter's family without ``_total`` and ends in ``# EOF``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from .clock import Clock
from .families import FAMILIES
from .family import (
    AgeFamily,
    BackupsFamily,
    Family,
    PanelFamily,
    ServerFamily,
)
from .samples import Detail, Now, Sample, view
from .store import Knowledge, PanelStore, Store

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_SUFFIXES = ("", "_total", "_bucket", "_sum", "_count")
"""What the samples of a family may be called after its name."""
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass(slots=True, eq=False)
class _Written:
    """One server's lines by family; made again when ``knowledge`` is another."""

    knowledge: Knowledge
    described: dict[str, str]
    backups: dict[str, str] | None = None
    ages: list[tuple[str, float]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Exposition:
    """Writes what ``/metrics`` answers."""

    store: Store
    clock: Clock
    detail: Detail
    own: CollectorRegistry
    """The exporter's own metrics, which prometheus-client writes."""
    _written: dict[tuple[str, int], _Written] = field(default_factory=dict)

    def show(self, detail: Detail) -> None:
        """Expose so much of single backups from now on."""
        if detail != self.detail:
            self.detail = detail
            self._written = {}

    def render(self, media_type: str, names: frozenset[str] = frozenset()) -> bytes:
        """Return a whole scrape, or the families and samples called ``names``."""
        now = Now(self.clock.time(), self.clock.monotonic())
        panels = self._panels(now)
        pieces: list[str] = []
        for family in FAMILIES:
            if names and family.name not in names:
                continue
            lines = [
                text for panel in panels for text in panel.lines(family, now) if text
            ]
            if lines:
                pieces.append(_head(family, media_type))
                pieces += lines
        return "".join(pieces).encode() + self._own(media_type, names)

    def _panels(self, now: Now) -> list[_Panel]:
        """Bring what is written up to date, and drop what is gone."""
        kept: dict[tuple[str, int], _Written] = {}
        panels: list[_Panel] = []
        for panel in self.store.panels.values():
            described: list[_Written] = []
            fresh: list[_Written] = []
            for known in panel.described():
                key = (panel.name, known.vm_id)
                written = self._written.get(key)
                if written is None or written.knowledge is not known:
                    written = _describe(known)
                kept[key] = written
                described.append(written)
                watch = panel.watches.get(known.vm_id)
                if watch is not None and panel.fresh(watch, now.monotonic):
                    _write_backups(written, self.detail)
                    fresh.append(written)
            panels.append(_Panel(panel, described, fresh))
        self._written = kept
        return panels

    def _own(self, media_type: str, names: frozenset[str]) -> bytes:
        wanted = [name + suffix for name in names for suffix in _SUFFIXES]
        registry = self.own.restricted_registry(wanted) if names else self.own
        write = (
            openmetrics.generate_latest
            if media_type == OPENMETRICS
            else generate_latest
        )
        written: bytes = write(registry)
        return written


@dataclass(frozen=True, slots=True)
class _Panel:
    """One panel at the moment of a scrape."""

    store: PanelStore
    described: list[_Written]
    fresh: list[_Written]

    def lines(self, family: Family, now: Now) -> Iterable[str]:
        """Return the panel's lines of one family, in pieces."""
        if isinstance(family, PanelFamily):
            return _lines(family, family.samples(self.store, now))
        if isinstance(family, ServerFamily):
            return (server.described[family.name] for server in self.described)
        if isinstance(family, AgeFamily):
            return _ages(self.fresh, now)
        return (
            server.backups[family.name]
            for server in self.fresh
            if server.backups is not None
        )


def _describe(knowledge: Knowledge) -> _Written:
    return _Written(
        knowledge,
        {
            family.name: "".join(_lines(family, family.samples(knowledge)))
            for family in FAMILIES
            if isinstance(family, ServerFamily)
        },
    )


def _write_backups(written: _Written, detail: Detail) -> None:
    """Write a server's backups, unless that was done since they changed."""
    if written.backups is not None:
        return
    server = view(written.knowledge, detail)
    written.backups = {}
    for family in FAMILIES:
        if isinstance(family, BackupsFamily):
            lines = _lines(family, family.samples(server))
            written.backups[family.name] = "".join(lines)
        elif isinstance(family, AgeFamily):
            written.ages = [
                (_series(family, labels), moment)
                for labels, moment in family.moments(server)
            ]


def _ages(servers: list[_Written], now: Now) -> Iterator[str]:
    time = now.time
    for server in servers:
        for series, moment in server.ages:
            yield f"{series} {time - moment!r}\n"


def _lines(family: Family, samples: Iterable[Sample]) -> Iterator[str]:
    for labels, value in samples:
        yield f"{_series(family, labels)} {_number(value)}\n"


def _series(family: Family, values: tuple[str, ...]) -> str:
    pairs = zip(family.labels, values, strict=True)
    inside = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in pairs)
    return f"{family.name}{{{inside}}}"


def _number(value: float) -> str:
    """Write whole numbers without a fraction: shorter, and the same value."""
    whole = int(value)
    return str(whole) if whole == value else repr(value)


def _head(family: Family, media_type: str) -> str:
    name = family.name
    if family.type == "counter" and media_type == OPENMETRICS:
        name = name.removesuffix("_total")
    return f"# HELP {name} {family.help}\n# TYPE {name} {family.type}\n"
