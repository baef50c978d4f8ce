"""What a run has shown, in Markdown: docs/fidelity.md is the last long one."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from alert_fidelity.comparison import Verdict
from alert_fidelity.expected_alerts import TROUBLES
from alert_fidelity.plan import Plan
from alert_fidelity.timing import Bound

_SINCE = {
    "begun": "its beginning",
    "success": "the last good backup",
    "stuck": "the queueing of the stuck take",
    "queued": "the queueing of the take",
    "failed": "the failure",
    "stalled": "the start that was due",
    "given up": "the third failure",
    "finished": "the end of the take",
    "idle": "the last take that ended or was queued",
    "rest": "the last take that ended",
}
_UNTIL = {
    "ended": "mend",
    "success": "next good backup",
    "over": "end of the take",
    "given up": "third failure",
}


_HEAD = """\
# Are the alerts right?

Written by `make fidelity`; do not edit.

Three simulated panels live for weeks. At known times troubles befall servers, panels
and exporters, and much happens that only looks like trouble. Two replicas of the real
exporter read the panels over HTTP, `promtool` evaluates the shipped rules over what
they say, and what fires is compared with what the clouds have written down themselves:
which backups were queued, finished, failed or stuck, and what was done when. Bounds are
constants of the test (`tests/simulations/alert_fidelity/expected_alerts.py`), older
than the run. An alert that no trouble explains, that comes before its grace time is
over or ends too late, is false.

What is simulated more coarsely than it is: servers are read every hour, inventories
every half hour, and rules are evaluated every quarter of an hour; delays are by so much
longer than with the defaults. A delay counts from the end of the grace time. Trouble
that was mended before an alert was due demands none.
""".splitlines()


def page(plan: Plan, verdict: Verdict, seconds: float) -> list[str]:
    """Return the whole report."""
    return [
        *_HEAD,
        "",
        *_headline(plan, verdict, seconds),
        "",
        "## Troubles",
        "",
        *_troubles(verdict),
        "",
        "## Look-alikes",
        "",
        *_look_alikes(verdict),
        "",
        "## What went wrong",
        "",
        *(_wrongs(verdict) or ["Nothing."]),
        "",
        "## Bounds",
        "",
        *_bounds(),
        "",
    ]


def _headline(plan: Plan, verdict: Verdict, seconds: float) -> Iterator[str]:
    injected = sum(verdict.injected.values())
    told = sum(map(len, verdict.delays.values()))
    spared = sum(verdict.spared.values())
    yield (
        f"{plan.days:g} simulated days, {verdict.servers} servers on three panels, two "
        f"replicas, seed {plan.seed}; {seconds / 60:.0f} minutes."
    )
    yield ""
    yield (
        f"- {injected} troubles demanded {told + len(verdict.missed)} alerts: {told} "
        f"came in time, **{len(verdict.missed)} were missed**, {len(verdict.silent)} "
        "fell silent too early."
    )
    false = len(verdict.false)
    yield f"- {verdict.alarms} alerts fired in all, **{false} were false**."
    yield (
        f"- {spared} look-alikes raised {sum(verdict.alarmed.values())}, and "
        f"{len(verdict.documented)} that are false as documented (OnAppBackupStale, "
        "*When it is wrong*)."
    )


def _troubles(verdict: Verdict) -> Iterator[str]:
    yield (
        "| trouble | times | alert | told | delay, median | longest | bound | missed |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for kind, bounds in TROUBLES.items():
        for bound in bounds:
            key = (kind, bound.alert, bound.severity)
            if not bound.must:
                continue
            delays = verdict.delays.get(key, [])
            missed = sum(
                (m.deed.kind, m.bound.alert, m.bound.severity) == key
                for m in verdict.missed
            )
            middle = _minutes(median(delays)) if delays else ""
            longest = _minutes(max(delays)) if delays else ""
            yield (
                f"| {kind} | {verdict.injected.get(kind, 0)} "
                f"| {bound.alert}, {bound.severity} | {len(delays)} | {middle} "
                f"| {longest} | {_minutes(bound.late_seconds)} | {missed} |"
            )


def _look_alikes(verdict: Verdict) -> Iterator[str]:
    yield "| look-alike | times | false alerts |"
    yield "|---|---|---|"
    for kind, count in sorted(verdict.spared.items()):
        yield f"| {kind} | {count} | {verdict.alarmed.get(kind, 0)} |"


def _wrongs(verdict: Verdict) -> list[str]:
    missed = [
        f"- missed: {demand.bound.alert} {demand.bound.severity} of {demand.deed}"
        for demand in verdict.missed
    ]
    silent = [
        f"- silent: {demand.bound.alert} {demand.bound.severity} of {demand.deed}"
        for demand, _ in verdict.silent
    ]
    false = [f"- false: {alarm}: {why}" for alarm, why in verdict.false]
    known = [f"- false as documented: {alarm}" for alarm in verdict.documented]
    return [*missed, *silent, *false, *known]


def _bounds() -> Iterator[str]:
    yield "| trouble | alert | grace | at the latest | ends after the | at the latest |"
    yield "|---|---|---|---|---|---|"
    for kind, bounds in TROUBLES.items():
        for bound in bounds:
            may = "" if bound.must else " (may come)"
            yield (
                f"| {kind} | {bound.alert}, {bound.severity}{may} | {_grace(bound)} "
                f"| {_minutes(bound.late_seconds)} | {_UNTIL[bound.until]} "
                f"| {_minutes(bound.kept_seconds)} |"
            )


def _grace(bound: Bound) -> str:
    parts = []
    if bound.grace_intervals:
        parts.append(f"{bound.grace_intervals:g} intervals")
    if bound.grace_seconds:
        parts.append(_minutes(bound.grace_seconds))
    return f"{' + '.join(parts) or 'none'}, from {_SINCE[bound.since]}"


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
