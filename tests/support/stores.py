"""Stores with defaults, and Hypothesis strategies for stores in any state."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from hypothesis import strategies as st

from exporter.model.entities import (
    BACKUP_SERVERS,
    BACKUPS,
    SCHEDULES,
    Backup,
    BackupServer,
    RecoveryPoint,
    Schedule,
    Server,
    Target,
    Transaction,
)
from exporter.model.failed_backups import FailedBackup
from exporter.model.selection import Expectation
from exporter.model.store import (
    NO_SERVER,
    PanelList,
    PanelStore,
    ServerEntry,
    ServerState,
    Store,
    summarize_usage,
)
from exporter.model.transaction_log import (
    ACTIONS,
    FINAL_STATUSES,
    PENDING_STATUSES,
    LogExcerpt,
    TransactionLog,
)

TIME = 1_800_000_000.0
"""The moment of every scrape here: Unix seconds."""
MONOTONIC = 50_000.0
"""The same moment on the monotonic clock."""

_INTERVAL = 900.0
_MAX_AGE = 3600.0


class FixedClock:
    """A clock that stands still at ``TIME`` until ``elapsed`` is set."""

    def __init__(self) -> None:
        """Start at ``TIME``."""
        self.elapsed = 0.0

    def time(self) -> float:
        """Return the Unix time."""
        return TIME + self.elapsed

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return MONOTONIC + self.elapsed

    async def wait(self, wake: object, seconds: float | None) -> None:
        """Do nothing: nothing polls here."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Raise: nothing polls here."""
        raise NotImplementedError


def a_backup(**changes: Any) -> Backup:
    """Return a good backup of a disk, built an hour ago."""
    fields: dict[str, Any] = {
        "id": 1001,
        "target": Target("Disk", 101),
        "built": True,
        "locked": False,
        "marked_for_delete": False,
        "size_bytes": 1024**3,
        "created_at": TIME - 3660,
        "built_at": TIME - 3600,
        "backup_type": "normal",
        "initiated": "days",
        "identifier": "abc",
        "backup_server_id": 1,
    }
    return Backup(**fields | changes)


def a_server(**changes: Any) -> Server:
    """Return a server as an inventory lists it."""
    fields: dict[str, Any] = {
        "id": 1,
        "identifier": "vs1",
        "label": "web-1",
        "hostname": "web-1.example.com",
        "user_id": 1,
        "hypervisor_id": 1,
        "suspended": False,
        "created_at": TIME - 86_400,
    }
    return Server(**fields | changes)


def a_panel(name: str = "cp", **changes: Any) -> PanelStore:
    """Return the store of a reachable panel without servers."""
    fields: dict[str, Any] = {
        "url": "https://cp.example.com",
        "interval_seconds": _INTERVAL,
        "max_age_seconds": _MAX_AGE,
        "longest_silence_seconds": _INTERVAL,
        "version": "6.10.0",
        "reachable": True,
        "last_proven_at_monotonic": MONOTONIC,
        "polled_at_monotonic": MONOTONIC,
        "first_pass_ended": True,
    }
    return PanelStore(name=name, **fields | changes)


def add_server(
    panel: PanelStore, server: Server, *backups: Backup, seconds_ago: float = 0.0
) -> None:
    """Add a server whose backups were read so many seconds ago."""
    panel.register_server(server.id, server, Expectation())
    panel.record_backups(
        server.id,
        backups,
        time=TIME - seconds_ago,
        monotonic=MONOTONIC - seconds_ago,
    )


def a_store(*panels: PanelStore) -> Store:
    """Return a store of these panels."""
    return Store({panel.name: panel for panel in panels})


_TRICKY_TEXTS = (
    "",
    '"',
    "\\",
    "\n",
    '\\n"} 1\n# EOF\n',
    '",vm_id="2',
    "# HELP onapp_up no",
    "100 %d %%s",
    "\r\t\x00\x85\u2028\u202e",
    "<script>alert(1)</script>",
    "\N{PILE OF POO}\u0301",
)
_YEAR_ONE, _YEAR_9999 = -62_135_596_800.0, 253_402_300_799.0

