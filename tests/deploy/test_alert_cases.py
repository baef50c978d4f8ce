"""Tests that alerts fire when they should, and only then: by Prometheus' promtool.

A case holds series as exporters give them and every alert that then fires. promtool
tries many at once: a label that rules must keep, `case`, tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_rules import RULES, alerting_rules, rule_groups
from prometheus_versions import Promtool

Series = dict[str, str]
"""Values in promtool's notation, by series without `job` and `panel`."""
Alert = tuple[str, str]
"""Name and severity."""
Case = tuple[Series, Mapping[int, Iterable[Alert]]]
"""What exporters give, and what fires at some moments: all of it, so nothing else."""

HOUR = 60
"""In minutes, as are all moments here but the values of series."""
DAY = 24 * HOUR
AWAY = (12, 13)
"""The minutes of every fourteen in which an exporter cannot be scraped."""

_SERVER = 'vm_id="5"'
_DISK = 'vm_id="5", target_type="Disk", target_id="106"'
_SCHEDULE = f'{_DISK}, schedule_id="9"'
_NAME = "ci-failed (ID 5, ci-failed.example.com) on panel demo"


@dataclass(frozen=True)
class Moment:
    """An alert that compares a moment."""

    alert: str
    severity: str
    state: str
    labels: str
    well: str = ""
    """What a replica says that knows that all is well, where it has no moment then."""
    text: str = ""
    more: Series = field(default_factory=dict)
    """What else is there, for the text."""


