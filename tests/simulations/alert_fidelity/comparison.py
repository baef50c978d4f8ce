"""What the alarms should have been, by journals and bounds, and what they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from alert_fidelity.expected_alerts import BLINDING, JAMMED, TROUBLES
from alert_fidelity.incidents import Chronicle, Deed
from alert_fidelity.rule_evaluation import Alarm
from alert_fidelity.timing import POLL, STEP, Bound
from exporter.demo.rows import Target

SUSPENDED = "server suspended, then resumed"
"""Such a server raises nothing, whatever befalls its panel."""
LEARNING = {"every three days, schedules unknown"}
"""Look-alikes that raise one alarm each, before anybody can know better."""


@dataclass(frozen=True)
class Demand:
    """One alert that must fire, or at least may, from one moment to another."""

    deed: Deed
    bound: Bound
    labels: Mapping[str, str]
    since: float
    """From when the grace time runs."""
    earliest: float
    """Before this moment it is a false alarm."""
    until: float | None
    """The mend; None: not before the end of the run."""

    def explains(self, alarm: Alarm) -> bool:
        """Tell whether an alarm is this one's kind."""
        wanted = {**self.labels, "severity": self.bound.severity}
        return alarm.name == self.bound.alert and alarm.says(wanted)


@dataclass(eq=False)
class Verdict:
    """What became of one run."""

    delays: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    """In seconds after the grace time, by kind of trouble, alert and severity."""
    missed: list[Demand] = field(default_factory=list)
    silent: list[tuple[Demand, float]] = field(default_factory=list)
    """What was told and then was not, though it lasted; with the moment."""
    false: list[tuple[Alarm, str]] = field(default_factory=list)
    """With what is wrong about it."""
    documented: list[Alarm] = field(default_factory=list)
    """What is false, but once only and as the runbook says."""
    spared: dict[str, int] = field(default_factory=dict)
    """How many look-alikes there were of each kind."""
    alarmed: dict[str, int] = field(default_factory=dict)
    """How many false alarms each of these kinds has raised."""
    injected: dict[str, int] = field(default_factory=dict)
    alarms: int = 0
    """How many fired in all."""
    servers: int = 0

    @property
    def good(self) -> bool:
        """Tell whether nothing was missed and nothing was false."""
        return not (self.missed or self.silent or self.false)


