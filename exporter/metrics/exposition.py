"""What ``/metrics`` says at one moment: the table over the store, in both formats.

A server's lines are written when it changes and kept compressed; a scrape puts them
together, and writes only ages, the panels' own lines and the exporter's own metrics.
Source: the Prometheus text format 0.0.4 and OpenMetrics 1.0.0. Gauges look the same
in both; OpenMetrics names a counter's family without ``_total`` and ends in ``# EOF``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from threading import Lock

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from ..clock import Clock, Now
from ..config.schema import Detail
from ..health.targets import BackupSummary
from ..model.store import PanelStore, Store
from . import FAMILIES
from .cache import RenderCache, State
from .family import Family
from .gzip_member import DeflatedText, deflated_text, member
from .text_format import ROW_FAMILIES, panel_lines

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_SUFFIXES = ("", "_total", "_bucket", "_sum", "_count")
"""What the samples of a family may be called after its name."""
_INDEXES = {family.name: index for index, family in enumerate(ROW_FAMILIES)}
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is known at one moment; nothing in it changes any more."""

    now: Now
    panels: tuple[PanelStore, ...]
    detail: Detail


@dataclass(frozen=True, slots=True)
class Body:
    """A whole scrape, to be sent in chunks."""

    length: int
    parts: tuple[DeflatedText | bytes, ...]
    """What is still compressed becomes text when its turn comes."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in pieces of a size that is good to send."""
        waiting: list[bytes] = []
        length = 0
        for part in self.parts:
            waiting.append(part.text() if isinstance(part, DeflatedText) else part)
            length += len(waiting[-1])
            if length >= _CHUNK_BYTES:
                yield b"".join(waiting)
                waiting, length = [], 0
        if waiting:
            yield b"".join(waiting)


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one scrape shows: families and their lines, in no format yet."""

    own: CollectorRegistry
    names: frozenset[str]
    """The families and samples that are wanted; empty: all."""
    families: Mapping[Family, list[DeflatedText]]

    def plain(self, media_type: str) -> Body:
        """Return it as text."""
        pieces = tuple(self._pieces(media_type))
        return Body(sum(each.length for each in pieces), pieces)

    def compressed(self, media_type: str) -> Body:
        """Return it as one gzip member."""
        parts = tuple(member(self._pieces(media_type)))
        return Body(sum(map(len, parts)), parts)

    def _pieces(self, media_type: str) -> Iterator[DeflatedText]:
        for family, pieces in self.families.items():
            yield _head(family, media_type)
            yield from pieces
        yield deflated_text(self._own(media_type))

    def _own(self, media_type: str) -> bytes:
        wanted = [name + suffix for name in self.names for suffix in _SUFFIXES]
        registry = self.own.restricted_registry(wanted) if self.names else self.own
        write = (
            openmetrics.generate_latest
            if media_type == OPENMETRICS
            else generate_latest
        )
        written: bytes = write(registry)
        return written


@dataclass(slots=True, eq=False)
class Exposition:
    """Writes what ``/metrics`` answers."""

    store: Store
    clock: Clock
    detail: Detail
    own: CollectorRegistry
    """The exporter's own metrics, which prometheus-client writes."""
    _shelves: dict[str, RenderCache] = field(default_factory=dict)
    _shelving: Lock = field(default_factory=Lock)

    def show(self, detail: Detail) -> None:
        """Expose so much of single backups from now on."""
        self.detail = detail

    def moment(self) -> Snapshot:
        """Return what is known now: quickly, so that a thread can do the rest."""
        return Snapshot(
            Now(self.clock.time(), self.clock.monotonic()),
            tuple(panel.copy() for panel in self.store.panels.values()),
            self.detail,
        )

    def update(self, moment: Snapshot) -> None:
        """Write what has changed since the last time, and drop what is gone."""
        with self._shelving:
            self._update(moment)

    def verdicts(self, moment: Snapshot) -> dict[str, dict[int, BackupSummary]]:
        """Return what each server's backups say, by panel: judged when they changed."""
        with self._shelving:
            self._update(moment)
            return {name: shelf.verdicts() for name, shelf in self._shelves.items()}

    def scrape(self, moment: Snapshot, names: frozenset[str] = frozenset()) -> Scrape:
        """Return what is shown of a moment, by any thread."""
        with self._shelving:
            self._update(moment)
            found = self._pieces(moment, names)
        shown = {family: pieces for family, pieces in found.items() if pieces}
        return Scrape(self.own, names, shown)

    def render(self, media_type: str, names: frozenset[str] = frozenset()) -> bytes:
        """Return the text of a scrape, or of the families and samples in ``names``."""
        return b"".join(self.scrape(self.moment(), names).plain(media_type).chunks())

    def _update(self, moment: Snapshot) -> None:
        shelves: dict[str, RenderCache] = {}
        for panel in moment.panels:
            shelf = self._shelves.get(panel.name)
            if shelf is None or shelf.detail != moment.detail:
                shelf = RenderCache(moment.detail)
            shelves[panel.name] = shelf
            shelf.update(_states(panel, moment.now))
        self._shelves = shelves

    def _pieces(
        self, moment: Snapshot, names: frozenset[str]
    ) -> dict[Family, list[DeflatedText]]:
        found: dict[Family, list[DeflatedText]] = {
            family: []
            for family in FAMILIES
            if not names or names & {family.name, _name(family, OPENMETRICS)}
        }
        for panel in moment.panels:
            shelf = self._shelves[panel.name]
            texts = panel_lines(panel, moment.now, found)
            for family, pieces in found.items():
                index = _INDEXES.get(family.name)
                if index is not None:
                    pieces.extend(shelf.pieces(index, moment.now.time))
                elif texts[family.name]:
                    pieces.append(deflated_text(texts[family.name]))
        return found


