"""The body of ``/metrics`` at one moment, in both formats.

A server's lines are rendered when it changes, and kept compressed. A scrape joins them,
and renders only the ages, the lines of panels and the exporter's own metrics. Source:
the Prometheus text format 0.0.4 and OpenMetrics 1.0.0. Gauges look the same in both;
OpenMetrics names a counter's family without ``_total`` and ends in ``# EOF``.
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
from ..health.server import JudgedServers, ServerHealth
from ..model.store import PanelStore, Store
from . import FAMILIES
from .cache import RenderCache
from .family import AnyFamily, PanelView
from .gzip_member import DeflatedText, deflated_text, gzip_member
from .text_format import CACHED_FAMILIES, panel_lines

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_SUFFIXES = ("", "_total", "_bucket", "_sum", "_count")
"""Suffixes that sample names may add to the name of their family."""
_FAMILY_INDEXES = {family.name: index for index, family in enumerate(CACHED_FAMILIES)}
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of all panels at one moment; it does not change later."""

    now: Now
    panels: tuple[PanelStore, ...]
    detail: Detail


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a response, sent in chunks."""

    length: int
    parts: tuple[DeflatedText | bytes, ...]
    """A DeflatedText is not inflated before it is sent."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in chunks of about 256 KiB."""
        buffered: list[bytes] = []
        length = 0
        for part in self.parts:
            buffered.append(part.inflate() if isinstance(part, DeflatedText) else part)
            length += len(buffered[-1])
            if length >= _CHUNK_BYTES:
                yield b"".join(buffered)
                buffered, length = [], 0
        if buffered:
            yield b"".join(buffered)


@dataclass(slots=True, eq=False)
class _JudgedPanel:
    """The state of a panel that is kept between scrapes."""

    servers: JudgedServers = field(default_factory=JudgedServers)
    healths: Mapping[int, ServerHealth] = field(default_factory=dict)
    cache: RenderCache | None = None


@dataclass(slots=True, eq=False)
class Exposition:
    """Renderer of ``/metrics`` from the store."""

    store: Store
    clock: Clock
    detail: Detail
    """Selects the single backups that are exposed; a reload sets it."""
    own_registry: CollectorRegistry
    """The exporter's own metrics, rendered by prometheus-client."""
    _panels: dict[str, _JudgedPanel] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def snapshot(self) -> Snapshot:
        """Copy the current state: fast, so that a thread can do the rest."""
        return Snapshot(
            Now(self.clock.time(), self.clock.monotonic()),
            tuple(panel.copy() for panel in self.store.panels.values()),
            self.detail,
        )

    def update(self, snapshot: Snapshot) -> None:
        """Render what has changed since the last update; drop what was removed."""
        with self._lock:
            self._update(snapshot)

    def healths(self, snapshot: Snapshot) -> dict[str, Mapping[int, ServerHealth]]:
        """Return the health of all servers, by panel and ``vm_id``."""
        with self._lock:
            self._judge(snapshot)
            return {name: judged.healths for name, judged in self._panels.items()}

    def scrape(
        self,
        snapshot: Snapshot,
        media_type: str,
        names: frozenset[str] = frozenset(),
        without: frozenset[str] = frozenset(),
        *,
        compressed: bool = False,
    ) -> Body:
        """Return the scrape of a snapshot, as one gzip member or plain; thread-safe.

        ``names`` are the requested families and samples; empty: all.
        """
        with self._lock:
            self._update(snapshot)
            families = self._family_texts(snapshot, names)
        texts: list[DeflatedText] = []
        for family, of_family in families.items():
            if of_family and family.name not in without:
                texts += (_family_header(family, media_type), *of_family)
        if own_text := self._own_text(media_type, names):
            texts.append(deflated_text(own_text))
        if not compressed:
            return Body(sum(text.length for text in texts), tuple(texts))
        parts = tuple(gzip_member(texts))
        return Body(sum(map(len, parts)), parts)

    def render(
        self,
        media_type: str,
        names: frozenset[str] = frozenset(),
        without: frozenset[str] = frozenset(),
    ) -> bytes:
        """Return the text of a scrape, or of the families and samples in ``names``."""
        body = self.scrape(self.snapshot(), media_type, names, without)
        return b"".join(body.chunks())

    def _own_text(self, media_type: str, names: frozenset[str]) -> bytes:
        sample_names = [name + suffix for name in names for suffix in _SUFFIXES]
        registry = (
            self.own_registry.restricted_registry(sample_names)
            if names
            else self.own_registry
        )
        write = (
            openmetrics.generate_latest
            if media_type == OPENMETRICS
            else generate_latest
        )
        text: bytes = write(registry)
        return text

    def _judge(self, snapshot: Snapshot) -> None:
        panels: dict[str, _JudgedPanel] = {}
        for panel in snapshot.panels:
            judged = self._panels.get(panel.name) or _JudgedPanel()
            judged.healths = judged.servers.update(panel, snapshot.now)
            panels[panel.name] = judged
        self._panels = panels

    def _update(self, snapshot: Snapshot) -> None:
        self._judge(snapshot)
        for judged in self._panels.values():
            if judged.cache is None or judged.cache.detail != snapshot.detail:
                judged.cache = RenderCache(snapshot.detail)
            judged.cache.update(judged.healths)

    def _family_texts(
        self, snapshot: Snapshot, names: frozenset[str]
    ) -> dict[AnyFamily, list[DeflatedText]]:
        families: dict[AnyFamily, list[DeflatedText]] = {
            family: []
            for family in FAMILIES
            if not names or names & {family.name, _family_name(family, OPENMETRICS)}
        }
        for panel in snapshot.panels:
            judged = self._panels[panel.name]
            view = PanelView(panel, snapshot.now, judged.healths)
            lines = panel_lines(view, families)
            for family, texts in families.items():
                index = _FAMILY_INDEXES.get(family.name)
                if index is not None and judged.cache is not None:
                    texts.extend(judged.cache.texts(index, snapshot.now.time))
                if lines.get(family.name):
                    texts.append(deflated_text(lines[family.name]))
        return families


