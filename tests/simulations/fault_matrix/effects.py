"""The effect of each kind of fault on ``/metrics``, by what it affects.

For a short time the last good values stay. Once the fault lasts longer than
``max_age``, old values go. Afterwards everything is as without a fault. Beside the
rules are the sentences of ``docs/reliability.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fault_matrix.cloud import TIMEOUT_SECONDS
from fault_matrix.rules import (
    Outcome,
    Rule,
    absent,
    as_its_disk,
    as_long_after_success,
    as_many_as_in_that_state,
    at_most,
    between,
    in_state,
    judged_as_before,
    judged_as_before_or_now,
    judged_as_now,
    kept,
    lower_or_absent,
    may_rise,
    near,
    new_or_absent,
    old_or_new,
    one_of,
    recent,
    rises,
    same_as_reference,
    since_the_fault,
    too_old_after_its_last_read,
)

PANEL = "everything"
ALL = "all of these"


@dataclass(frozen=True)
class Scope:
    """The part of a panel that a fault affects."""

    name: str
    shown: str
    """Its name in the documentation."""
    resources: tuple[str, ...]
    fault_arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that place a fault in the simulated panel."""


def _scope(resource: str, shown: str) -> Scope:
    return Scope(resource, shown, (resource,), {"resource": resource})


SCOPES = {
    scope.name: scope
    for scope in (
        _scope("version", "the version"),
        Scope(
            "inventory",
            "the list of servers",
            ("virtual_machines",),
            {"path": "/virtual_machines"},
        ),
        Scope(
            "one server",
            "the backups of one server",
            ("backups",),
            {"resource": "backups", "server_id": 1},
        ),
        Scope(
            "every server",
            "the backups of every server",
            ("backups",),
            {"resource": "backups"},
        ),
        _scope("schedules", "schedules"),
        _scope("disks", "disks"),
        _scope("transactions", "transactions"),
        _scope("backup_servers", "backup servers"),
        _scope("recovery_points", "recovery points"),
        Scope(
            PANEL,
            "every request",
            (
                *("version", "virtual_machines", "backups", "schedules", "disks"),
                *("transactions", "backup_servers", "recovery_points"),
            ),
        ),
    )
}


Rules = tuple[Rule, ...]


@dataclass(frozen=True)
class Expectation:
    """What ``/metrics`` says during a fault: as rules and in words."""

    text: str
    short: Rules
    long_text: str = ""
    long: Rules = ()
    after: Rules = ()
    """What remembers it, beside the counters of requests."""


ALWAYS = (
    Rule("process_|python_", lambda *_: True),
    # Compared by other means: with what the panel has answered.
    Rule("onapp_api_(requests_total|request_duration_seconds)", lambda *_: True),
    Rule("onapp_collector_duration_seconds", at_most(3 * TIMEOUT_SECONDS)),
    Rule("onapp_panel_servers", as_many_as_in_that_state),
    Rule(r'onapp_state_start_.*state="data_old"', too_old_after_its_last_read),
)
"""What differs between any two runs, or follows from the rest of a scrape."""

# The panel's header is cut to seconds: the rest of the last one is left over.
IN_STEP = Rule("onapp_panel_clock_skew_seconds", near(0.0))

AFTER = (
    Rule("onapp_inventory_last_success_timestamp_seconds", recent),
    Rule("onapp_api_(errors|rows_skipped)_total", kept),
)
"""What remembers a fault that is over: counters, and when it was noticed to be."""

_CP = r'\{panel="cp",'
_BACKUPS = (
    r"onapp_(backup_(?!server)\w+|target_(?!schedules|expected)\w+|vm_backups"
    r"|vm_backup_size_bytes|vm_backup_in_time|vm_last_success_timestamp_seconds"
    r"|state_start_\w+|recovery_point_\w+)" + _CP
)
_NEW_DISK = r"onapp_(target|state_start)_\w+\{.*target_id=\"104\""
_STATE = "onapp_vm_state"
_NO_INTERVAL = Rule(_STATE + r'.*vm_id="[23]"', in_state("interval_unknown"))


def _collector(name: str, outcome: Outcome) -> Rule:
    return Rule(rf'onapp_collector_success{_CP}shard="0",collector="{name}"', outcome)


def _up(value: str) -> Rule:
    return Rule("onapp_up", one_of(value))


def _of(servers: str, family: str, outcome: Outcome) -> Rule:
    return Rule(rf'{family}vm_id="[{servers}]"', outcome)


