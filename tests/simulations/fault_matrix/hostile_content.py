"""Hostile but well-formed answers, and their effect on ``/metrics``.

Each changes the newest row of the affected lists, or adds one like it. Whatever the
rules do not name must be as without the change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import faults
from builders import DAY, HOUR
from faults import Fault
from harness import NOW

from exporter.demo.panel.encoding import Fields, Timestamp
from fault_matrix.cloud import GIB
from fault_matrix.effects import ALL, PANEL, SCOPES, Expectation, Rules
from fault_matrix.rules import (
    Rule,
    absent,
    as_its_disk,
    as_long_after_success,
    copy_of,
    in_state,
    kept,
    may_rise,
    one_of,
    rises,
    within,
)

BIG = 2**63
LONG = "x" * 1024**2
SHORT = "<1 MiB>"
"""Stands for LONG where scrapes are compared."""
ODD = 'a\x00\x1b[31m\r\n\t\x7f\u2028\\"z'
_NEWEST = {1: 1008, 2: 1009, 3: 1010}
"""The newest backup of each server."""
_POINTS = ((1, 9004), (2, 9002), (3, 9003))
"""The newest recovery point of each."""
_SERVERS = {"one server": (1,), "every server": (1, 2, 3)}

_OF_A_SHARD = re.compile(
    "onapp_(collector_|transactions_|panel_future_dates|backup_server_(backups|used_bytes))"
)
"""Families whose value is one shard's."""


@dataclass(frozen=True)
class HostileContent:
    """A kind of hostile answer."""

    name: str
    make: Callable[[], Fault]
    expected: Mapping[str, Expectation]
    forms: tuple[str, ...] = ("json", "xml")
    impossible: Mapping[str, str] = field(default_factory=dict)


def _newest(resource: str | None, rows: list[Fields]) -> Fields:
    return rows[0 if resource == "transactions" else -1]


def _changed(
    changes: Mapping[str, Fields], rewrite: Callable[[bytes], bytes] = bytes
) -> Callable[[], Fault]:
    """Make a fault that changes the newest row of each of these lists."""

    def change(resource: str | None, rows: list[Fields]) -> None:
        if rows and (resource or "") in changes:
            _newest(resource, rows).update(changes[resource or ""])

    return lambda: faults.edited(change, rewrite)


def _added(changes: Mapping[str, Fields]) -> Callable[[], Fault]:
    """Make a fault that adds a row that is like the newest but for these fields."""

    def change(resource: str | None, rows: list[Fields]) -> None:
        if rows and (resource or "") in changes:
            row = {**_newest(resource, rows), **changes[resource or ""]}
            # The newest transaction comes first: the new one is newer, or after it.
            newer = resource == "transactions" and row["id"] == BIG
            rows.insert(0 if newer else len(rows), row)

    return lambda: faults.edited(change)


def _expected(
    words: Mapping[str, str], rules: Mapping[str, Rules]
) -> dict[str, Expectation]:
    """Return the expectation for each scope where it is possible."""
    return {name: Expectation(words[name], rules.get(name, ())) for name in words}


def _is(family: str, labels: str, value: object) -> Rule:
    """Return the rule that series have this value; None: that they are absent."""
    outcome = absent if value is None else one_of(str(value))
    shard = 'shard="0"' if _OF_A_SHARD.match(family) else ""
    given = ",".join(filter(None, ('panel="cp"', shard, labels)))
    return Rule(re.escape(f"{family}{{{given}"), outcome)


def _each(
    rules: Callable[[int], Rules], sums: Mapping[str, Rules] | None = None
) -> dict[str, Rules]:
    """Return the rules for one server, and for every server, with those for sums."""
    return {
        name: (
            *(rule for server in servers for rule in rules(server)),
            *(sums or {}).get(name, ()),
        )
        for name, servers in _SERVERS.items()
    }


def _target(server: int) -> str:
    kind, number = ("VirtualMachine", 2) if server == 2 else ("Disk", 100 + server)
    return f'vm_id="{server}",target_type="{kind}",target_id="{number}"'


def _stored(scope: object, *, backups: int | None = None, gib: int) -> Rules:
    of = f'backup_server_id="{scope}"'
    used = _is("onapp_backup_server_used_bytes", of, gib * GIB)
    if backups is None:
        return (used,)
    return (used, _is("onapp_backup_server_backups", of, backups))


def _everywhere(rules: Mapping[str, Rules]) -> dict[str, Rules]:
    """Add the rules for the whole panel."""
    every = [r for name, own in rules.items() if name != "one server" for r in own]
    return {**rules, PANEL: tuple(every)}


