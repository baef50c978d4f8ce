"""Selection of the servers to show: all are judged, then filtered, sorted, paginated.

Counts and order depend on the health of every server. What else is shown of a server
is computed for those on the page only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import msgspec

from ..clock import Now
from ..health.conditions import SERVER_CONDITION_RANK, Condition, Problem, Severity
from ..health.panel import judge_panel
from ..health.server import UNRESOLVED, ServerHealth, judge_server
from ..health.targets import BackupSummary
from ..metrics.exposition import Snapshot
from ..model.entities import Target
from ..model.selection import Shard
from ..model.store import PanelStore, ServerEntry
from .query import ANY_PROBLEM, Query, parse_number

_MAX_VM_ID_DIGITS = 19
"""No ID of a server has more."""

Summaries = Mapping[str, Mapping[int, BackupSummary]]
"""By panel and server."""


class JudgedServer(msgspec.Struct, frozen=True, gc=False):
    """A server with its health."""

    panel: PanelStore
    vm_id: str
    health: ServerHealth
    entry: ServerEntry | None = None
    """None: a configured identifier that matches no known server."""
    summary: BackupSummary | None = None
    """None: its backups are unknown or not fresh."""

    @property
    def label(self) -> str:
        """Return the server's label; empty if it is unknown."""
        server = self.entry and self.entry.state.server
        return server.label if server else ""


@dataclass(frozen=True, slots=True)
class StatusSelection:
    """The panels and the page of servers to show."""

    now: Now
    shard: Shard
    panels: tuple[tuple[PanelStore, tuple[Problem, ...]], ...]
    total: int
    """Servers before filtering."""
    counts: Mapping[Condition, int]
    """Servers by condition; one with several problems counts for each."""
    matching: int
    query: Query
    """Its page is the one shown: the last, if there are not as many."""
    pages: int
    servers: tuple[JudgedServer, ...]
    """Those on the page."""


def select_servers(
    snapshot: Snapshot, summaries: Summaries, shard: Shard, query: Query
) -> StatusSelection:
    """Judge all servers, then filter, sort and paginate."""
    all_servers = list(_judge_all(snapshot, summaries))
    counts = Counter(chain.from_iterable(map(_conditions, all_servers)))
    matching = [judged for judged in all_servers if _matches(judged, query)]
    pages = max(1, -(-len(matching) // query.per_page))
    page = min(query.page, pages)
    start = (page - 1) * query.per_page
    shown = _sorted(matching, query, snapshot.now)[start : start + query.per_page]
    return StatusSelection(
        now=snapshot.now,
        shard=shard,
        panels=tuple(
            (panel, judge_panel(panel, snapshot.now, shard))
            for panel in snapshot.panels
        ),
        total=len(all_servers),
        counts={
            condition: counts[condition]
            for condition in SERVER_CONDITION_RANK
            if condition in counts
        },
        matching=len(matching),
        query=replace(query, page=page),
        pages=pages,
        servers=tuple(shown),
    )


def find_server(
    snapshot: Snapshot, summaries: Summaries, panel_name: str, vm_id: str
) -> JudgedServer | None:
    """Return one server; None: there is none."""
    for panel in snapshot.panels:
        if panel.name != panel_name:
            continue
        number = parse_number(vm_id, _MAX_VM_ID_DIGITS)
        entry = None if number is None else panel.servers.get(number)
        if entry is not None and number is not None:
            return _judge(panel, number, entry, summaries[panel.name], snapshot.now)
        if vm_id in panel.unresolved:
            return JudgedServer(panel, vm_id, UNRESOLVED)
    return None


def next_start_at(
    judged: JudgedServer, now: Now, target: Target | None = None
) -> float | None:
    """Return the next scheduled start of a server, or of one of its targets."""
    schedules = () if judged.entry is None else judged.entry.state.schedules or ()
    starts = (
        schedule.next_start_at
        for schedule in schedules
        if schedule.enabled and (target is None or schedule.target == target)
    )
    return min((s for s in starts if s is not None and s > now.time), default=None)


def _judge_all(snapshot: Snapshot, summaries: Summaries) -> Iterator[JudgedServer]:
    for panel in snapshot.panels:
        panel_summaries = summaries[panel.name]
        for vm_id, entry in panel.servers.items():
            yield _judge(panel, vm_id, entry, panel_summaries, snapshot.now)
        for identifier in panel.unresolved:
            yield JudgedServer(panel, identifier, UNRESOLVED)


def _judge(
    panel: PanelStore,
    vm_id: int,
    entry: ServerEntry,
    summaries: Mapping[int, BackupSummary],
    now: Now,
) -> JudgedServer:
    summary = summaries.get(vm_id)
    health = judge_server(panel, entry, summary, now)
    return JudgedServer(panel, str(vm_id), health, entry, summary)


def _conditions(judged: JudgedServer) -> Collection[Condition]:
    problems = judged.health.problems
    if len(problems) < 2:
        return (judged.health.condition,)
    return {problem.condition for problem in problems}


def _matches(judged: JudgedServer, query: Query) -> bool:
    if query.panels and judged.panel.name not in query.panels:
        return False
    if query.states and not _has_state(judged, query.states):
        return False
    if not query.text:
        return True
    text = query.text.casefold()
    return any(text in searched.casefold() for searched in _searched_texts(judged))


def _has_state(judged: JudgedServer, states: tuple[str, ...]) -> bool:
    worst = judged.health.condition
    if ANY_PROBLEM in states and (worst.alert or worst.severity >= Severity.WARNING):
        return True
    return any(condition.key in states for condition in _conditions(judged))


def _searched_texts(judged: JudgedServer) -> Iterable[str]:
    yield judged.vm_id
    server = judged.entry and judged.entry.state.server
    if server:
        yield from (server.label, server.hostname, server.identifier)


def _sorted(servers: list[JudgedServer], query: Query, now: Now) -> list[JudgedServer]:
    """Sort; unknown values come last in any order, equal ones by condition and name."""
    servers = sorted(servers, key=_by_state)
    if query.sort == "state":
        return servers[::-1] if query.descending else servers
    value = _SORT_VALUES[query.sort]
    valued = [(value(judged, now), judged) for judged in servers]
    known = [(found, judged) for found, judged in valued if found is not None]
    known.sort(key=lambda pair: pair[0], reverse=query.descending)
    unknown = (judged for found, judged in valued if found is None)
    return [*(judged for _, judged in known), *unknown]


def _by_state(judged: JudgedServer) -> tuple[int, str, str, str]:
    rank = SERVER_CONDITION_RANK[judged.health.condition]
    return rank, judged.label.casefold(), judged.panel.name, judged.vm_id.zfill(20)


def _shortest_interval(judged: JudgedServer) -> float | None:
    """Return the shortest expected interval of the server's targets."""
    targets = () if judged.summary is None else judged.summary.targets
    intervals = (t.expected_interval for t in targets)
    return min((i.seconds for i in intervals if i is not None), default=None)


_SORT_VALUES: Mapping[str, Callable[[JudgedServer, Now], Any]] = {
    "server": lambda judged, _: (judged.label or judged.vm_id).casefold(),
    "panel": lambda judged, _: judged.panel.name,
    "last_success": lambda judged, _: judged.summary and judged.summary.last_success_at,
    "size": lambda judged, _: judged.summary and judged.summary.size_bytes,
    "interval": lambda judged, _: _shortest_interval(judged),
    "next_start": next_start_at,
}
