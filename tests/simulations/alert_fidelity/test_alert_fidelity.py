"""The short form of ``make fidelity``: each trouble once, and what looks like it.

Five simulated days, real exporters and Prometheus' own evaluation of the shipped rules.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alert_rules import ALERTS, alerting_rules

from alert_fidelity.comparison import FidelityResult
from alert_fidelity.expected_alerts import EXPECTED_ALERTS
from alert_fidelity.incidents import Incident
from alert_fidelity.plan import Plan
from alert_fidelity.replica import RULES
from alert_fidelity.run import Run, run
from alert_fidelity.server_problems import SERVER_PROBLEMS

SHORT = Plan(seed=1, days=5.25)
_MUTATIONS = {
    "a threshold ten times as high": (
        "target:onapp_backup_under_way:since_timestamp_seconds > 6 * 3600",
        "target:onapp_backup_under_way:since_timestamp_seconds > 60 * 3600",
    ),
    "a rule that never fires": (
        "target:onapp_target_locked_backups:since_timestamp_seconds > 3 * 86400",
        "target:onapp_target_locked_backups:since_timestamp_seconds > +Inf",
    ),
    "suspended servers judged": (
        "max without (instance, pod, node) (onapp_vm_suspended == 1)",
        "max without (instance, pod, node) (onapp_vm_suspended == 2)",
    ),
    "backups asked of who bought none": (
        "max without (instance, pod, node) (onapp_vm_backup_required == 1)",
        "max without (instance, pod, node) (onapp_vm_backup_required >= 0)",
    ),
}


@pytest.fixture(scope="module")
def replica_runs() -> Run:
    """Return what both replicas have recorded."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not on the PATH: `make tools` fetches it")
    return run(SHORT)


@pytest.fixture(scope="module")
def result(replica_runs: Run) -> FidelityResult:
    """Return what the shipped rules make of it."""
    return replica_runs.compare(replica_runs.fired_alerts())


def test_every_trouble_is_told_in_time(result: FidelityResult) -> None:
    """Each kind was there, long enough that every alert about it was due."""
    due = {
        (kind, expected.alert, expected.severity)
        for kind, expected_alerts in EXPECTED_ALERTS.items()
        for expected in expected_alerts
        if expected.required
    }

    assert [str(missed) for missed in result.missed] == []
    assert [str(ended) for ended, _ in result.ended_early] == []
    assert result.injected.keys() == EXPECTED_ALERTS.keys()
    assert {key for key, delays in result.delays.items() if delays} >= due


def test_nothing_else_is_told(result: FidelityResult) -> None:
    """No look-alike raises anything, and no alert is early or outlasts its trouble."""
    assert [f"{alert}: {why}" for alert, why in result.false] == []
    assert len(result.look_alikes) > 30
    assert len(result.documented) == 1


def test_every_alert_is_tried_at_each_severity() -> None:
    """A new one needs a trouble that it tells."""
    tried = {
        (expected.alert, expected.severity)
        for expected_alerts in EXPECTED_ALERTS.values()
        for expected in expected_alerts
    }
    shipped = {(a["alert"], a["labels"]["severity"]) for a in alerting_rules()}

    assert tried == shipped
    assert {name for name, _ in tried} == ALERTS
    assert SERVER_PROBLEMS.keys() <= EXPECTED_ALERTS.keys()


def test_broken_rules_are_found_out(replica_runs: Run, tmp_path: Path) -> None:
    """A wrong threshold shows as trouble missed, a lost guard as health alarmed."""
    rules = []
    for file in RULES.glob("*.rules.yml"):
        text = file.read_text("utf-8")
        for before, after in _MUTATIONS.values():
            text = text.replace(before, after)
        rules.append(tmp_path / file.name)
        rules[-1].write_text(text, "utf-8")
    shipped = "".join(file.read_text("utf-8") for file in RULES.glob("*.rules.yml"))
    stuck = _one(replica_runs, "take stuck")
    locked = _one(replica_runs, "backup locked")
    suspended = _one(replica_runs, "server suspended, then resumed")
    without = _one(replica_runs, "no backups bought")
    only = frozenset(d.vm_id or 0 for d in (stuck, locked, suspended, without))
    found = replica_runs.compare(replica_runs.fired_alerts(rules, only=only))

    missed = {(due.incident.kind, due.expected.alert) for due in found.missed}
    assert [shipped.count(before) for before, _ in _MUTATIONS.values()] == [1] * 4
    assert (stuck.kind, "OnAppBackupStuck") in missed
    assert (locked.kind, "OnAppBackupLockedLong") in missed
    assert {suspended.kind, without.kind} <= found.false_by_look_alike.keys()


def _one(replica_runs: Run, kind: str) -> Incident:
    """Return the first incident of a kind."""
    incidents = next(iter(replica_runs.replicas.values())).incidents
    return next(incident for incident in incidents if incident.kind == kind)