texts = st.sampled_from(_TRICKY_TEXTS) | st.text(max_size=6)
ids = st.integers(0, 5) | st.integers(-(2**63), 2**63 - 1)
moments = st.none() | st.floats(_YEAR_ONE, _YEAR_9999) | st.just(TIME - 0.25)
past = st.floats(1, TIME)
sizes = st.none() | st.integers(0, 2**63) | st.just(0)
flags = st.booleans()
periods = st.sampled_from(("days", "weeks", "months", "years", "manual")) | texts
intervals = st.none() | st.floats(1, 1e9)
ages = st.none() | st.floats(0, 2 * _MAX_AGE)

targets = st.builds(
    Target, type=st.sampled_from(("Disk", "VirtualMachine")) | texts, id=ids
)
backups = st.builds(
    Backup,
    id=ids,
    target=targets,
    built=flags,
    locked=flags,
    marked_for_delete=flags,
    size_bytes=sizes,
    created_at=moments,
    built_at=moments,
    backup_type=texts,
    initiated=periods,
    identifier=texts,
    backup_server_id=st.none() | ids,
    locked_at=moments,
)
expectations = st.builds(
    Expectation,
    own_interval_seconds=intervals,
    fallback_interval_seconds=intervals,
    backup_required=st.none() | flags,
)
servers = st.none() | st.builds(
    Server,
    id=ids,
    identifier=texts,
    label=texts,
    hostname=texts,
    user_id=st.none() | ids,
    hypervisor_id=st.none() | ids,
    suspended=st.none() | flags,
    created_at=moments,
)


failed_backups = st.lists(
    st.builds(
        FailedBackup,
        backup_id=st.none() | ids,
        failed_at=st.floats(_YEAR_ONE, _YEAR_9999),
        target=st.none() | targets,
        cancelled=flags,
    ),
    max_size=2,
).map(tuple)
recovery_points = st.lists(
    st.builds(
        RecoveryPoint,
        id=ids,
        size_bytes=sizes,
        built=flags,
        created_at=moments,
    ),
    max_size=2,
    unique_by=lambda point: point.id,
).map(tuple)
_backup_servers = st.lists(
    st.builds(
        BackupServer,
        id=ids,
        label=texts,
        enabled=st.none() | flags,
        capacity_bytes=sizes,
    ),
    max_size=2,
    unique_by=lambda server: server.id,
).map(tuple)
panel_lists = st.dictionaries(
    st.just(BACKUP_SERVERS),
    st.builds(PanelList, _backup_servers, st.floats(0, 2 * MONOTONIC)),
)
transactions = st.builds(
    Transaction,
    id=st.integers(1, 20),
    action=st.sampled_from(ACTIONS) | texts,
    status=st.sampled_from((*PENDING_STATUSES, *FINAL_STATUSES)) | texts,
    vm_id=st.none() | st.integers(0, 5),
    backup_id=st.none() | ids,
    created_at=moments,
    updated_at=moments,
)


@st.composite
def schedules(draw: st.DrawFn, first_id: int) -> tuple[Schedule, ...]:
    """Make schedules with ids that no other server has."""
    return tuple(
        Schedule(
            id=first_id + number,
            action="autobackup",
            target=draw(targets),
            period=draw(periods),
            duration=draw(st.none() | st.integers(0, 2**63)),
            status=draw(st.sampled_from(("enabled", "disabled", "failed")) | texts),
            next_start_at=draw(moments),
            failure_count=draw(st.none() | st.integers(0, 2**63)),
            retention_backups=draw(st.none() | st.integers(0, 2**63)),
            created_at=draw(moments),
            updated_at=draw(moments),
            ran=draw(flags),
            failed_runs=draw(st.lists(past, max_size=2).map(tuple)),
            changed_at=draw(moments),
        )
        for number in range(draw(st.integers(0, 2)))
    )