def _family_name(family: AnyFamily, media_type: str) -> str:
    if family.type == "counter" and media_type == OPENMETRICS:
        return family.name.removesuffix("_total")
    return family.name


@cache
def _family_header(family: AnyFamily, media_type: str) -> DeflatedText:
    name = _family_name(family, media_type)
    header = f"# HELP {name} {family.help}\n# TYPE {name} {family.type}\n"
    return deflated_text(header.encode())


_OPENMETRICS_TYPE = "application/openmetrics-text"
_TEXT_RANGES = ("text/plain", "text/*", "*/*")


def negotiate_media_type(accept: str) -> str:
    """Return the media type preferred by ``Accept``, OpenMetrics or text (default)."""
    weights = {OPENMETRICS: 0.0, TEXT: 0.0}
    for media_range, parameters in _header_entries(accept):
        weight = _quality(parameters)
        if (
            media_range == _OPENMETRICS_TYPE
            and parameters.get("version", "1.0.0") == "1.0.0"
        ):
            weights[OPENMETRICS] = max(weights[OPENMETRICS], weight)
        elif (
            media_range in _TEXT_RANGES
            and parameters.get("version", "0.0.4") == "0.0.4"
        ):
            weights[TEXT] = max(weights[TEXT], weight)
    return OPENMETRICS if weights[OPENMETRICS] > weights[TEXT] else TEXT


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether gzip is accepted and ``identity`` is not preferred."""
    weights = {
        coding: _quality(parameters)
        for coding, parameters in _header_entries(accept_encoding)
    }
    weight = weights.get("gzip", weights.get("*", 0.0))
    return 0 < weight >= weights.get("identity", 0.0)


def _header_entries(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    for entry in header.split(","):
        value, *parameters = (part.strip() for part in entry.split(";"))
        pairs = (part.partition("=") for part in parameters)
        yield (
            value.lower(),
            {key.strip().lower(): value.strip(' "') for key, _, value in pairs},
        )


def _quality(parameters: dict[str, str]) -> float:
    try:
        weight = float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
