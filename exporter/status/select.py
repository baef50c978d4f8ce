"""All servers judged at one moment, and those of them that are asked for.

Every server is judged, for what is shown first depends on all; what else is shown of
one is made for the servers of the page alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import msgspec

from ..clock import Now
from ..health.conditions import RANK, Condition, Problem, Severity
from ..health.panel import judge_panel
from ..health.server import UNRESOLVED, ServerHealth, judge_server
from ..health.targets import BackupSummary
from ..metrics.exposition import Snapshot
from ..model.entities import Target
from ..model.selection import Shard
from ..model.store import PanelStore, ServerEntry
from .query import TROUBLE, Query, whole_number

_DIGITS_OF_A_SERVER = 19
"""No number of one has more."""

Verdicts = Mapping[str, Mapping[int, BackupSummary]]
"""By panel and server."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One server, judged."""

    panel: PanelStore
    vm_id: str
    judgement: ServerHealth
    watch: ServerEntry | None = None
    """None: a configured identifier that no server is known for."""
    verdict: BackupSummary | None = None
    """None: its backups are not known, or too old."""

    @property
    def label(self) -> str:
        """Return what the server is called, as far as is known."""
        server = self.watch and self.watch.state.server
        return server.label if server else ""


@dataclass(frozen=True, slots=True)
class Board:
    """What is to be shown at one moment."""

    now: Now
    shard: Shard
    panels: tuple[tuple[PanelStore, tuple[Problem, ...]], ...]
    total: int
    """Servers, before anything was chosen."""
    counts: Mapping[Condition, int]
    """How many servers each thing is said of; one can count several times."""
    matching: int
    query: Query
    """With the page that is shown: the last, where there are not so many."""
    pages: int
    entries: tuple[Entry, ...]
    """Of this page."""


def board(moment: Snapshot, verdicts: Verdicts, shard: Shard, wanted: Query) -> Board:
    """Judge everything, then choose, sort and cut."""
    every = list(_entries(moment, verdicts))
    counts = Counter(chain.from_iterable(map(_kinds, every)))
    found = [entry for entry in every if _matches(entry, wanted)]
    pages = max(1, -(-len(found) // wanted.per_page))
    page = min(wanted.page, pages)
    start = (page - 1) * wanted.per_page
    shown = _sorted(found, wanted, moment.now)[start : start + wanted.per_page]
    return Board(
        now=moment.now,
        shard=shard,
        panels=tuple((p, judge_panel(p, moment.now, shard)) for p in moment.panels),
        total=len(every),
        counts={kind: counts[kind] for kind in RANK if kind in counts},
        matching=len(found),
        query=replace(wanted, page=page),
        pages=pages,
        entries=tuple(shown),
    )


def entry(
    moment: Snapshot, verdicts: Verdicts, panel_name: str, vm_id: str
) -> Entry | None:
    """Return one server; None: there is none."""
    for panel in moment.panels:
        if panel.name != panel_name:
            continue
        number = whole_number(vm_id, _DIGITS_OF_A_SERVER)
        watch = None if number is None else panel.servers.get(number)
        if watch is not None and number is not None:
            return _judged(panel, number, watch, verdicts[panel.name], moment.now)
        if vm_id in panel.unresolved:
            return Entry(panel, vm_id, UNRESOLVED)
    return None


def next_start_at(entry: Entry, now: Now, target: Target | None = None) -> float | None:
    """Return when the next backup of a server, or of a target, is to start."""
    schedules = () if entry.watch is None else entry.watch.state.schedules or ()
    starts = (
        schedule.next_start_at
        for schedule in schedules
        if schedule.enabled and (target is None or schedule.target == target)
    )
    return min((s for s in starts if s is not None and s > now.time), default=None)


def _entries(moment: Snapshot, verdicts: Verdicts) -> Iterator[Entry]:
    for panel in moment.panels:
        known = verdicts[panel.name]
        for vm_id, watch in panel.servers.items():
            yield _judged(panel, vm_id, watch, known, moment.now)
        for name in panel.unresolved:
            yield Entry(panel, name, UNRESOLVED)


def _judged(
    panel: PanelStore,
    vm_id: int,
    watch: ServerEntry,
    verdicts: Mapping[int, BackupSummary],
    now: Now,
) -> Entry:
    verdict = verdicts.get(vm_id)
    judgement = judge_server(panel, watch, verdict, now)
    return Entry(panel, str(vm_id), judgement, watch, verdict)


def _kinds(entry: Entry) -> Collection[Condition]:
    findings = entry.judgement.findings
    if len(findings) < 2:
        return (entry.judgement.state,)
    return {finding.kind for finding in findings}


def _matches(entry: Entry, wanted: Query) -> bool:
    if wanted.panels and entry.panel.name not in wanted.panels:
        return False
    if wanted.states and not _is_in(entry, wanted.states):
        return False
    if not wanted.text:
        return True
    text = wanted.text.casefold()
    return any(text in each.casefold() for each in _texts(entry))


def _is_in(entry: Entry, states: tuple[str, ...]) -> bool:
    worst = entry.judgement.state
    if TROUBLE in states and (worst.alert or worst.level >= Severity.WARNING):
        return True
    return any(kind.key in states for kind in _kinds(entry))


def _texts(entry: Entry) -> Iterable[str]:
    yield entry.vm_id
    server = entry.watch and entry.watch.state.server
    if server:
        yield from (server.label, server.hostname, server.identifier)


def _sorted(entries: list[Entry], wanted: Query, now: Now) -> list[Entry]:
    """Sort; what is not known comes last either way, equals by state and name."""
    entries = sorted(entries, key=_by_state)
    if wanted.sort == "state":
        return entries[::-1] if wanted.descending else entries
    value = _VALUES[wanted.sort]
    valued = [(value(entry, now), entry) for entry in entries]
    known = [(found, entry) for found, entry in valued if found is not None]
    known.sort(key=lambda pair: pair[0], reverse=wanted.descending)
    unknown = (entry for found, entry in valued if found is None)
    return [*(entry for _, entry in known), *unknown]


def _by_state(entry: Entry) -> tuple[int, str, str, str]:
    rank = RANK[entry.judgement.state]
    return rank, entry.label.casefold(), entry.panel.name, entry.vm_id.zfill(20)


def _interval(entry: Entry) -> float | None:
    """Return the shortest interval that is expected of any target."""
    targets = () if entry.verdict is None else entry.verdict.targets
    intervals = (t.expected_interval for t in targets)
    return min((i.seconds for i in intervals if i is not None), default=None)


_VALUES: Mapping[str, Callable[[Entry, Now], Any]] = {
    "server": lambda entry, _: (entry.label or entry.vm_id).casefold(),
    "panel": lambda entry, _: entry.panel.name,
    "last_success": lambda entry, _: entry.verdict and entry.verdict.last_success_at,
    "size": lambda entry, _: entry.verdict and entry.verdict.size_bytes,
    "interval": lambda entry, _: _interval(entry),
    "next_start": next_start_at,
}