@st.composite
def transaction_logs(draw: st.DrawFn) -> TransactionLog:
    """Make a transaction log that was read twice."""
    log = TransactionLog()
    for _ in range(2):
        rows = {row.id: row for row in draw(st.lists(transactions, max_size=4))}
        log.update(
            LogExcerpt(rows),
            owns=lambda vm_id: vm_id != 1,
            now=MONOTONIC,
            time=TIME,
            expires_at=MONOTONIC + draw(st.sampled_from((-1.0, 900.0))),
        )
    return log


@st.composite
def server_entries(draw: st.DrawFn, panel: str, vm_id: int) -> ServerEntry:
    """Make a server in any state: never read, failing, stale or fresh."""
    rows = st.lists(backups, max_size=4, unique_by=lambda backup: backup.id)
    kept = draw(st.none() | rows.map(tuple))
    state = ServerState(
        panel,
        vm_id,
        draw(expectations),
        draw(servers),
        kept,
        schedules=draw(st.none() | schedules(10 * vm_id)),
        recovery_points=draw(st.none() | recovery_points),
        failed_backups=draw(failed_backups),
        partial=draw(st.frozensets(st.sampled_from((BACKUPS, SCHEDULES)))),
        schedules_refused=draw(flags),
        first_read_at=draw(moments),
        resumed_at=draw(moments),
        interval_shortened_at=draw(moments),
    )
    age = draw(ages)
    return ServerEntry(
        state,
        draw(st.none() | flags),
        None if age is None else TIME - age,
        None if age is None else MONOTONIC - age,
        backup_server_usage=() if kept is None else summarize_usage(kept),
    )


@st.composite
def panels(draw: st.DrawFn, name: str) -> PanelStore:
    """Make a panel in any state."""
    numbers = draw(st.lists(ids.filter(bool), max_size=3, unique=True))
    unresolved = st.lists(texts, max_size=2, unique=True).map(tuple)
    accepted = {str(number) for number in numbers}
    nobodys = ServerState(name, NO_SERVER, Expectation(), schedules=draw(schedules(0)))
    return PanelStore(
        name=name,
        url=draw(texts),
        interval_seconds=draw(st.floats(1, 1e6)),
        max_age_seconds=_MAX_AGE,
        longest_silence_seconds=_INTERVAL,
        servers={number: draw(server_entries(name, number)) for number in numbers},
        unresolved=tuple(n for n in draw(unresolved) if n not in accepted),
        version=draw(st.none() | texts),
        reachable=draw(st.none() | flags),
        last_proven_at_monotonic=draw(st.none() | st.floats(0, MONOTONIC)),
        polled_at_monotonic=draw(st.none() | st.floats(0, MONOTONIC)),
        skew_seconds=draw(st.none() | st.floats(-1e9, 1e9)),
        servers_listed=draw(st.none() | st.integers(0, 10**6)),
        inventory_answered=draw(st.none() | flags),
        inventory_succeeded=draw(st.none() | flags),
        inventory_read_at=draw(moments),
        outcomes=draw(
            st.dictionaries(st.tuples(st.just(SCHEDULES), texts), flags, max_size=2)
        ),
        unassigned_schedules=draw(st.sampled_from((None, nobodys))),
        panel_lists=draw(panel_lists),
        transaction_log=draw(st.none() | transaction_logs()),
        overdue_since_monotonic=draw(st.none() | st.floats(0, 2 * MONOTONIC)),
        first_pass_ended=draw(flags),
    )


@st.composite
def stores(draw: st.DrawFn) -> Store:
    """Make a store of up to three panels."""
    names = draw(st.lists(texts, max_size=3, unique=True))
    return a_store(*(draw(panels(name)) for name in names))
