"""The short form of ``make fidelity``: each problem once, and what looks like one.

Five simulated days, real exporters and Prometheus' own evaluation of the shipped rules.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from alert_rules import ALERTS, alerting_rules, needed_program

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
        'onapp_state_start_timestamp_seconds{state="stuck"}',
        'onapp_state_start_timestamp_seconds{state="stuck"} + 54 * 3600',
    ),
    "a rule that never fires": (
        'onapp_state_start_timestamp_seconds{state="locked"}',
        'onapp_state_start_timestamp_seconds{state="lock"}',
    ),
    "a day too early": (
        'onapp_state_start_timestamp_seconds{state="stale"}',
        'onapp_state_start_timestamp_seconds{state="stale"} - 86400',
    ),
    "a limit too narrow": (
        "(abs(onapp_panel_clock_skew_seconds)) > 300",
        "(abs(onapp_panel_clock_skew_seconds)) > 100",
    ),
}


_NEEDS_WEEKS = {"backup server filling"}
"""Kinds that the short run cannot have: they grow for weeks."""


@pytest.fixture(scope="module")
def replica_runs() -> Run:
    """Return what both replicas have recorded."""
    needed_program("promtool")
    return run(SHORT)


@pytest.fixture(scope="module")
def result(replica_runs: Run) -> FidelityResult:
    """Return what the shipped rules make of it."""
    return replica_runs.compare(replica_runs.fired_alerts())


def test_every_problem_is_reported_in_time(result: FidelityResult) -> None:
    """Each kind was there, long enough that every alert about it was due."""
    due = {
        (kind, expected.alert, expected.severity)
        for kind, expected_alerts in EXPECTED_ALERTS.items()
        for expected in expected_alerts
        if expected.required and kind not in _NEEDS_WEEKS
    }

    assert [str(missed) for missed in result.missed] == []
    assert [str(ended) for ended, _ in result.ended_early] == []
    assert result.injected.keys() == EXPECTED_ALERTS.keys() - _NEEDS_WEEKS
    assert {key for key, delays in result.delays.items() if delays} >= due


def test_nothing_else_is_reported(result: FidelityResult) -> None:
    """No look-alike raises anything, and no alert is early or outlasts its problem."""
    assert [f"{alert}: {why}" for alert, why in result.false] == []
    assert len(result.look_alikes) > 30
    assert len(result.documented) <= 6


def test_every_alert_is_tried_at_each_severity() -> None:
    """A new one needs a problem that it reports."""
    tried = {
        (expected.alert, expected.severity)
        for expected_alerts in EXPECTED_ALERTS.values()
        for expected in expected_alerts
    }
    shipped = {(a["alert"], a["labels"]["severity"]) for a in alerting_rules()}

    assert tried == shipped
    assert {name for name, _ in tried} == ALERTS
    assert SERVER_PROBLEMS.keys() <= EXPECTED_ALERTS.keys()


def test_lost_scrapes_prevent_no_alert(replica_runs: Run) -> None:
    """Exporters that are away two minutes in every fourteen are reported beside it."""
    quiet = replica_runs.firing_after(2.15, 0.1, lambda _: False)
    lossy = replica_runs.firing_after(2.15, 0.1, lambda minute: minute % 14 < 2)
    flapping = {alert for alert in lossy if "OnAppExporterFlapping" in alert}

    assert len(quiet) > 10
    assert quiet - lossy == set()
    assert flapping
    assert lossy - quiet == flapping


def test_broken_rules_are_found_out(replica_runs: Run, tmp_path: Path) -> None:
    """A problem is missed, or something healthy raises an alert."""
    rules = []
    for file in RULES.glob("*.rules.yml"):
        text = file.read_text("utf-8")
        for before, after in _MUTATIONS.values():
            text = text.replace(before, after)
        rules.append(tmp_path / file.name)
        rules[-1].write_text(text, "utf-8")
    shipped = "".join(file.read_text("utf-8") for file in RULES.glob("*.rules.yml"))
    stuck = _one(replica_runs, "run stuck")
    locked = _one(replica_runs, "backup locked")
    waiting = _one(replica_runs, "run that waits for nearly three hours")
    clock = _one(replica_runs, "clock a little wrong")
    only = frozenset(d.vm_id or 0 for d in (stuck, locked, waiting))
    found = replica_runs.compare(replica_runs.fired_alerts(rules, only=only))

    missed = {(due.incident.kind, due.expected.alert) for due in found.missed}
    assert [shipped.count(before) for before, _ in _MUTATIONS.values()] == [1] * 4
    assert (stuck.kind, "OnAppBackupStuck") in missed
    assert (locked.kind, "OnAppBackupLockedLong") in missed
    assert {waiting.kind, clock.kind} <= found.false_by_look_alike.keys()


def _one(replica_runs: Run, kind: str) -> Incident:
    """Return the first incident of a kind."""
    incidents = next(iter(replica_runs.replicas.values())).incidents
    return next(incident for incident in incidents if incident.kind == kind)