_NOT_READ = (
    _collector("backups", one_of("0")),
    _of("123", "onapp_vm_poll_success" + _CP, one_of("0")),
    _of("123", "onapp_vm_last_poll_success_timestamp_seconds" + _CP, kept),
)
_ONE_NOT_READ = (
    _collector("backups", one_of("0")),
    _of("1", "onapp_vm_poll_success" + _CP, one_of("0")),
    _of("1", "onapp_vm_last_poll_success_timestamp_seconds" + _CP, kept),
)
_ON = r"onapp_backup_server_{}\{{.*backup_server_id=\"{}\""
_ASKED_ELSE = Rule("onapp_inventory_last_success_timestamp_seconds", recent)
"""After a failure the panel is asked for itself at other moments."""

_TOO_OLD = (
    Rule(_BACKUPS, absent),
    Rule("onapp_target_(schedules|expected_interval_)", absent),
    Rule("onapp_(backup_server|transactions|schedule)_", absent),
    Rule("onapp_vm_backup_required", absent),
)
"""What goes when nothing can be read for longer than ``max_age``."""

_SCHEDULES_GONE = (
    Rule("onapp_schedule_", absent),
    Rule("onapp_target_(schedules|expected_interval_)", absent),
    Rule('onapp_state_start_.*(_stale|"stale|schedule_failing)"', absent),
    _NO_INTERVAL,
    Rule("onapp_vm_backup_in_time", absent),
    _of("2", "onapp_vm_backup_required" + _CP, absent),
)

_LATE = Rule("onapp_poll_lag_seconds", since_the_fault)


def _unheard(polled: Outcome) -> Rules:
    """Return the rules of a panel of which nothing is heard."""
    return (
        _up("0"),
        _collector(r"\w+", one_of("0", "1")),
        Rule("onapp_vm_poll_success", polled),
        _LATE,
        IN_STEP,
    )


def _as_long_as_it_lasts(text: str, *rules: Rule) -> Expectation:
    """Return the expectation of a fault whose effect does not depend on its length."""
    return Expectation(text, rules, "the same", rules)


def _list_failed(
    collector: str, text: str, short: Rules, long_text: str, long: Rules
) -> Expectation:
    """Return the expectation of a list that cannot be read."""
    failed = _collector(collector, one_of("0"))
    return Expectation(
        f'`onapp_collector_success{{collector="{collector}"}}` 0; {text}',
        (failed, *short),
        long_text,
        (failed, *long),
    )


_POINT_UNKNOWN = _of("1", "onapp_vm_last_success_timestamp_seconds" + _CP, as_its_disk)