_SUCCESS = f"onapp_target_last_success_timestamp_seconds{{{_DISK}}}"
_INTERVAL = f"onapp_target_expected_interval_seconds{{{_DISK}}}"
_STALE_TEXT = (
    f"Last good backup of disk 106 of {_NAME} was 4 d 1 h ago; one is expected every "
    "1 d."
)
_STALE = {_SUCCESS: "-345600x61", _INTERVAL: "86400x61"}
_STUCK_TEXT = (
    f"A backup run of disk 106 of {_NAME} has not ended since it was created 7 h ago. "
    "Its schedule starts no other run before this one ends."
)
_PENDING = {
    f"onapp_target_oldest_pending_timestamp_seconds{{{_DISK}}}": "-21600x61",
    f'onapp_target_backups{{{_DISK}, state="unbuilt"}}': "1x61",
}
MOMENTS = [
    Moment(
        "OnAppBackupDataOld",
        "warning",
        "data_old",
        _SERVER,
        text=f"The backups of {_NAME} have not been read for longer than two poll "
        "intervals. Since 1970-01-01 00:10:00 +0000 UTC, no other alert can report on "
        "this server.",
    ),
    Moment(
        "OnAppServerUnprotected",
        "critical",
        "unprotected",
        _SERVER,
        f"onapp_vm_last_success_timestamp_seconds{{{_SERVER}}} 60x61",
        f"{_NAME} must have backups, but has neither a built backup nor a recovery "
        "point. It cannot be restored.",
    ),
    Moment(
        "OnAppDiskUnprotected",
        "warning",
        "disk_unprotected",
        _DISK,
        f"{_SUCCESS} 60x61",
        f"Disk 106 of {_NAME} has no built backup, while other disks of this server "
        "have some. The disk cannot be restored.",
    ),
    Moment(
        "OnAppBackupStale", "warning", "stale", _DISK, text=_STALE_TEXT, more=_STALE
    ),
    Moment(
        "OnAppBackupVeryStale",
        "critical",
        "very_stale",
        _DISK,
        text=_STALE_TEXT,
        more=_STALE,
    ),
    Moment(
        "OnAppBackupStuck",
        "warning",
        "stuck",
        _DISK,
        f'onapp_target_backups{{{_DISK}, state="unbuilt"}} 0x61',
        _STUCK_TEXT,
        _PENDING,
    ),
    Moment(
        "OnAppBackupStuck",
        "critical",
        "stuck_long",
        _DISK,
        f'onapp_target_backups{{{_DISK}, state="unbuilt"}} 0x61',
        _STUCK_TEXT,
        _PENDING,
    ),
    Moment(
        "OnAppBackupFailed",
        "warning",
        "failed",
        _DISK,
        f"{_SUCCESS} 601x61",
        f"A backup run of disk 106 of {_NAME} failed at 1970-01-01 00:10:00 +0000 UTC, "
        "and none has succeeded since.",
        {_SUCCESS: "-86400x61"},
    ),
    Moment(
        "OnAppBackupFailed",
        "warning",
        "failed",
        _SERVER,
        f"onapp_vm_last_success_timestamp_seconds{{{_SERVER}}} 601x61",
        f"A backup run of {_NAME} failed at 1970-01-01 00:10:00 +0000 UTC, and none "
        "has succeeded since.",
        {f"onapp_vm_last_success_timestamp_seconds{{{_SERVER}}}": "-86400x61"},
    ),
    Moment(
        "OnAppBackupLockedLong",
        "warning",
        "locked",
        _DISK,
        f"onapp_target_locked_backups{{{_DISK}}} 0x61",
        f"A backup of disk 106 of {_NAME} has been locked for more than three days. It "
        "cannot be restored or rotated.",
        {f"onapp_target_locked_backups{{{_DISK}}}": "1x61"},
    ),
    Moment(
        "OnAppScheduleOverdue",
        "warning",
        "schedule_overdue",
        _SCHEDULE,
        'onapp_schedule_next_start_timestamp_seconds{schedule_id="9"} 90000x61',
        f"Schedule 9 of disk 106 of {_NAME} should have started a backup run more than "
        "three hours ago, and none is in progress.",
        {'onapp_schedule_next_start_timestamp_seconds{schedule_id="9"}': "-9000x61"},
    ),
    Moment(
        "OnAppScheduleFailing",
        "warning",
        "schedule_failing",
        _SCHEDULE,
        f"{_SUCCESS} -1800x61",
        f"The last backup run of schedule 9 of disk 106 of {_NAME} failed, and no good "
        "backup has followed.",
        {_SUCCESS: "-86400x61"},
    ),
    Moment(
        "OnAppScheduleFailing",
        "critical",
        "schedule_failed",
        _SCHEDULE,
        'onapp_schedule_status{schedule_id="9", status="enabled"} 1x61',
        f"Schedule 9 of disk 106 of {_NAME} has the status failed. It starts no more "
        "backup runs.",
        {'onapp_schedule_status{schedule_id="9", status="enabled"}': "0x61"},
    ),
    Moment(
        "OnAppScheduleDisabled",
        "warning",
        "unscheduled",
        _DISK,
        f'onapp_target_schedules{{{_DISK}, status="enabled"}} 1x61',
        f"No enabled schedule covers disk 106 of {_NAME} any more, because it was "
        "disabled or deleted. No more backups are made.",
        {f'onapp_target_schedules{{{_DISK}, status="enabled"}}': "0x61"},
    ),
]
_INFO = 'onapp_vm_info{vm_id="5", label="ci-failed", hostname="ci-failed.example.com"}'
_TEN_MINUTES = "600x61"


def _labelled(series: str, extra: str) -> str:
    if "{" not in series:
        series += "{}"
    name, _, rest = series.partition("{")
    return f"{name}{{{extra}{rest}".replace(", }", "}")


def of(instance: str, series: Series, more: str = "") -> Series:
    """Return the series as one exporter's."""
    own = f'{more}instance="{instance}", '
    return {_labelled(name, own): values for name, values in series.items()}


def gaps(values: str, minutes: Iterable[int], of_every: int = 14) -> str:
    """Return constant values of which some scrapes were lost."""
    value, _, count = values.partition("x")
    away = {*minutes}
    return " ".join(
        "stale" if minute % of_every in away else value
        for minute in range(int(count) + 1)
    )


def moment_series(one: Moment, moment: str = _TEN_MINUTES) -> Series:
    """Return what an exporter gives of a state."""
    name = f'onapp_state_start_timestamp_seconds{{{one.labels}, state="{one.state}"}}'
    return {name: moment, _INFO: "1x61", **one.more}


def well_series(one: Moment) -> Series:
    """Return what a replica gives that knows that all is well."""
    if not one.well:  # the moment is always there: a later one
        return moment_series(one, "90000x61")
    name, _, values = one.well.rpartition(" ")
    return {name: values, _INFO: "1x61"}