_LISTS = tuple(name for name in SCOPES if name != "version")
_NO_ROWS = {"version": "a version is no list of rows"}
_NOTHING = "nothing changes"


def _twice() -> HostileContent:
    skipped = Rule('onapp_api_rows_skipped_total.*resource="backups"', rises)
    words = "the first of them counts"
    more = f"{words}, the other is counted in `onapp_api_rows_skipped_total`"
    return HostileContent(
        "duplicate ids",
        _added(
            {
                "virtual_machines": {"label": "double"},
                "backups": {"backup_size": 7},
                "schedules": {"failure_count": 9},
                "disks": {"is_swap": True},
                "transactions": {"status": "complete"},
                "backup_servers": {"label": "double"},
                "recovery_points": {"size": 7},
            }
        ),
        _expected(
            {
                **dict.fromkeys(_LISTS, words),
                **dict.fromkeys(_SERVERS, more),
                PANEL: ALL,
            },
            dict.fromkeys((*_SERVERS, PANEL), (skipped,)),
        ),
        impossible=_NO_ROWS,
    )


def _big() -> HostileContent:
    def one_more(server: int) -> Rules:
        vm = f'vm_id="{server}"'
        new, old = f'backup_id="{BIG}"', f'backup_id="{_NEWEST[server]}"'
        return (
            Rule(rf'onapp_backup_\w+{{panel="cp",{vm},{new}', copy_of(new, old)),
            _is("onapp_vm_backups", f'{vm},state="built"', 4),
            _is("onapp_vm_backup_size_bytes", vm, 4 * GIB),
            _is("onapp_target_backups", f'{_target(server)},state="built"', 4),
        )

    def like(family: str, label: str, number: int) -> Rule:
        new, old = f'{label}="{BIG}"', f'{label}="{number}"'
        return Rule(rf"{family}\w*{{.*{new}", copy_of(new, old))

    sums = {
        "one server": _stored(1, backups=7, gib=7),
        "every server": (
            *_stored(1, backups=8, gib=8),
            *_stored("none", backups=5, gib=4),
        ),
    }
    vm, target = f'vm_id="{BIG}"', f'vm_id="1",target_type="Disk",target_id="{BIG}"'
    counted = _is(
        "onapp_transactions_total", 'action="restore_backup",status="failed"', 2
    )
    rules = _everywhere(
        {
            "inventory": (
                like("onapp_vm_(?:info|suspended|created)", "vm_id", 3),
                _is("onapp_vm_poll_success", vm, 0),
                Rule(f"onapp_vm_state.*{vm}", in_state("poll_failing")),
                _is("onapp_panel_virtual_machines", "", 4),
                _is("onapp_collector_success", 'collector="backups"', 0),
                Rule('onapp_api_errors_total.*"not_found",resource="backups"', rises),
            ),
            **_each(one_more, sums),
            "schedules": (
                like("onapp_schedule_", "schedule_id", 503),
                like("onapp_state_start_", "schedule_id", 503),
                _is("onapp_target_schedules", f'{_target(3)},status="enabled"', 2),
            ),
            "disks": (
                like("onapp_state_start_", "target_id", 104),
                _is("onapp_target_backups", target, 0),
                _is("onapp_target_locked_backups", target, 0),
                _is("onapp_target_marked_for_delete_backups", target, 0),
            ),
            "transactions": (counted,),
            "backup_servers": (like("onapp_backup_server_", "backup_server_id", 2),),
            "recovery_points": tuple(
                Rule(
                    rf'onapp_recovery_point_\w+{{panel="cp",vm_id="{server}",'
                    rf'recovery_point_id="{BIG}"',
                    copy_of(str(BIG), str(point)),
                )
                for server, point in _POINTS
            ),
        }
    )
    accepted = "a row like any other"
    expected = _expected(
        {
            **dict.fromkeys(_LISTS, accepted),
            "inventory": f"{accepted}; the backups of such a server are asked for",
            PANEL: ALL,
        },
        rules,
    )
    # Such a server is asked for until the next inventory.
    asked = Rule('onapp_api_errors_total.*"not_found",resource="backups"', may_rise)
    for name, after in (
        ("inventory", (asked,)),
        ("transactions", (counted,)),
        (PANEL, (asked, counted)),
    ):
        expected[name] = Expectation(
            expected[name].text, expected[name].short, after=after
        )
    return HostileContent(
        "ids of 2^63",
        _added(
            {
                resource: {"id": BIG}
                for resource in SCOPES[PANEL].resources
                if resource != "version"
            }
        ),
        expected,
        impossible=_NO_ROWS,
    )