_FAILED: Mapping[str, Expectation] = {
    "version": _as_long_as_it_lasts(
        "`onapp_up` 0, `onapp_panel_info` stays; everything else is read on",
        _up("0"),
        Rule("onapp_panel_info", kept),
        _ASKED_ELSE,
    ),
    "inventory": _as_long_as_it_lasts(
        '`onapp_up` 0, `onapp_collector_success{collector="inventory"}` 0; servers '
        "neither come nor go nor change, all of them are read on",
        _up("0"),
        _collector("inventory", one_of("0")),
        Rule("onapp_vm_info", kept),
        Rule("onapp_inventory_last_success_timestamp_seconds", kept),
    ),
    "one server": Expectation(
        "its `onapp_vm_poll_success` 0 and its last good values, its state at least "
        "`poll_failing`, later `data_old`; "
        '`onapp_collector_success{collector="backups"}` 0; no other server is touched',
        (
            *_ONE_NOT_READ,
            Rule(_NEW_DISK, same_as_reference),
            Rule(_STATE, judged_as_now),
            _of("1", _BACKUPS, kept),
            Rule(_ON.format("backups", 1), one_of("5")),
            Rule(_ON.format("used_bytes", 1), one_of(str(5 * 2**30))),
        ),
        "all that is made from its backups is gone, and missing in the sums of backup "
        "servers; what the inventory says of it stays",
        (
            *_ONE_NOT_READ,
            _of("1", _BACKUPS, absent),
            _of("1", _STATE + _CP, judged_as_before),
            Rule(_ON.format("backups", 1), one_of("3")),
            Rule(_ON.format("used_bytes", 1), one_of(str(3 * 2**30))),
        ),
    ),
    "every server": Expectation(
        "the same of each; `onapp_up` stays 1",
        (
            *_NOT_READ,
            Rule(_NEW_DISK, same_as_reference),
            Rule(_STATE, judged_as_now),
            Rule('onapp_state_start_.*"schedule_failing"', as_long_after_success),
            Rule(_BACKUPS, kept),
            Rule(r"onapp_backup_server_(backups|used_bytes)", kept),
            _ASKED_ELSE,
        ),
        "the same of each",
        (
            *_NOT_READ,
            Rule(_BACKUPS, absent),
            Rule(_STATE, judged_as_before),
            Rule(_ON.format("(backups|used_bytes)", "none"), absent),
            Rule(r"onapp_backup_server_(backups|used_bytes)", one_of("0")),
            _ASKED_ELSE,
        ),
    ),
    "schedules": _list_failed(
        "schedules",
        "schedules stay as they were",
        (
            Rule("onapp_schedule_", kept),
            Rule('onapp_state_start_.*"schedule_failing"', kept),
        ),
        "schedules, expected intervals and the states made from them are gone; "
        "servers are `interval_unknown`, and `onapp_vm_backup_required` and "
        "`_in_time` absent, where no other source says",
        _SCHEDULES_GONE,
    ),
    "disks": _list_failed(
        "schedules",
        "targets stay as they were",
        (Rule(_NEW_DISK, absent), Rule(_STATE, judged_as_before)),
        "disks without any backup are no targets; schedules of disks are tied to their "
        "servers by backups",
        (Rule(_NEW_DISK, absent), Rule(_STATE, judged_as_before)),
    ),
    "transactions": _list_failed(
        "transactions",
        "nothing is counted",
        (Rule("onapp_transactions_total", kept),),
        "`onapp_transactions_pending` and the oldest one are gone",
        (
            Rule("onapp_transactions_total", kept),
            Rule("onapp_transactions_(pending|oldest)", absent),
        ),
    ),
    "backup_servers": _list_failed(
        "backup_servers",
        "what is known of them stays",
        (Rule("onapp_backup_server_(info|enabled|capacity)", kept),),
        "what the panel says of them is gone; the sums of the polled backups stay",
        (
            Rule("onapp_backup_server_(info|enabled|capacity)", absent),
            Rule(_ON.format("(backups|used_bytes)", 2), absent),
        ),
    ),
    "recovery_points": _list_failed(
        "recovery_points",
        "recovery points stay as they were",
        (Rule("onapp_recovery_point_", kept), _POINT_UNKNOWN),
        "`onapp_recovery_point_*` are gone, and count no longer as a success",
        (Rule("onapp_recovery_point_", absent), _POINT_UNKNOWN),
    ),
    PANEL: Expectation(
        "`onapp_up` 0, all values stay as they were; `onapp_poll_lag_seconds` rises",
        (
            *_unheard(one_of("0", "1")),
            Rule(_STATE, judged_as_before),
            Rule("onapp_", kept),
        ),
        "`onapp_vm_poll_success` 0; only what the inventory says of servers, and "
        "counters, are left",
        (
            *_unheard(one_of("0")),
            Rule(_STATE, judged_as_before),
            Rule("onapp_transactions_total", kept),
            *_TOO_OLD,
            Rule("onapp_", kept),
        ),
    ),
}

_TIMES = Rule("onapp_vm_last_poll_success_timestamp_seconds", recent)


def _also(expected: Expectation, *rules: Rule, first: bool = False) -> Expectation:
    """Return the same with more rules."""

    def joined(own: Rules) -> Rules:
        return (*rules, *own) if first else (*own, *rules)

    return Expectation(
        expected.text, joined(expected.short), expected.long_text, joined(expected.long)
    )


_WAITING = {
    **{
        name: expected if name == PANEL else _also(expected, _TIMES, _ASKED_ELSE, _LATE)
        for name, expected in _FAILED.items()
    },
    "version": Expectation(
        "`onapp_up` 0; the exporter treats the panel as overloaded, and asks seldom",
        (
            _up("0"),
            Rule("onapp_panel_info", kept),
            Rule("onapp_vm_last_poll_success_timestamp_seconds", may_rise),
            Rule("onapp_inventory_last_success_timestamp_seconds", may_rise),
            Rule("onapp_backup_server_(backups|used_bytes)", between),
            _LATE,
            Rule(_STATE, judged_as_before_or_now),
            Rule("onapp_", old_or_new),
        ),
        "what could not be read in time is gone",
        (
            _up("0"),
            Rule("onapp_panel_info", kept),
            Rule("onapp_vm_poll_success", one_of("0", "1")),
            Rule("onapp_collector_success", one_of("0", "1")),
            Rule("onapp_vm_last_poll_success_timestamp_seconds", may_rise),
            Rule("onapp_inventory_last_success_timestamp_seconds", may_rise),
            Rule("onapp_backup_server_(backups|used_bytes)", lower_or_absent),
            _LATE,
            IN_STEP,
            Rule(_STATE, judged_as_before_or_now),
            Rule("onapp_", new_or_absent),
        ),
    ),
    "schedules": Expectation(
        f"{_FAILED['schedules'].text}; disks, which come after them, too",
        (
            *_FAILED["schedules"].short,
            Rule(_NEW_DISK, absent),
            Rule(_STATE, judged_as_before),
            _TIMES,
            _ASKED_ELSE,
            _LATE,
        ),
        _FAILED["schedules"].long_text,
        (
            _collector("schedules", one_of("0")),
            *(rule for rule in _SCHEDULES_GONE[:-1] if rule is not _NO_INTERVAL),
            Rule("onapp_vm_backup_required", absent),
            Rule(_NEW_DISK, absent),
            Rule(_STATE, in_state("interval_unknown")),
            _TIMES,
            _ASKED_ELSE,
            _LATE,
        ),
    ),
}