@dataclass(eq=False)
class Judge:
    """Knows what truly happened in one run, from its beginning to its end."""

    deeds: Sequence[Deed]
    chronicles: Mapping[str, Chronicle]
    end: float
    servers: int = 0

    def verdict(self, alarms: Sequence[Alarm]) -> Verdict:
        """Compare what fired with what should have."""
        found = Verdict(alarms=len(alarms), servers=self.servers)
        for deed in self.deeds:
            counts = found.injected if deed.kind in TROUBLES else found.spared
            counts[deed.kind] = counts.get(deed.kind, 0) + 1
        demands = list(self.demands())
        for demand in demands:
            self._look_for(demand, alarms, found)
        for alarm in alarms:
            wrong = self._wrong(alarm, [d for d in demands if d.explains(alarm)])
            if wrong and self._is_documented(alarm):
                found.documented.append(alarm)
            elif wrong:
                found.false.append((alarm, wrong))
                for kind in self._befallen(alarm):
                    found.alarmed[kind] = found.alarmed.get(kind, 0) + 1
        return found

    def demands(self) -> Iterator[Demand]:
        """Yield all that is to be told of the deeds."""
        for deed in self.deeds:
            for bound in TROUBLES.get(deed.kind, ()):
                yield from self._demanded(deed, bound)
            if deed.kind == "queue jammed":
                yield from self._jammed(deed)

    def _jammed(self, jam: Deed) -> Iterator[Demand]:
        chronicle = self.chronicles[jam.panel]
        ends = self.end if jam.ends is None else jam.ends
        idle = {deed.vm_id for deed in self.deeds if deed.kind == SUSPENDED}
        for at, target, vm_id in chronicle.queued_between(jam.begins - 3 * 3600, ends):
            if vm_id in idle:
                continue
            waiting = Deed(jam.kind, jam.panel, at, None, vm_id, target)
            for bound in JAMMED:
                yield from self._demanded(waiting, bound)

    def _demanded(self, deed: Deed, bound: Bound) -> Iterator[Demand]:
        since = self._since(deed, bound)
        if since is None:
            return
        grace = bound.grace_seconds + bound.grace_intervals * deed.interval_seconds
        until = self._until(deed, bound, since)
        if bound.must and until is not None and until < since + grace:
            return
        where = deed.where(bound.level)
        yield Demand(deed, bound, where, since, since + grace, until)

    def _since(self, deed: Deed, bound: Bound) -> float | None:
        """Return from when a bound's grace time runs."""
        chronicle = self.chronicles.get(deed.panel)
        if bound.since == "begun" or chronicle is None:
            return deed.begins
        if bound.since == "idle":
            return chronicle.idle_since(deed.begins)
        if bound.since == "rest":
            return chronicle.rest_since(deed.begins)
        return None if deed.target is None else self._moment(deed, bound, deed.target)

    def _moment(self, deed: Deed, bound: Bound, target: Target) -> float | None:
        chronicle = self.chronicles[deed.panel]
        if bound.since == "success":
            mend = self._success(deed, deed.begins)
            before = self.end if mend is None else mend - 1
            return chronicle.last("finished", target, before)
        if bound.since == "stuck":
            return chronicle.stuck_since(target, deed.begins)
        if bound.since == "stalled":
            return chronicle.first("stalled", target, deed.begins)
        queued = chronicle.first("queued", target, deed.begins)
        if queued is None or bound.since == "queued":
            return queued
        return chronicle.first(bound.since, target, queued)

    def _until(self, deed: Deed, bound: Bound, since: float) -> float | None:
        """Return the mend, as far as an alert is concerned."""
        chronicle = self.chronicles.get(deed.panel)
        if bound.until == "ended" or chronicle is None or deed.target is None:
            return deed.ends
        if bound.until == "given up":
            return chronicle.first("given up", deed.target, deed.begins)
        if bound.until == "over":
            ends = (
                chronicle.first(how, deed.target, since)
                for how in ("finished", "failed")
            )
            return min((at for at in ends if at is not None), default=None)
        after = deed.begins if bound.since == "success" else since + 1
        return self._success(deed, after)

    def _success(self, deed: Deed, after: float) -> float | None:
        """Return when the first good backup came after a trouble."""
        chronicle = self.chronicles[deed.panel]
        if deed.target is None:
            return None
        incident = deed.ends
        if incident is None:
            queued = chronicle.first("queued", deed.target, deed.begins)
            incident = chronicle.first("failed", deed.target, queued or deed.begins)
        return chronicle.first("finished", deed.target, max(after, incident or after))

    def _look_for(
        self, demand: Demand, alarms: Sequence[Alarm], found: Verdict
    ) -> None:
        if not demand.bound.must:
            return
        bound = demand.bound
        key = (demand.deed.kind, bound.alert, bound.severity)
        delays = found.delays.setdefault(key, [])
        deadline = self._seen_by(demand, demand.earliest + bound.late_seconds)
        about = [alarm for alarm in alarms if demand.explains(alarm)]
        about = [alarm for alarm in about if self._ends(alarm) > demand.earliest]
        moments = [alarm.begins for alarm in about if alarm.begins <= deadline]
        if moments:
            delays.append(max(0.0, min(moments) - demand.earliest))
            found.silent.extend((demand, at) for at in self._silences(demand, about))
            return
        if deadline < self.end and (demand.until is None or demand.until > deadline):
            found.missed.append(demand)

    def _silences(self, demand: Demand, alarms: Sequence[Alarm]) -> Iterator[float]:
        """Yield when an alert ended that had no reason to.

        While nothing can be seen it may, and until it can be seen again.
        """
        until = self.end if demand.until is None else min(demand.until, self.end)
        covered = max(alarms[0].begins, demand.earliest)
        after = [(alarm.begins, self._ends(alarm)) for alarm in alarms]
        for begins, ends in [*after, (until, until)]:
            gap = min(begins, until) - covered
            if gap > 0 and not self._blind(demand.deed, covered - 3 * POLL, begins):
                yield covered
            covered = max(covered, ends)

    def _ends(self, alarm: Alarm) -> float:
        return self.end if alarm.ends is None else alarm.ends

    def _seen_by(self, demand: Demand, moment: float) -> float:
        """Return a deadline, later by the time in which nobody could see."""
        late = moment + self._blind(demand.deed, demand.since, moment)
        if demand.bound.remembered:
            late += self._forgotten(demand, moment)
        return late

    def _forgotten(self, demand: Demand, moment: float) -> float:
        """Return how much later a grace time begins again, after an hour unseen."""
        ends = [
            other.ends
            for other in self._hiding(demand.deed)
            if other.ends is not None
            and other.ends - other.begins > 3600
            and demand.since < other.ends < moment
        ]
        return max(ends, default=demand.since) - demand.since

    def _blind(self, deed: Deed, begins: float, ends: float) -> float:
        """Return for how many seconds a deed was hidden within a time.

        What is hidden comes into view with the next reading.
        """
        seconds = 0.0
        for other in self._hiding(deed):
            other_ends = self.end if other.ends is None else other.ends + POLL
            last = min(ends + seconds, other_ends)
            if last > max(begins, other.begins):
                seconds += other_ends - max(begins, other.begins)
        return seconds

    def _hiding(self, deed: Deed) -> Iterator[Deed]:
        """Yield whatever may hide a deed from the exporters."""
        for other in self.deeds:
            if other is deed or other.kind not in BLINDING:
                continue
            if other.panel not in ("", deed.panel) and deed.panel:
                continue
            if other.vm_id is None or deed.vm_id in (None, other.vm_id):
                yield other

    def _wrong(self, alarm: Alarm, demands: Sequence[Demand]) -> str:
        """Return what is wrong about an alarm; nothing, if it is explained."""
        if not demands:
            return "nothing is wrong there"
        covered = alarm.begins
        ends = self._ends(alarm)
        early = min(demand.earliest for demand in demands)
        for demand in sorted(demands, key=lambda demand: demand.earliest):
            if demand.earliest > covered:
                continue
            covered = max(covered, self._explained_until(demand))
        if covered == alarm.begins:
            return f"it comes {(early - alarm.begins) / 3600:.1f} h early"
        if covered < ends:
            return f"it ends {(ends - covered) / 3600:.1f} h late"
        return ""

    def _explained_until(self, demand: Demand) -> float:
        if demand.until is None:
            return self.end + STEP
        kept = demand.until + demand.bound.kept_seconds
        return kept + self._blind(demand.deed, demand.until, kept)

    def _is_documented(self, alarm: Alarm) -> bool:
        """Tell whether an alarm is one that the documentation promises.

        Where schedules cannot be read, one of every three days seems to be one of days
        until a success after another has shown how long it is between them. And a
        schedule that was enabled again while nobody could look is given no time.
        """
        if alarm.name not in ("OnAppBackupStale", "OnAppBackupVeryStale"):
            return False
        if self._enabled_unseen(alarm):
            return True
        for deed in self.deeds:
            if deed.kind in LEARNING and alarm.says(deed.where("target")):
                chronicle = self.chronicles[deed.panel]
                ends = self._ends(alarm)
                learned = deed.target and chronicle.first(
                    "finished", deed.target, deed.begins
                )
                return learned is None or ends <= learned + 2 * POLL
        return False

    def _enabled_unseen(self, alarm: Alarm) -> bool:
        return any(
            deed.kind == "schedule disabled"
            and deed.ends is not None
            and alarm.says(deed.where("target"))
            and 0 <= alarm.begins - deed.ends < 2 * deed.interval_seconds
            and self._blind(deed, deed.ends - POLL, deed.ends + POLL) > 3600 + POLL
            for deed in self.deeds
        )

    def _befallen(self, alarm: Alarm) -> set[str]:
        """Return the look-alikes that an alarm may be due to."""
        return {
            deed.kind
            for deed in self.deeds
            if deed.kind not in TROUBLES
            and deed.begins <= alarm.begins
            and alarm.says(deed.where("server"))
        }
