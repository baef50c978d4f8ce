"""Which alerts were due, by incidents and bounds, and which fired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from truth import BackupHistory

from alert_fidelity.expected_alerts import (
    EXPECTED_ALERTS,
    FORGETTING,
    HIDING_PROBLEMS,
    JAM_ALERTS,
    RESTARTING,
    ExpectedAlert,
)
from alert_fidelity.incidents import Incident
from alert_fidelity.inhibition import InhibitRule, inhibit_rules
from alert_fidelity.rule_evaluation import FiredAlert
from alert_fidelity.timing import DAY, HOUR, POLL, STEP
from exporter.demo.cloud.rows import Target

SUSPENDED = "server suspended, then resumed"
"""Such a server raises no alert, whatever happens to its panel."""
SEEN_END = {
    *("schedule disabled", "schedule disabled, renamed", "schedule deleted"),
    *("schedule marked as failed", "schedule marked as failed, transactions unknown"),
    SUSPENDED,
}
SEEN_BEGIN = {"schedule changed from weeks to days"}
"""Changes whose moment no fact of the panel says."""
GUESSED = {"every three days, schedules unknown"}
"""Look-alikes that may raise a warning until each success, as nothing tells better."""


@dataclass(frozen=True)
class DueAlert:
    """An alert that must or may fire, from one moment to another."""

    incident: Incident
    expected: ExpectedAlert
    labels: Mapping[str, str]
    since: float
    """When the grace time begins."""
    earliest: float
    """Before this moment it is false."""
    until: float | None
    """When the problem is fixed; None: not before the end of the run."""

    def explains(self, alert: FiredAlert) -> bool:
        """Return whether a fired alert is this one."""
        wanted = {**self.labels, "severity": self.expected.severity}
        return alert.name == self.expected.alert and alert.has_labels(wanted)


@dataclass(eq=False)
class FidelityResult:
    """The result of one run."""

    delays: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    """Seconds after the grace time, by kind of problem, alert and severity."""
    reasons: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)
    """What hid the problem, where a delay is longer than its bound."""
    missed: list[DueAlert] = field(default_factory=list)
    ended_early: list[tuple[DueAlert, float]] = field(default_factory=list)
    """Alerts that ended while the problem lasted, with the moment."""
    false: list[tuple[FiredAlert, str]] = field(default_factory=list)
    """With the reason why each is false."""
    documented: list[FiredAlert] = field(default_factory=list)
    """False alerts that the runbook documents."""
    look_alikes: dict[str, int] = field(default_factory=dict)
    """How many look-alikes of each kind there were."""
    false_by_look_alike: dict[str, int] = field(default_factory=dict)
    """How many false alerts each kind of look-alike raised."""
    injected: dict[str, int] = field(default_factory=dict)
    fired: int = 0
    """How many fired in all."""
    servers: int = 0

    def add(self, other: FidelityResult) -> None:
        """Add the result of another run."""
        for key, delays in other.delays.items():
            self.delays.setdefault(key, []).extend(delays)
        for key, reasons in other.reasons.items():
            self.reasons.setdefault(key, set()).update(reasons)
        self.missed += other.missed
        self.ended_early += other.ended_early
        self.false += other.false
        self.documented += other.documented
        for name in ("look_alikes", "false_by_look_alike", "injected"):
            counts = Counter(getattr(self, name)) + Counter(getattr(other, name))
            setattr(self, name, dict(counts))
        self.fired += other.fired

    @property
    def good(self) -> bool:
        """Whether nothing was missed, nothing ended early and nothing was false."""
        return not (self.missed or self.ended_early or self.false)


@dataclass(eq=False)
class AlertComparison:
    """Compares fired alerts with the incidents of one run."""

    incidents: Sequence[Incident]
    histories: Mapping[str, BackupHistory]
    end: float
    servers: int = 0
    inhibit_rules: Sequence[InhibitRule] = field(default_factory=inhibit_rules)

    def result(self, alerts: Sequence[FiredAlert]) -> FidelityResult:
        """Compare the alerts that fired with those that were due."""
        found = FidelityResult(fired=len(alerts), servers=self.servers)
        for incident in self.incidents:
            counts = (
                found.injected
                if incident.kind in EXPECTED_ALERTS
                else found.look_alikes
            )
            counts[incident.kind] = counts.get(incident.kind, 0) + 1
        due_alerts = list(self.due_alerts())
        for due in due_alerts:
            self._match(due, alerts, found)
        for alert in alerts:
            wrong = self._wrong(alert, [d for d in due_alerts if d.explains(alert)])
            if wrong and self._is_inhibited(alert, due_alerts, alerts):
                continue
            if wrong and self._is_documented(alert):
                found.documented.append(alert)
            elif wrong:
                found.false.append((alert, wrong))
                for kind in self._befallen(alert):
                    found.false_by_look_alike[kind] = (
                        found.false_by_look_alike.get(kind, 0) + 1
                    )
        return found

    def due_alerts(self) -> Iterator[DueAlert]:
        """Yield the alerts that are due for the incidents."""
        for incident in self.incidents:
            for expected in EXPECTED_ALERTS.get(incident.kind, ()):
                yield from self._due(incident, expected)
            if incident.kind == "queue jammed":
                yield from self._jammed(incident)

    def _jammed(self, jam: Incident) -> Iterator[DueAlert]:
        history = self.histories[jam.panel]
        ends = self.end if jam.ends is None else jam.ends
        idle = {
            incident.vm_id for incident in self.incidents if incident.kind == SUSPENDED
        }
        for at, target, vm_id in history.queued_between(jam.begins - 3 * 3600, ends):
            if vm_id in idle:
                continue
            waiting = Incident(jam.kind, jam.panel, at, None, vm_id, target)
            for expected in JAM_ALERTS:
                yield from self._due(waiting, expected)

    def _due(self, incident: Incident, expected: ExpectedAlert) -> Iterator[DueAlert]:
        since = self._since(incident, expected)
        if since is None:
            return
        grace = (
            expected.grace_seconds
            + expected.grace_intervals * incident.interval_seconds
        )
        until = self._until(incident, expected, since)
        if expected.momentary:
            until = since + HOUR + expected.max_delay_seconds
            if self._is_repeated(incident):
                expected = replace(expected, required=False)
        if expected.required and until is not None and until < since + grace:
            return
        where = incident.alert_labels(expected.level)
        yield DueAlert(incident, expected, where, since, since + grace, until)

    def _is_repeated(self, incident: Incident) -> bool:
        """Return whether the same has befallen the panel less than a day before.

        A change is reported once a day: the rule compares with the day before.
        """
        return any(
            other.kind == incident.kind
            and other.panel == incident.panel
            and other.begins < incident.begins
            and (other.ends or self.end) + POLL > incident.begins - DAY - HOUR
            for other in self.incidents
        )

    def _since(self, incident: Incident, expected: ExpectedAlert) -> float | None:
        """Return when the grace time of an expected alert begins."""
        history = self.histories.get(incident.panel)
        if expected.since == "begun" or history is None:
            return incident.begins
        if expected.since == "idle":
            return history.idle_since(incident.begins)
        if expected.since == "rest":
            return history.last_end_before(incident.begins)
        return (
            None
            if incident.target is None
            else self._moment(incident, expected, incident.target)
        )

    def _moment(
        self, incident: Incident, expected: ExpectedAlert, target: Target
    ) -> float | None:
        history = self.histories[incident.panel]
        if expected.since == "success":
            end_problem = self._success(incident, incident.begins)
            before = self.end if end_problem is None else end_problem - 1
            return history.last("finished", target, before)
        if expected.since == "stuck":
            return history.stuck_since(target, incident.begins)
        if expected.since == "failing":
            failed = history.first("failed", target, incident.begins)
            success = history.last("finished", target, failed or incident.begins)
            due = (success or 0.0) + incident.interval_seconds
            return failed and max(failed, due)
        if expected.since == "stalled":
            return history.first("stalled", target, incident.begins)
        queued = history.first("queued", target, incident.begins)
        if queued is None or expected.since == "queued":
            return queued
        return history.first(expected.since, target, queued)

    def _until(
        self, incident: Incident, expected: ExpectedAlert, since: float
    ) -> float | None:
        """Return when the problem is fixed, as far as this alert is concerned."""
        history = self.histories.get(incident.panel)
        if expected.until == "ended" or history is None or incident.target is None:
            return incident.ends
        if expected.until == "given up":
            return history.first("given up", incident.target, incident.begins)
        if expected.until == "over":
            ends = (
                history.first(how, incident.target, since)
                for how in ("finished", "failed")
            )
            return min((at for at in ends if at is not None), default=None)
        after = incident.begins if expected.since == "success" else since + 1
        return self._success(incident, after)

    def _success(self, incident: Incident, after: float) -> float | None:
        """Return when the first good backup after a problem was finished."""
        history = self.histories[incident.panel]
        if incident.target is None:
            return None
        over = incident.ends
        if over is None:
            # It befell one run: the first one after it.
            queued = history.first("queued", incident.target, incident.begins)
            began = queued or incident.begins
            failed, finished = (
                history.first(how, incident.target, began)
                for how in ("failed", "finished")
            )
            if finished is None or (failed is not None and failed <= finished):
                over = failed
        return history.first("finished", incident.target, max(after, over or after))

    def _match(
        self, due: DueAlert, alerts: Sequence[FiredAlert], found: FidelityResult
    ) -> None:
        if not due.expected.required:
            return
        expected = due.expected
        key = (due.incident.kind, expected.alert, expected.severity)
        delays = found.delays.setdefault(key, [])
        deadline = self._seen_by(due, due.earliest + expected.max_delay_seconds)
        about = [alert for alert in alerts if due.explains(alert)]
        about = [alert for alert in about if self._ends(alert) > due.earliest]
        moments = [alert.begins for alert in about if alert.begins <= deadline]
        if moments:
            delays.append(max(0.0, min(moments) - due.earliest))
            if delays[-1] > expected.max_delay_seconds:
                found.reasons.setdefault(key, set()).update(
                    other.kind for other in self._hidden_by(due, min(moments))
                )
            if not expected.momentary:
                found.ended_early.extend((due, at) for at in self._silences(due, about))
            return
        if deadline < self.end and (due.until is None or due.until > deadline):
            found.missed.append(due)

    def _hidden_by(self, due: DueAlert, moment: float) -> Iterator[Incident]:
        """Yield what hid a problem for a time that counts."""
        begins = self._counts_from(due)
        for other in self._hiding(due.incident, due.expected):
            if other.begins < moment and begins < (other.ends or self.end) + POLL:
                yield other

    def _silences(self, due: DueAlert, alerts: Sequence[FiredAlert]) -> Iterator[float]:
        """Yield when an alert ended without a reason.

        It may end while the problem is hidden from the exporters, and must then come
        back as soon as at first.
        """
        until = self.end if due.until is None else min(due.until, self.end)
        history = self.histories.get(due.incident.panel)
        if due.expected.level == "server" and history is not None:
            # Of a server without a target any good backup of it ends the alert.
            any_target = history.first("finished", due.incident.vm_id, due.earliest)
            until = min(until, any_target or until)
        covered = max(alerts[0].begins, due.earliest)
        after = [(alert.begins, self._ends(alert)) for alert in alerts]
        for begins, ends in [*after, (until, until)]:
            gap = min(begins, until) - covered
            hidden = self._blind(due, covered - 3 * POLL, begins)
            allowed = hidden + due.expected.max_delay_seconds if hidden else 0.0
            if gap > allowed:
                yield covered
            covered = max(covered, ends)

    def _ends(self, alert: FiredAlert) -> float:
        return self.end if alert.ends is None else alert.ends

    def _seen_by(self, due: DueAlert, moment: float) -> float:
        """Return a deadline, extended by the time in which the problem was hidden."""
        return moment + self._blind(due, self._counts_from(due), moment)

    def _counts_from(self, due: DueAlert) -> float:
        """Return from when it counts whether the problem is hidden.

        What the panel remembers is read again when it is visible again.
        """
        return due.since if due.expected.remembered else due.earliest

    def _blind(self, due: DueAlert, begins: float, ends: float) -> float:
        """Return for how many seconds of a period a problem was hidden.

        It is visible again after the next poll.
        """
        seconds = 0.0
        for other in self._hiding(due.incident, due.expected):
            other_ends = self.end if other.ends is None else other.ends + POLL
            last = min(ends + seconds, other_ends)
            if last > max(begins, other.begins):
                seconds += other_ends - max(begins, other.begins)
        return seconds

    def _hiding(
        self, incident: Incident, expected: ExpectedAlert
    ) -> Iterator[Incident]:
        """Yield the incidents that may hide another from the exporters."""
        for other in self.incidents:
            forgets = expected.remembered and other.kind in FORGETTING
            if other is incident or not (forgets or other.kind in HIDING_PROBLEMS):
                continue
            if other.kind == RESTARTING and not expected.remembered:
                continue
            if other.panel not in ("", incident.panel) and incident.panel:
                continue
            if other.vm_id is None or incident.vm_id in (None, other.vm_id):
                yield other

    def _wrong(self, alert: FiredAlert, due_alerts: Sequence[DueAlert]) -> str:
        """Return why an alert is false; empty if it is explained."""
        if not due_alerts:
            return "nothing is wrong there"
        covered = alert.begins
        ends = self._ends(alert)
        early = min(due.earliest for due in due_alerts)
        for due in sorted(due_alerts, key=lambda due: due.earliest):
            if due.earliest > covered:
                continue
            covered = max(covered, self._explained_until(due))
        if covered == alert.begins:
            return f"it comes {(early - alert.begins) / 3600:.1f} h early"
        if covered < ends:
            return f"it ends {(ends - covered) / 3600:.1f} h late"
        return ""

    def _is_inhibited(
        self,
        alert: FiredAlert,
        due_alerts: Sequence[DueAlert],
        alerts: Sequence[FiredAlert],
    ) -> bool:
        """Return whether nobody is notified of an alert when nothing explains it."""
        spans = [
            (due.earliest, self._explained_until(due))
            for due in due_alerts
            if due.explains(alert)
        ]
        spans += [
            (other.begins, self._ends(other))
            for other in alerts
            if any(rule.inhibits(other, alert) for rule in self.inhibit_rules)
        ]
        covered = alert.begins
        for begins, ends in sorted(spans):
            if begins <= covered:
                covered = max(covered, ends)
        return covered >= self._ends(alert)

    def _explained_until(self, due: DueAlert) -> float:
        if due.until is None:
            return self.end + STEP
        kept = due.until + due.expected.max_overrun_seconds
        return kept + self._blind(due, due.until, kept)

    def _is_documented(self, alert: FiredAlert) -> bool:
        """Return whether an alert is a false one that the documentation describes.

        Where schedules cannot be read and one backup is kept, a schedule of every three
        days looks like a daily one until its next success. And what no fact of the
        panel says, a restart forgets.
        """
        if alert.name not in ("OnAppBackupStale", "OnAppBackupVeryStale"):
            return False
        if self._is_forgotten(alert):
            return True
        for incident in self.incidents:
            if (
                incident.kind in GUESSED
                and incident.target is not None
                and alert.name == "OnAppBackupStale"
                and alert.has_labels(incident.alert_labels("target"))
            ):
                history = self.histories[incident.panel]
                success = history.first("finished", incident.target, alert.begins)
                return success is None or self._ends(alert) <= success + 2 * POLL
        return False

    def _is_forgotten(self, alert: FiredAlert) -> bool:
        """Return whether a restart forgot what the exporter alone had seen."""
        for incident in self.incidents:
            seen = incident.ends if incident.kind in SEEN_END else None
            seen = incident.begins if incident.kind in SEEN_BEGIN else seen
            if seen is None or not alert.has_labels(incident.alert_labels("target")):
                continue
            if 0 <= alert.begins - seen < 2 * incident.interval_seconds and any(
                other.kind in FORGETTING
                and other.panel in ("", incident.panel)
                and other.begins <= alert.begins
                and (other.ends or self.end) > seen - POLL
                for other in self.incidents
            ):
                return True
        return False

    def _befallen(self, alert: FiredAlert) -> set[str]:
        """Return the kinds of look-alikes that may have raised an alert."""
        return {
            incident.kind
            for incident in self.incidents
            if incident.kind not in EXPECTED_ALERTS
            and incident.begins <= alert.begins
            and alert.has_labels(incident.alert_labels("server"))
        }