_REFUSED = {
    **_FAILED,
    "version": _as_long_as_it_lasts(
        "`onapp_panel_info` stays; nothing else", Rule("onapp_panel_info", kept)
    ),
    # Each server is asked by itself then, at once.
    "schedules": _also(_FAILED["schedules"], _TIMES),
    "disks": _also(_FAILED["disks"], _TIMES),
}

_REFUSED_WHEN_READ = (
    Rule("onapp_panel_credentials_refused", one_of("1")),
    Rule("onapp_vm_last_poll_success_timestamp_seconds", between),
    Rule("onapp_inventory_last_success_timestamp_seconds", may_rise),
)
_LEFT_ALONE = Expectation(
    "`onapp_panel_credentials_refused` 1, `onapp_up` 0: nothing is sent any more, and "
    "all values stay as they were",
    (
        *_unheard(one_of("0", "1")),
        *_REFUSED_WHEN_READ,
        Rule(_STATE, judged_as_before_or_now),
        Rule("onapp_backup_server_(backups|used_bytes)", between),
        # Where the cookie may be what was refused, one more server is read meanwhile.
        Rule("onapp_(vm|target)_last_success_timestamp_seconds", between),
        Rule("onapp_", old_or_new),
    ),
    "`onapp_vm_poll_success` 0; only what the inventory says of servers, and "
    "counters, are left",
    (
        *_unheard(one_of("0")),
        *_REFUSED_WHEN_READ,
        Rule(_STATE, judged_as_before),
        Rule("onapp_transactions_total", old_or_new),
        *_TOO_OLD,
        Rule("onapp_", old_or_new),
    ),
)

_AS_EVER = Expectation("nothing changes", ())

_CUT_SHORT = {
    **dict.fromkeys(SCOPES, _AS_EVER),
    # The newest backup may be among those that are not listed.
    **{scope: _FAILED[scope] for scope in ("one server", "every server")},
    "inventory": Expectation(
        'what is listed is taken; `onapp_collector_success{collector="inventory"}` 0, '
        "and no server goes",
        (
            _collector("inventory", one_of("0")),
            Rule("onapp_inventory_last_success_timestamp_seconds", kept),
        ),
    ),
    **{
        scope: Expectation(
            f'what is listed is taken; `onapp_collector_success{{collector="{name}"}}`'
            " 0",
            (_collector(name, one_of("0")),),
        )
        for scope, name in (
            *(("schedules", "schedules"), ("disks", "schedules")),
            *((name, name) for name in ("backup_servers", "recovery_points")),
        )
    },
    PANEL: Expectation(
        ALL,
        (
            _collector("(inventory|schedules|backup_servers)", one_of("0")),
            *_FAILED["every server"].short,
            Rule("onapp_inventory_last_success_timestamp_seconds", kept),
        ),
        ALL,
        (
            _collector("(inventory|schedules|backup_servers)", one_of("0")),
            *_FAILED["every server"].long,
            Rule("onapp_inventory_last_success_timestamp_seconds", kept),
        ),
    ),
}

FAILED = "failed"
WAITING = "asked to wait"
REFUSED = "refused"
UNAUTHORIZED = "unauthorized"
CUT_SHORT = "cut short"
NO_EFFECT = "as ever"
EFFECTS: Mapping[str, Mapping[str, Expectation]] = {
    FAILED: _FAILED,
    WAITING: _WAITING,
    REFUSED: _REFUSED,
    UNAUTHORIZED: dict.fromkeys(SCOPES, _LEFT_ALONE),
    CUT_SHORT: _CUT_SHORT,
    NO_EFFECT: dict.fromkeys(SCOPES, _AS_EVER),
}


def errors(scope: Scope, reason: str | None) -> Rules:
    """Return the rules for error counters while requests fail with a reason."""
    if reason is None:
        return ()
    if scope.name == PANEL:
        return (Rule(rf'onapp_api_errors_total.*reason="{reason}"', may_rise),)
    (resource,) = scope.resources
    series = rf'onapp_api_errors_total.*reason="{reason}",resource="{resource}"'
    # Whoever is being waited for is late.
    late = Rule("onapp_poll_lag_seconds", at_most(TIMEOUT_SECONDS))
    return (Rule(series, rises), *((late,) if reason == "timeout" else ()))
