"""The short form of ``make fidelity``: each trouble once, and what looks like it.

Five simulated days, real exporters and Prometheus' own evaluation of the shipped rules.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alert_rules import ALERTS, the_alerts

from alert_fidelity.comparison import Verdict
from alert_fidelity.expected_alerts import TROUBLES
from alert_fidelity.incidents import Deed
from alert_fidelity.plan import Plan
from alert_fidelity.replica import RULES
from alert_fidelity.run import Run, run
from alert_fidelity.server_problems import ON_SERVERS

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
def lived() -> Run:
    """Return what both replicas have recorded."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not on the PATH: `make tools` fetches it")
    return run(SHORT)


@pytest.fixture(scope="module")
def verdict(lived: Run) -> Verdict:
    """Return what the shipped rules make of it."""
    return lived.verdict(lived.alarms())


def test_every_trouble_is_told_in_time(verdict: Verdict) -> None:
    """Each kind was there, long enough that every alert about it was due."""
    due = {
        (kind, bound.alert, bound.severity)
        for kind, bounds in TROUBLES.items()
        for bound in bounds
        if bound.must
    }

    assert [str(demand) for demand in verdict.missed] == []
    assert [str(demand) for demand, _ in verdict.silent] == []
    assert verdict.injected.keys() == TROUBLES.keys()
    assert {key for key, delays in verdict.delays.items() if delays} >= due


def test_nothing_else_is_told(verdict: Verdict) -> None:
    """No look-alike raises anything, and no alert is early or outlasts its trouble."""
    assert [f"{alarm}: {why}" for alarm, why in verdict.false] == []
    assert len(verdict.spared) > 30
    assert len(verdict.documented) == 1


def test_every_alert_is_tried_at_each_severity() -> None:
    """A new one needs a trouble that it tells."""
    tried = {
        (bound.alert, bound.severity)
        for bounds in TROUBLES.values()
        for bound in bounds
    }
    shipped = {(a["alert"], a["labels"]["severity"]) for a in the_alerts()}

    assert tried == shipped
    assert {name for name, _ in tried} == ALERTS
    assert ON_SERVERS.keys() <= TROUBLES.keys()


def test_broken_rules_are_found_out(lived: Run, tmp_path: Path) -> None:
    """A wrong threshold shows as trouble missed, a lost guard as health alarmed."""
    rules = []
    for file in RULES.glob("*.rules.yml"):
        text = file.read_text("utf-8")
        for before, after in _MUTATIONS.values():
            text = text.replace(before, after)
        rules.append(tmp_path / file.name)
        rules[-1].write_text(text, "utf-8")
    shipped = "".join(file.read_text("utf-8") for file in RULES.glob("*.rules.yml"))
    stuck = _one(lived, "take stuck")
    locked = _one(lived, "backup locked")
    suspended = _one(lived, "server suspended, then resumed")
    without = _one(lived, "no backups bought")
    only = frozenset(d.vm_id or 0 for d in (stuck, locked, suspended, without))
    found = lived.verdict(lived.alarms(rules, only=only))

    missed = {(demand.deed.kind, demand.bound.alert) for demand in found.missed}
    assert [shipped.count(before) for before, _ in _MUTATIONS.values()] == [1] * 4
    assert (stuck.kind, "OnAppBackupStuck") in missed
    assert (locked.kind, "OnAppBackupLockedLong") in missed
    assert {suspended.kind, without.kind} <= found.alarmed.keys()


def _one(lived: Run, kind: str) -> Deed:
    """Return the first deed of a kind."""
    deeds = next(iter(lived.lived.values())).deeds
    return next(deed for deed in deeds if deed.kind == kind)