def _states(panel: PanelStore, now: Now) -> dict[int, State]:
    states = {
        vm_id: (watch.state, panel.is_fresh(watch, now.monotonic))
        for vm_id, watch in panel.servers.items()
    }
    if panel.unassigned_schedules is not None:
        states[panel.unassigned_schedules.vm_id] = (panel.unassigned_schedules, False)
    return states


def _name(family: Family, media_type: str) -> str:
    if family.type == "counter" and media_type == OPENMETRICS:
        return family.name.removesuffix("_total")
    return family.name


@cache
def _head(family: Family, media_type: str) -> DeflatedText:
    name = _name(family, media_type)
    head = f"# HELP {name} {family.help}\n# TYPE {name} {family.type}\n"
    return deflated_text(head.encode())


_OPENMETRICS = "application/openmetrics-text"
_TEXTS = ("text/plain", "text/*", "*/*")


def media_type(accept: str) -> str:
    """Choose OpenMetrics or text, whichever ``Accept`` weighs more."""
    weights = {OPENMETRICS: 0.0, TEXT: 0.0}
    for kind, parameters in _entries(accept):
        weight = _weight(parameters)
        if kind == _OPENMETRICS and parameters.get("version", "1.0.0") == "1.0.0":
            weights[OPENMETRICS] = max(weights[OPENMETRICS], weight)
        elif kind in _TEXTS and parameters.get("version", "0.0.4") == "0.0.4":
            weights[TEXT] = max(weights[TEXT], weight)
    return OPENMETRICS if weights[OPENMETRICS] > weights[TEXT] else TEXT


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether the answer may be compressed, and is not liked better as it is."""
    weights = {kind: _weight(given) for kind, given in _entries(accept_encoding)}
    weight = weights.get("gzip", weights.get("*", 0.0))
    return 0 < weight >= weights.get("identity", 0.0)


def _entries(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    for entry in header.split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        pairs = (part.partition("=") for part in parameters)
        yield (
            kind.lower(),
            {key.strip().lower(): value.strip(' "') for key, _, value in pairs},
        )


def _weight(parameters: dict[str, str]) -> float:
    try:
        weight = float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
