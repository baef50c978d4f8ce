"""Selection of the servers to show: filtered, sorted and paginated.

Counts and order depend on the health of every server. Everything else is computed only
for servers on the requested page.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

import msgspec

from ..clock import Now
from ..health.conditions import SERVER_CONDITION_RANK, Condition, Severity
from ..health.server import UNRESOLVED, ServerHealth, next_start_at
from ..health.targets import BackupSummary
from ..metrics.exposition import Snapshot
from ..model.store import PanelStore, ServerEntry
from .query import ANY_PROBLEM, Query, parse_number

T = TypeVar("T")

_MAX_VM_ID_DIGITS = 19
"""Maximum number of digits in a server's ID."""

Healths = Mapping[str, Mapping[int, ServerHealth]]
"""The health of servers, by panel name and server ID."""


class JudgedServer(msgspec.Struct, frozen=True, gc=False):
    """A server with its health."""

    panel: PanelStore
    vm_id: str
    health: ServerHealth
    entry: ServerEntry | None = None
    """None: a configured identifier that matches no known server."""

    @property
    def summary(self) -> BackupSummary | None:
        """Return the summary of its backups; None: unknown or too old."""
        return self.health.shown_summary

    @property
    def label(self) -> str:
        """Return the server's label; empty if it is unknown."""
        server = self.entry and self.entry.state.server
        return server.label if server else ""

    @property
    def user_id(self) -> int | None:
        """Return the ID of its owner; None: unknown."""
        server = self.entry and self.entry.state.server
        return server.user_id if server else None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    rows: Sequence[T]
    total: int
    """Number of rows on all pages."""
    page: int
    pages: int


def paginate(rows: Sequence[T], page: int, per_page: int) -> Page[T]:
    """Return one page of the rows; beyond the last page, return the last."""
    pages = max(1, -(-len(rows) // per_page))
    page = min(page, pages)
    shown = rows[(page - 1) * per_page : page * per_page]
    return Page(shown, len(rows), page, pages)


def select(
    servers: Iterable[JudgedServer], query: Query, now: Now
) -> list[JudgedServer]:
    """Filter and sort the servers."""
    if query.panels or query.states or query.text:
        servers = (judged for judged in servers if _matches(judged, query))
    return _sorted(servers, query, now)


def find_server(
    snapshot: Snapshot, healths: Healths, panel_name: str, vm_id: str
) -> JudgedServer | None:
    """Return one server; None: not found."""
    for panel in snapshot.panels:
        if panel.name != panel_name:
            continue
        number = parse_number(vm_id, _MAX_VM_ID_DIGITS)
        entry = None if number is None else panel.servers.get(number)
        if entry is not None and number is not None:
            health = healths[panel.name][number]
            return JudgedServer(panel, str(number), health, entry)
        if vm_id in panel.unresolved:
            return JudgedServer(panel, vm_id, UNRESOLVED)
    return None


def all_servers(snapshot: Snapshot, healths: Healths) -> Iterator[JudgedServer]:
    """Yield the servers of all panels, including those that are only configured."""
    for panel in snapshot.panels:
        of_panel = healths[panel.name]
        for vm_id, entry in panel.servers.items():
            yield JudgedServer(panel, str(vm_id), of_panel[vm_id], entry)
        for identifier in panel.unresolved:
            yield JudgedServer(panel, identifier, UNRESOLVED)


def conditions(judged: JudgedServer) -> Collection[Condition]:
    """Return the conditions under which a server is counted."""
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
    if ANY_PROBLEM in states and worst.severity >= Severity.WARNING:
        return True
    return any(condition.key in states for condition in conditions(judged))


def _searched_texts(judged: JudgedServer) -> Iterable[str]:
    yield judged.vm_id
    server = judged.entry and judged.entry.state.server
    if server:
        yield from (server.label, server.hostname, server.identifier)


def _sorted(
    servers: Iterable[JudgedServer], query: Query, now: Now
) -> list[JudgedServer]:
    """Sort; unknown values always come last, ties are sorted by condition and name."""
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


def _last_success_at(summary: BackupSummary | None) -> float | None:
    """Return the last success; without any, a time before all others."""
    if summary is None:
        return None
    never = summary.last_success_at is None and not summary.built
    return -inf if never else summary.last_success_at


def _shortest_interval(judged: JudgedServer) -> float | None:
    """Return the shortest expected interval of the server's targets."""
    targets = () if judged.summary is None else judged.summary.targets
    intervals = (t.expected_interval for t in targets)
    return min((i.seconds for i in intervals if i is not None), default=None)


_SORT_VALUES: Mapping[str, Callable[[JudgedServer, Now], Any]] = {
    "server": lambda judged, _: (judged.label or judged.vm_id).casefold(),
    "panel": lambda judged, _: judged.panel.name,
    "last_success": lambda judged, _: _last_success_at(judged.summary),
    "size": lambda judged, _: judged.summary and judged.summary.size_bytes,
    "interval": lambda judged, _: _shortest_interval(judged),
    "next_start": lambda judged, now: (
        judged.entry and next_start_at(judged.entry.state, now.time)
    ),
}