def _sizes(name: str, size: object) -> HostileContent:
    def unknown(server: int) -> Rules:
        newest = f'vm_id="{server}",backup_id="{_NEWEST[server]}"'
        return (
            _is("onapp_backup_size_bytes", newest, None),
            _is("onapp_target_last_success_size_bytes", _target(server), None),
            _is("onapp_vm_backup_size_bytes", f'vm_id="{server}"', 2 * GIB),
        )

    sums = {
        "one server": _stored(1, gib=5),
        "every server": (*_stored(1, gib=4), *_stored("none", gib=2)),
    }
    rules = _everywhere(
        {
            **_each(unknown, sums),
            "backup_servers": (
                _is("onapp_backup_server_capacity_bytes", 'backup_server_id="2"', None),
            ),
            "recovery_points": tuple(
                _is(
                    "onapp_recovery_point_size_bytes",
                    f'vm_id="{server}",recovery_point_id="{point}"',
                    None,
                )
                for server, point in _POINTS
            ),
        }
    )
    absent = "such a size is absent, the rest of the row counts"
    words = {
        **dict.fromkeys((*_SERVERS, "backup_servers", "recovery_points"), absent),
        **dict.fromkeys(("inventory", "disks"), "nothing changes: it is not used"),
        PANEL: ALL,
    }
    return HostileContent(
        name,
        _changed(
            {
                "virtual_machines": {"memory": size},
                "backups": {"backup_size": size},
                "disks": {"disk_size": size},
                "backup_servers": {"capacity": size},
                "recovery_points": {"size": size},
            }
        ),
        _expected(words, rules),
        impossible=dict.fromkeys(
            ("version", "schedules", "transactions"), "there is no size in it"
        ),
    )


def _dates(name: str, date: str, *, start: int | None = None) -> HostileContent:
    """Change dates; with ``start`` they are possible, and such a start of a schedule.

    Other possible ones that lie in the future are counted.
    """

    def unknown(server: int) -> Rules:
        newest = f'vm_id="{server}",backup_id="{_NEWEST[server]}"'
        before = int(NOW - DAY + 60)
        dated = ("age_seconds", "built_timestamp_seconds", "created_timestamp_seconds")
        return (
            *(_is(f"onapp_backup_{what}", newest, None) for what in dated),
            _is("onapp_target_last_success_timestamp_seconds", _target(server), before),
            Rule(
                rf'onapp_state_start_.*{_target(server)}.*state="(very_)?stale"', kept
            ),
            *(
                # What it had overtaken is pending again.
                (
                    Rule('onapp_target_oldest_pending.*vm_id="3"', kept),
                    Rule('onapp_state_start_.*state="stuck', kept),
                    Rule('onapp_state_start_.*_failing"', as_long_after_success),
                )
                if server == 3
                else ()
            ),
            *(
                ()
                if server == 1  # its recovery point is newer
                else (
                    _is(
                        "onapp_vm_last_success_timestamp_seconds",
                        f'vm_id="{server}"',
                        before,
                    ),
                )
            ),
        )

    newest_of_1 = Rule(
        'onapp_vm_last_success_timestamp_seconds{panel="cp",vm_id="1"', as_its_disk
    )
    rules: dict[str, Rules] = {
        "inventory": (_is("onapp_vm_created_timestamp_seconds", 'vm_id="3"', None),),
        **_each(unknown),
        # It counts from when it was first listed.
        "disks": (
            Rule(
                'onapp_state_start_.*"104".*"disk_unprotected"',
                within(NOW + 26 * HOUR, NOW + 27 * HOUR),
            ),
        ),
        "schedules": (
            _is(
                "onapp_schedule_next_start_timestamp_seconds",
                'schedule_id="503"',
                start,
            ),
        ),
        "recovery_points": (
            *(
                _is(
                    "onapp_recovery_point_created_timestamp_seconds",
                    f'vm_id="{server}",recovery_point_id="{point}"',
                    None,
                )
                for server, point in _POINTS
            ),
            newest_of_1,
        ),
    }
    rules = _everywhere(rules)
    of_1 = 'vm_id="1"'
    last = _is("onapp_vm_last_success_timestamp_seconds", of_1, int(NOW - DAY + 60))
    rules[PANEL] = (last, *(rule for rule in rules[PANEL] if rule is not newest_of_1))
    absent = "such a date is absent, as if the panel had not sent it"
    if start is not None:
        absent += ", and counted in `onapp_panel_future_dates`"
        counts = {"inventory": 1, "one server": 1, "every server": 3, "disks": 1}
        for scope, count in {**counts, "recovery_points": 3, PANEL: 8}.items():
            rules[scope] += (_is("onapp_panel_future_dates", "", count),)
    words = {
        **dict.fromkeys(_LISTS, absent),
        **dict.fromkeys(_SERVERS, f"{absent}: the backup before is the last success"),
        "recovery_points": f"{absent}: it counts no longer as the last success",
        "disks": f"{absent}: a new disk is taken to be as old as its server",
        "backup_servers": "nothing changes: it is not used",
        "transactions": "it counts all the same",
        **({} if start is None else {"schedules": "a start may be in the future"}),
        PANEL: ALL,
    }
    dates = {name: Timestamp(date) for name in ("created_at", "updated_at", "built_at")}
    others = (
        *("virtual_machines", "disks", "transactions", "backup_servers"),
        "recovery_points",
    )
    return HostileContent(
        name,
        _changed(
            {
                **dict.fromkeys((*others, "backups"), dates),
                "schedules": {"start_at": Timestamp(date)},
            }
        ),
        _expected(words, rules),
        impossible={"version": "there is no date in it"},
    )