def promtool_test(
    cases: Mapping[str, Case], alert_texts: Iterable[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Return cases, and what alerts say after an hour, as one test of promtool's."""
    return {
        "input_series": [
            {"series": _of_case(series, name), "values": values}
            for name, (of_case, _) in cases.items()
            for series, values in of_case.items()
        ],
        "promql_expr_test": [
            {
                "expr": "count by (alertname, severity) "
                f"(ALERTS{{alertstate='firing', case='{name}'}})",
                "eval_time": f"{minute}m",
                "exp_samples": [
                    {
                        "labels": f'{{alertname="{alert}", severity="{severity}"}}',
                        "value": 2 if "two clusters" in name else 1,
                    }
                    for alert, severity in alerts
                ],
            }
            for name, (_, firing) in cases.items()
            for minute, alerts in firing.items()
        ],
        "alert_rule_test": [
            {"eval_time": "60m", "alertname": name, "exp_alerts": list(expected)}
            for name, expected in groupby(
                alert_texts, lambda text: text["exp_labels"].pop("alertname")
            )
        ],
    }


def _of_case(series: str, case: str) -> str:
    own = f'case="{case}", '
    if "job=" not in series:
        own += 'job="onapp-backups", '
    if not series.startswith(("up", "process", "onapp_exporter")):
        own += 'panel="demo", '
    return _labelled(series, own)


Run = Callable[..., None]


@pytest.fixture
def run(promtool: Promtool, tmp_path: Path) -> Run:
    """Return a function that lets promtool try a test, sampled at an interval."""

    def run(
        test: dict[str, Any], interval: str = "1m", *, evaluation: str = ""
    ) -> None:
        file = tmp_path / "cases.yml"
        rules = {
            "rule_files": [str(one) for one in RULES],
            "evaluation_interval": evaluation or interval,
            "tests": [test | {"interval": interval}],
        }
        file.write_text(yaml.safe_dump(rules))
        assert "SUCCESS" in promtool("test", "rules", file)

    return run


def of_moments(case: Callable[[Moment, Alert], dict[str, Case]]) -> dict[str, Case]:
    """Return cases of all alerts that compare a moment."""
    return {
        f"{one.state}-{one.labels.count('=')}: {name}": made
        for one in MOMENTS
        for name, made in case(one, (one.alert, one.severity)).items()
    }


def test_alerts_begin_with_their_moments_and_end_after_them(run: Run) -> None:
    """Within ten minutes; a moment to come or gone is none."""

    def cases(one: Moment, alert: Alert) -> dict[str, Case]:
        over = moment_series(one, "600x29 stale _x30")
        to_come = moment_series(one, "90000x61")
        return {
            "over": (
                of("a", over),
                {10: set(), 20: {alert}, 29: {alert}, 50: set()},
            ),
            "lasting": (of("a", moment_series(one)), {60: {alert}}),
            "to come": (of("a", to_come), {60: set()}),
        }

    shipped = {group["name"]: group["interval"] for group in rule_groups()}
    run(promtool_test(of_moments(cases)), evaluation=shipped["onapp-backups"])


def test_alerts_say_what_is_wrong_and_where(run: Run) -> None:
    """A name of another cluster is none, also where one has no such label."""
    cases: dict[str, Case] = {}
    texts = []
    for one in sorted(MOMENTS, key=lambda one: one.alert):
        ill = moment_series(one)
        nameless = {name: values for name, values in ill.items() if name != _INFO}
        other = of("a", {_INFO.replace("ci-failed", "other"): "1x61"}, 'cluster="eu", ')
        rule = next(
            rule
            for rule in alerting_rules()
            if (rule["alert"], rule["labels"]["severity"]) == (one.alert, one.severity)
        )
        case = f"{one.state}-{one.labels.count('=')}"
        cases[case] = of("a", ill), {}
        cases[f"{case} nameless"] = of("a", nameless) | other, {}
        for name, text in (
            (case, one.text),
            (
                f"{case} nameless",
                one.text.replace(_NAME, "server 5 on panel demo"),
            ),
        ):
            labels = dict(
                pair.split("=") for pair in one.labels.replace('"', "").split(", ")
            )
            labels |= {"alertname": one.alert, "severity": one.severity, "case": name}
            texts.append(
                {
                    "exp_labels": labels | {"job": "onapp-backups", "panel": "demo"},
                    "exp_annotations": rule["annotations"] | {"description": text},
                }
            )
    run(promtool_test(cases, texts))


_COUNTED = [
    (
        "OnAppExporterDown",
        {"severity": "critical", "shard": "missing"},
        {
            "onapp_exporter_shards": "TOTALx200",
            'onapp_exporter_shard_info{shard="0", total_shards="n"}': "1x200",
        },
        (
            "NUMBER [shard|shards] of job onapp-backups cannot be scraped. Nothing is"
            " known of the backups of [its|their] servers, and no other alert can "
            "report on them."
        ),
    ),
    (
        "OnAppBackupDataOld",
        {"severity": "critical", "panel": "demo"},
        {
            "onapp_panel_virtual_machines": "TOTALx200",
            'onapp_panel_servers{shard="0", state="fine"}': "1x200",
        },
        (
            "NUMBER [server is|servers are] in the inventory of panel demo, but no "
            "exporter reads [its|their] backups. No other alert can report on them."
        ),
    ),
    (
        "OnAppBackupServerDisabledInUse",
        {"severity": "warning", "panel": "demo", "backup_server_id": "4"},
        {
            'onapp_backup_server_enabled{backup_server_id="4"}': "0x200",
            'onapp_backup_server_backups{backup_server_id="4"}': "NUMBERx200",
        },
        (
            "Backup server (ID 4) on panel demo is disabled, but holds NUMBER "
            "[backup|backups]. What is stored there may not be restorable, and no new"
            " backups can be stored there."
        ),
    ),
    (
        "OnAppClockSkew",
        {"severity": "warning", "panel": "demo"},
        {
            'onapp_panel_future_dates{shard="0"}': "0x170 NUMBERx30",
            "onapp_panel_clock_skew_seconds": "1.5x200",
        },
        (
            "The clock of panel demo differs from the exporter's by 1.5 s, and NUMBER"
            " [date is|dates are] in the future. Ages of backups may be wrong."
        ),
    ),
]
"""Alerts that show a number: their labels, series and text, with one and many."""


def test_a_noun_agrees_with_its_number(run: Run) -> None:
    """One shard, two shards."""
    series_of_all: Series = {}
    expected = []
    for alert, labels, series, text in _COUNTED:
        annotations = next(
            one["annotations"]
            for one in alerting_rules()
            if (one["alert"], one["labels"].get("shard"))
            == (alert, labels.get("shard"))
            and one["labels"]["severity"] == labels["severity"]
        )
        alerts = []
        for number in (1, 2):
            case = f"{alert} {number}"
            for name, values in of("a", series).items():
                shown = values.replace("NUMBER", str(number))
                series_of_all[_of_case(name, case)] = shown.replace(
                    "TOTAL", str(number + 1)
                )
            described = re.sub(r"\[(.*?)\|(.*?)\]", rf"\{number}", text)
            described = described.replace("NUMBER", str(number))
            alerts.append(
                {
                    "exp_labels": labels | {"job": "onapp-backups", "case": case},
                    "exp_annotations": annotations | {"description": described},
                }
            )
        at = {"eval_time": "190m", "alertname": alert}
        expected.append(at | {"exp_alerts": alerts})

    given = [{"series": name, "values": of} for name, of in series_of_all.items()]
    run({"input_series": given, "alert_rule_test": expected})


def test_of_replicas_the_one_that_knows_better_counts(run: Run) -> None:
    """Whichever it is; one that is down changes nothing."""

    def cases(one: Moment, alert: Alert) -> dict[str, Case]:
        ill, well = moment_series(one), well_series(one)
        dead = {
            name: values.partition("x")[0] + "x5 stale" for name, values in well.items()
        }
        return {
            "b knows": (of("a", ill) | of("b", well), {60: set()}),
            "a knows": (of("a", well) | of("b", ill), {60: set()}),
            "both say it": (of("a", ill) | of("b", ill), {60: {alert}}),
            "b is down": (of("a", ill) | of("b", dead), {60: {alert}}),
        }

    run(promtool_test(of_moments(cases)))


def test_renames_restarts_lost_scrapes_and_other_clouds_change_nothing(
    run: Run,
) -> None:
    """Two minutes away in every fourteen; nothing depends on a name."""

    def cases(one: Moment, alert: Alert) -> dict[str, Case]:
        ill = moment_series(one)
        new = _INFO.replace('label="ci-failed"', 'label="new"')
        renamed = ill | {_INFO: "1x30 stale", new: "_x30 1x30"}
        flapping = {name: gaps(values, AWAY) for name, values in ill.items()}
        nameless = {name: values for name, values in ill.items() if name != _INFO}
        always = {minute: {alert} for minute in range(20, 61, 2)}
        clusters = of("a", ill, 'cluster="eu", ') | of("a", ill, 'cluster="us", ')
        return {
            "renamed": (of("a", renamed), always),
            "away again and again": (of("a", flapping), always),
            "without a name": (of("a", nameless), always),
            "two clusters": (clusters, {60: {alert}}),
        }

    run(promtool_test(of_moments(cases)))


def two(series: Series) -> Series:
    """Return the same of two replicas."""
    return of("a", series) | of("b", series)


def shards(first: Series, second: Series) -> Series:
    """Return what two shards say of the same panel."""
    of_second = {
        name.replace('shard="0"', 'shard="1"'): value for name, value in second.items()
    }
    return of("a", first) | of("b", of_second)


def _warning(name: str) -> set[Alert]:
    return {(name, "warning")}


def _critical(name: str) -> set[Alert]:
    return {(name, "critical")}


_EXPORTER = {"up": "1x300", "onapp_exporter_shards": "1x300"}
_OF_FIRST = 'onapp_exporter_shard_info{shard="0", total_shards="1"}'
_RUNS = _EXPORTER | {_OF_FIRST: "1x300"}
_STOPPED = {"up": "1x29 0x270", "onapp_exporter_shards": "1x29 stale"}
_UP = 'onapp_up{shard="0"}'
_REFUSED = 'onapp_panel_credentials_refused{shard="0"}'
_LAG, _POLL = (
    'onapp_poll_lag_seconds{shard="0"}',
    'onapp_poll_interval_seconds{shard="0"}',
)
_SCHEDULES = 'onapp_collector_success{shard="0", collector="schedules"}'
_LISTED = "onapp_panel_virtual_machines"
_FINE = 'onapp_panel_servers{shard="0", state="fine"}'
_SKEW = "onapp_panel_clock_skew_seconds"
_FUTURE = 'onapp_panel_future_dates{shard="0"}'
_JAM = 'onapp_panel_queue_jam_start_timestamp_seconds{action="take_backup"}'
_QUEUE = 'onapp_transactions_pending{shard="0", action="take_backup"}'
_STORE = 'backup_server_id="3"'
_ENABLED = f"onapp_backup_server_enabled{{{_STORE}}}"
_HELD = f'onapp_backup_server_backups{{shard="0", {_STORE}}}'
_USED = f'onapp_backup_server_used_bytes{{shard="0", {_STORE}}}'
_CAPACITY = f"onapp_backup_server_capacity_bytes{{{_STORE}}}"
_RELOADED = "onapp_exporter_config_last_reload_successful"

_DOWN, _UNAUTHORIZED = _critical("OnAppPanelDown"), _critical("OnAppPanelUnauthorized")
_LAGGING = _warning("OnAppPollLagging")
_COLLECTOR = _warning("OnAppCollectorFailing")
_UNREAD = _critical("OnAppBackupDataOld")
_SHRANK, _NO_SERVERS = _warning("OnAppInventoryShrank"), _warning("OnAppNoServers")
_CLOCK, _JAMMED = _warning("OnAppClockSkew"), _warning("OnAppQueueJam")
_DISABLED = _warning("OnAppBackupServerDisabledInUse")
_FULL = _warning("OnAppBackupServerFull")
_GONE = _critical("OnAppExporterDown")
_REPLICA = _warning("OnAppExporterDown")
_FLAPPING = _warning("OnAppExporterFlapping")

WINDOWS: dict[str, Case] = {
    "a panel is down": (
        of("a", {_UP: "1x29 0x60 1x60"}),
        {40: set(), 50: _DOWN, 89: _DOWN, 112: set()},
    ),
    "a panel is down for ten minutes": (
        of("a", {_UP: "1x29 0x10 1x60"}),
        {minute: set() for minute in range(0, 90, 5)},
    ),
    "an exporter starts while a panel is down": (
        of("a", {_UP: "_x9 0x60"}),
        {minute: set() for minute in range(9, 24)} | {35: _DOWN},
    ),
    "a panel is down for one replica": (
        of("a", {_UP: "0x90"}) | of("b", {_UP: "1x90"}),
        {60: set()},
    ),
    "a panel is down for one shard": (
        shards({_UP: "0x90"}, {_UP: "1x90"}),
        {60: _DOWN},
    ),
    "a panel is down, and the exporter away again and again": (
        of("a", {_UP: gaps("0x90", (12, 13, 0))}),
        dict.fromkeys(range(45, 90), _DOWN),
    ),
    "credentials are refused": (
        two({_REFUSED: "0x9 1x30 0x40", _UP: "1x9 0x30 1x40"}),
        {12: set(), 16: _UNAUTHORIZED, 60: set()},
    ),
    "credentials are refused once": (
        of("a", {_REFUSED: "0x9 1x2 0x40"}),
        {15: set(), 20: set()},
    ),
    "credentials that work for the other replica": (
        of("a", {_REFUSED: "1x90", _UP: "0x90"})
        | of("b", {_REFUSED: "0x90", _UP: "1x90"}),
        {60: set()},
    ),
    "polls are late": (
        two({_LAG: "0x9 1801x90", _POLL: "900x99"}),
        {18: set(), 28: _LAGGING, 90: _LAGGING},
    ),
    "polls are late, and the exporter away": (
        of("a", {_LAG: gaps("1801x90", AWAY), _POLL: gaps("900x90", AWAY)}),
        dict.fromkeys(range(20, 90), _LAGGING),
    ),
    "one replica is late": (
        of("a", {_LAG: "9999x90", _POLL: "900x90"})
        | of("b", {_LAG: "0x90", _POLL: "900x90"}),
        {60: set()},
    ),
    "one shard is late": (
        shards({_LAG: "0x90", _POLL: "900x90"}, {_LAG: "9999x90", _POLL: "900x90"}),
        {60: _LAGGING},
    ),
    "schedules are refused": (
        of("a", {_SCHEDULES: "1x9 0x120"}),
        {60: set(), 80: _COLLECTOR, 120: _COLLECTOR},
    ),
    "schedules are refused after a start": (
        of("a", {_SCHEDULES: "0x30 1x9"}),
        {20: set(), 30: set()},
    ),
    "schedules are refused, and the exporter away": (
        of("a", {_SCHEDULES: gaps("0x150", AWAY)}),
        dict.fromkeys(range(80, 150), _COLLECTOR),
    ),
    "one replica may not read schedules": (
        of("a", {_SCHEDULES: "0x150"}) | of("b", {_SCHEDULES: "1x150"}),
        {140: set()},
    ),
    "servers that no shard owns": (
        of("a", {_LISTED: "10x200", _FINE: "4x200"}),
        {50: set(), 90: _UNREAD, 190: _UNREAD},
    ),
    "two shards own all, with another state each": (
        shards(
            {_LISTED: "10x200", _FINE: "4x200"}, {_LISTED: "10x200", _FINE: "6x200"}
        ),
        {190: set()},
    ),
    "replicas differ in states": (
        of("a", {_LISTED: "10x200", _FINE: "10x200"})
        | of(
            "b",
            {
                _LISTED: "10x200",
                _FINE: "7x200",
                _FINE.replace("fine", "stale"): "3x200",
            },
        ),
        {190: set()},
    ),
    "a fifth is gone at once": (
        two({_LISTED: "100x59 80x900"}),
        {59: set(), 75: _SHRANK, 700: _SHRANK, 900: set()},
    ),
    "a fifth is gone, and back": (
        of("a", {_LISTED: "100x59 80x59 100x99"}),
        {75: _SHRANK, 140: set()},
    ),
    "a fifth is gone while the exporter is away": (
        of("a", {_LISTED: "100x59 stale _x60 80x200"}),
        {200: _SHRANK},
    ),
    "a few of few are gone": (of("a", {_LISTED: "5x59 3x99"}), {99: set()}),
    "servers go one after another": (
        of(
            "a", {_LISTED: " ".join(f"{100 - minute // 20}x0" for minute in range(700))}
        ),
        {minute: set() for minute in range(0, 700, 50)},
    ),
    "a panel lists no servers": (
        of("a", {_LISTED: "2x9 0x90"}),
        {20: set(), 33: _NO_SERVERS},
    ),
    "a panel lists none to one replica": (
        of("a", {_LISTED: "0x90"}) | of("b", {_LISTED: "2x90"}),
        {60: set()},
    ),
    "clocks differ": (
        of("a", {_SKEW: "-299x9 -301x20 0x40"}),
        {14: set(), 18: _CLOCK, 60: set()},
    ),
    "more dates in the future than before": (
        shards({_FUTURE: "3x99 4x300"}, {_FUTURE: "2x399"}),
        {99: set(), 110: _CLOCK, 250: set()},
    ),
    "dates in the future that stay, over a restart": (
        of("a", {_FUTURE: "5x99 stale 0x9 5x300"}),
        {minute: set() for minute in range(0, 300, 10)},
    ),
    "dates in the future that stay, while a shard is away for hours": (
        shards({_FUTURE: "3x500"}, {_FUTURE: "2x99 stale _x239 2x160"}),
        {minute: set() for minute in range(0, 500, 20)},
    ),
    "the queue does not move": (
        two({_JAM: "-20000x90", _QUEUE: "2x90"}),
        {20: set(), 50: _JAMMED},
    ),
    "the queue moves, as one replica knows": (
        of("a", {_JAM: "-90000x90", _QUEUE: "2x90"}) | of("b", {_QUEUE: "0x90"}),
        {60: set()},
    ),
    "a disabled backup server holds backups": (
        shards(
            {_ENABLED: "1x9 0x99", _HELD: "0x99"}, {_ENABLED: "1x9 0x99", _HELD: "1x99"}
        ),
        {60: set(), 80: _DISABLED},
    ),
    "a disabled backup server is empty": (
        of("a", {_ENABLED: "0x99", _HELD: "0x99"}),
        {90: set()},
    ),
    "a backup server is nearly full": (
        shards(
            {_CAPACITY: "100x99", _USED: "46x99"}, {_CAPACITY: "100x99", _USED: "45x99"}
        ),
        {60: _FULL},
    ),
    "two replicas count the same twice": (
        two({_CAPACITY: "100x99", _USED: "89x99"}),
        {60: set()},
    ),
    "a capacity of nothing": (
        of("a", {_CAPACITY: "0x99", _USED: "89x99"}),
        {60: set()},
    ),
    "a configuration was refused": (
        of("a", {_RELOADED.replace("onapp", "onapp"): "1x9 0x30"}),
        {12: set(), 20: _warning("OnAppExporterReloadFailed")},
    ),
    "an exporter that runs": (
        two(_RUNS),
        {minute: set() for minute in range(0, 300, 20)},
    ),
    "no exporter runs": (of("a", _STOPPED), {32: set(), 36: _GONE, 300: _GONE}),
    "an exporter was never scraped": (of("a", {"up": "0x30"}), {4: set(), 7: _GONE}),
    "its target is gone": (
        of("a", dict.fromkeys(_EXPORTER, "1x29 stale")),
        {32: set(), 36: _GONE, 300: _GONE},
    ),
    "one of two replicas is down": (
        of("a", _RUNS) | of("b", _STOPPED),
        {40: set(), 50: _REPLICA, 300: _REPLICA},
    ),
    "one of two shards is down": (
        of(
            "a",
            {
                "up": "1x300",
                "onapp_exporter_shards": "2x300",
                'onapp_exporter_shard_info{shard="0", total_shards="2"}': "1x300",
            },
        )
        | of(
            "b",
            {
                "up": "1x29 0x270",
                "onapp_exporter_shards": "2x29 stale",
                'onapp_exporter_shard_info{shard="1", total_shards="2"}': "1x29 stale",
            },
        ),
        {30: set(), 50: _GONE | _REPLICA},
    ),
    "an exporter is away again and again": (
        of(
            "a",
            {
                "up": " ".join(
                    "0" if minute % 14 in AWAY else "1" for minute in range(200)
                ),
                "onapp_exporter_shards": gaps("1x200", AWAY),
            },
        ),
        {30: set(), 60: _FLAPPING, 150: _FLAPPING},
    ),
    "an exporter restarts every quarter of an hour": (
        of(
            "a",
            _RUNS
            | {
                "process_start_time_seconds": " ".join(
                    str(minute // 15) for minute in range(200)
                )
            },
        ),
        {40: set(), 60: _FLAPPING, 150: _FLAPPING},
    ),
    "an exporter restarts twice": (
        of("a", _RUNS | {"process_start_time_seconds": "0x40 1x9 2x99"}),
        {minute: set() for minute in range(0, 120, 10)},
    ),
    "another job flaps and goes": (
        of("a", {'up{job="node"}': " ".join(str(n % 2) for n in range(60)) + " 0x60"}),
        {60: set(), 90: set()},
    ),
}


@pytest.mark.parametrize("long", [False, True], ids=["an hour or two", "longer"])
def test_what_has_no_moment_is_looked_at_for_a_while(run: Run, *, long: bool) -> None:
    """Each case names every alert that fires at a moment, so that nothing else may."""
    cases = {
        name: case
        for name, case in WINDOWS.items()
        if (max(case[1]) > 2 * HOUR) == long
    }
    run(promtool_test(cases))


_SIZE = f"onapp_target_last_success_size_bytes{{{_DISK}}}"
_SUSPENDED = f"onapp_vm_suspended{{{_SERVER}}}"
_ODD, _GROWING = _warning("OnAppBackupSizeAnomaly"), _warning("OnAppBackupServerFull")
SLOW: dict[str, Case] = {
    "a backup of a tenth of the usual size": (
        two({_SIZE: "1000000000x240 100000000x500"}),
        {5 * DAY: set(), 5 * DAY + 3 * HOUR: _ODD, 15 * DAY: set()},
    ),
    "a backup of ten times the usual size": (
        of("a", {_SIZE: "1000000000x240 10000000000x48"}),
        {5 * DAY: set(), 5 * DAY + 3 * HOUR: _ODD},
    ),
    "half the size": (
        of("a", {_SIZE: "1000000000x240 500000000x48"}),
        {6 * DAY: set()},
    ),
    "small ones": (of("a", {_SIZE: "1000000x240 100000000x48"}), {6 * DAY: set()}),
    "a short history": (of("a", {_SIZE: "1000000000x96 1000000x48"}), {2 * DAY: set()}),
    "a suspended server": (
        of("a", {_SIZE: "1000000000x240 1000000x48", _SUSPENDED: "1x288"}),
        {6 * DAY: set()},
    ),
    "a backup server fills up": (
        shards({_USED: "0+1x900", _CAPACITY: "1300x900"}, {_USED: "10x900"}),
        {6 * DAY: set(), 13 * DAY: set(), 17 * DAY: _GROWING},
    ),
    "a backup server of which a shard was away": (
        shards(
            {_USED: "600x1000", _CAPACITY: "1300x1000"},
            {_USED: "500x99 _x20 500x20 _x19 500x600 _x29 500x200"},
        ),
        {day * DAY: set() for day in range(20)},
    ),
    "a backup server grows slowly": (
        of("a", {_USED: "500+0.1x900", _CAPACITY: "1300x900"}),
        {17 * DAY: set()},
    ),
}


def test_sizes_and_growth_are_compared_with_weeks(run: Run) -> None:
    """Sampled every half an hour."""
    run(promtool_test(SLOW), "30m")


def test_every_alert_is_shown_to_fire() -> None:
    """At each of its severities."""
    cases = (*WINDOWS.values(), *SLOW.values())
    shown = {(one.alert, one.severity) for one in MOMENTS} | {
        alert for _, firing in cases for alerts in firing.values() for alert in alerts
    }
    shipped = {(one["alert"], one["labels"]["severity"]) for one in alerting_rules()}

    assert shown == shipped
