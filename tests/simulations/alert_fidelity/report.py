"""The report of a run in Markdown; docs/fidelity.md is that of the last long run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from alert_fidelity.clouds import START
from alert_fidelity.comparison import FidelityResult
from alert_fidelity.expected_alerts import EXPECTED_ALERTS, ExpectedAlert
from alert_fidelity.plan import Plan
from alert_fidelity.timing import DAY

_SINCE = {
    "begun": "its beginning",
    "success": "the last good backup",
    "stuck": "the start of the stuck run",
    "queued": "the start of the run",
    "failed": "the failure",
    "stalled": "the start that was due",
    "given up": "the third failure",
    "failing": "the failure, at least an interval after the last good backup",
    "finished": "the end of the run",
    "idle": "the last run that ended or was queued",
    "rest": "the last run that ended",
}
_UNTIL = {
    "ended": "fix",
    "success": "next good backup",
    "over": "end of the run",
    "given up": "third failure",
}


_HEAD = """\
# Are the alerts right?

Written by `make fidelity`; do not edit.

Three simulated panels run for weeks. At known times problems occur in servers, panels
and exporters, and much happens that only looks like a problem. Two replicas of the real
exporter read the panels over HTTP, `promtool` evaluates the shipped rules over their
metrics, and the alerts that fire are compared with the clouds' own journals: which
backups were queued, finished, failed or stuck, and what was done when. Bounds are
constants of the test (`tests/simulations/alert_fidelity/expected_alerts.py`), older
than the run. An alert is false if no problem explains it, if it comes before its grace
time is over, or if it ends too late.

The simulation is coarser than a real installation: servers are read every hour,
inventories every half hour, and rules are evaluated every quarter of an hour; delays
are longer than with the defaults by as much. A delay counts from the end of the grace
time. A problem that was fixed before an alert was due demands none. A delay may be
longer than its bound only while something else hides the problem from the exporters;
the table names it.
""".splitlines()


def page(
    plans: Sequence[Plan], results: Sequence[FidelityResult], seconds: float
) -> list[str]:
    """Return the whole report, of all runs together."""
    result = FidelityResult()
    for other in results:
        result.add(other)
    servers = ", ".join(str(other.servers) for other in results)
    seeds = ", ".join(str(plan.seed) for plan in plans)
    run = (
        f"{plans[0].days:g} simulated days, {servers} servers on three panels, two "
        f"replicas; seeds {seeds}; {seconds / 60:.0f} minutes."
    )
    return [
        *_HEAD,
        "",
        run,
        "",
        *_headline(result),
        "",
        "## Problems",
        "",
        *_problems(result),
        "",
        "## Look-alikes",
        "",
        *_look_alikes(result),
        "",
        "## What went wrong",
        "",
        *(_wrongs(result) or ["Nothing."]),
        "",
        "## Bounds",
        "",
        *_bounds(),
        "",
    ]


def _headline(result: FidelityResult) -> Iterator[str]:
    injected = sum(result.injected.values())
    raised = sum(map(len, result.delays.values()))
    missed, early = len(result.missed), len(result.ended_early)
    look_alikes = sum(result.look_alikes.values())
    false_by_look_alike = sum(result.false_by_look_alike.values())
    yield (
        f"- {injected} problems demanded {raised + missed} alerts: {raised} came in "
        f"time, **{missed} were missed**, {early} ended too early."
    )
    false = len(result.false)
    yield f"- {result.fired} alerts fired in all, **{false} were false**."
    yield (
        f"- {look_alikes} look-alikes raised {false_by_look_alike}, and "
        f"{len(result.documented)} that are false as documented (OnAppBackupStale, "
        "*When it is wrong*)."
    )


def _problems(result: FidelityResult) -> Iterator[str]:
    yield (
        "| problem | times | alert | fired | delay, median | longest | bound "
        "| longer because of | missed |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for kind, expected_alerts in EXPECTED_ALERTS.items():
        for expected in expected_alerts:
            key = (kind, expected.alert, expected.severity)
            if not expected.required:
                continue
            delays = result.delays.get(key, [])
            missed = sum(
                (m.incident.kind, m.expected.alert, m.expected.severity) == key
                for m in result.missed
            )
            middle = _minutes(median(delays)) if delays else ""
            longest = _minutes(max(delays)) if delays else ""
            yield (
                f"| {kind} | {result.injected.get(kind, 0)} "
                f"| {expected.alert}, {expected.severity} | {len(delays)} | {middle} "
                f"| {longest} | {_minutes(expected.max_delay_seconds)} "
                f"| {'; '.join(sorted(result.reasons.get(key, ())))} | {missed} |"
            )


def _look_alikes(result: FidelityResult) -> Iterator[str]:
    yield "| look-alike | times | false alerts |"
    yield "|---|---|---|"
    for kind, count in sorted(result.look_alikes.items()):
        yield f"| {kind} | {count} | {result.false_by_look_alike.get(kind, 0)} |"


def _wrongs(result: FidelityResult) -> list[str]:
    missed = [
        f"- missed: {due.expected.alert} {due.expected.severity} of {due.incident}"
        f" on day {(due.earliest - START) / DAY:.2f}"
        for due in result.missed
    ]
    silent = [
        f"- ended early: {due.expected.alert} {due.expected.severity} of {due.incident}"
        f" on day {(at - START) / DAY:.2f}"
        for due, at in result.ended_early
    ]
    false = [f"- false: {alert}: {why}" for alert, why in result.false]
    known = [f"- false as documented: {alert}" for alert in result.documented]
    return [*missed, *silent, *false, *known]


def _bounds() -> Iterator[str]:
    yield "| problem | alert | grace | at the latest | ends after the | at the latest |"
    yield "|---|---|---|---|---|---|"
    for kind, expected_alerts in EXPECTED_ALERTS.items():
        for expected in expected_alerts:
            may = "" if expected.required else " (may come)"
            yield (
                f"| {kind} | {expected.alert}, {expected.severity}{may} "
                f"| {_grace(expected)} | {_minutes(expected.max_delay_seconds)} "
                f"| {_UNTIL[expected.until]} "
                f"| {_minutes(expected.max_overrun_seconds)} |"
            )


def _grace(expected: ExpectedAlert) -> str:
    parts = []
    if expected.grace_intervals:
        parts.append(f"{expected.grace_intervals:g} intervals")
    if expected.grace_seconds:
        parts.append(_minutes(expected.grace_seconds))
    return f"{' + '.join(parts) or 'none'}, from {_SINCE[expected.since]}"


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