def _text(
    name: str,
    text: str,
    words: str,
    forms: tuple[str, ...] = ("json", "xml"),
    rewrite: Callable[[bytes], bytes] = bytes,
) -> HostileContent:
    escaped = (
        text.replace(LONG, SHORT)
        .replace("\\", r"\\")
        .replace("\n", r"\n")
        .replace('"', r"\"")
    )
    backups = _each(
        lambda server: (
            _is(
                "onapp_backup_info",
                f'vm_id="{server}",backup_id="{_NEWEST[server]}",'
                f'identifier="{escaped}"',
                1,
            ),
            _is(
                "onapp_backup_info",
                f'vm_id="{server}",backup_id="{_NEWEST[server]}"',
                None,
            ),
        )
    )
    versions = (
        Rule(
            r'onapp_panel_info{.*version="(?!6)' + re.escape(escaped) + '"}',
            one_of("1"),
        ),
        Rule("onapp_panel_info", absent),
    )
    rules = _everywhere(
        {
            "version": versions,
            "inventory": (
                Rule(f'onapp_vm_info{{.*label="{re.escape(escaped)}"', one_of("1")),
                Rule('onapp_vm_info{.*label="renamed"', absent),
                Rule('onapp_vm_info{.*label="web-3"', absent),
            ),
            **backups,
            "backup_servers": (
                _is(
                    "onapp_backup_server_info",
                    f'backup_server_id="2",label="{escaped}"',
                    1,
                ),
                _is("onapp_backup_server_info", 'backup_server_id="2"', None),
            ),
        }
    )
    shown = dict.fromkeys(rules, words)
    unseen = ("schedules", "disks", "transactions", "recovery_points")
    return HostileContent(
        name,
        _changed(
            {
                "version": {"version": text},
                "virtual_machines": {"label": text},
                "backups": {"identifier": text},
                "schedules": {"note": text},
                "disks": {"identifier": text},
                "transactions": {"log_output": text},
                "backup_servers": {"label": text},
                "recovery_points": {"note": text},
            },
            rewrite,
        ),
        _expected(
            {
                **shown,
                **dict.fromkeys(unseen, "nothing changes: it is not used"),
                PANEL: ALL,
            },
            rules,
        ),
        forms,
    )


def _without_character(body: bytes) -> bytes:
    """Write halves of surrogate pairs or control characters for U+FFFD."""
    half = b"&#xD83D;\x01" if body.startswith(b"<") else rb"\udc00\ud83d"
    for written in (rb"\ufffd\ufffd", "\ufffd\ufffd".encode()):
        body = body.replace(written, half)
    return body


CONTENTS = (
    _twice(),
    _big(),
    _sizes("negative sizes", -1),
    _sizes("sizes that are no numbers", "much"),
    _dates("dates in 1969", "1969-07-20T20:17:40Z"),
    _dates("dates in 9999", "9999-12-31T23:59:59Z"),
    _dates("dates in 200 days", "2027-08-03T08:00:00Z", start=int(NOW + 200 * DAY)),
    _text("a label of 1 MiB", LONG, "it is shown as it is"),
    _text("control characters", ODD, "they are shown as they are", ("json",)),
    _text(
        "broken escapes",
        "a\ufffd\ufffdz",
        "what is no character is shown as U+FFFD; all else counts",
        rewrite=_without_character,
    ),
)
