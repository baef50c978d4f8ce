"""Write docs/alerts.md from the shipped rules."""  # noqa: INP001  # no package

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parents[1] / "deploy" / "prometheus"

_TEXT = """\
# Alerts

Generated from the rules in `deploy/prometheus/` by `make docs`; do not edit.

## Use them

1. Let Prometheus load both files, unchanged
   ([prometheus.yml](../deploy/prometheus/prometheus.yml) is an example):

       rule_files:
         - backups.rules.yml
         - exporter.rules.yml

2. Take the inhibition rules of
   [alertmanager.yml](../deploy/prometheus/alertmanager.yml) into your Alertmanager:
   with them one trouble is one notification, at the right severity.

They need Prometheus 2.42 or newer (`keep_firing_for`). `critical` is for somebody to be
called, `warning` for the next working day. The annotation `runbook_url` leads to one of
the pages below; `make runbooks URL=https://…` lets all of them lead to where you keep
these pages.

## What they have in common

- **Labels.** `panel`, and what is in trouble: `vm_id`, `target_type`, `target_id`,
  `schedule_id`, `backup_server_id`. The server's `label` and `hostname` are added
  where they are known; without them an alert fires all the same.
- **Replicas, shards, several clouds.** `instance`, `pod` and `node` are aggregated
  away, every other label stays. So replicas must share the rest, `job` above all, and
  raise one alert; clouds that differ in `job`, `panel` or a label of yours are never
  mixed. Of two replicas the one that knows better counts: the newer success, the newer
  name.
- **What is too old is told as that.** Series made from backups go after
  `poll.max_age`, and the alerts made from them end. OnAppBackupDataOld begins before;
  where servers are read less often than every 20 minutes, up to half an hour after,
  which `keep_firing_for` bridges.
- **Suspended servers** raise no alert about their backups, and are given an interval
  when their suspension ends. A server of which that is not known counts as not
  suspended.
- **Servers that need no backups** (`onapp_vm_backup_required` 0) are not unprotected,
  and may have disabled schedules.
- **Restarts** of the exporter end no alert (`keep_firing_for`) and forget nothing that
  was waited for, up to an hour.

Details of single backups (`detail.backups`) are not needed. That they tell every
trouble in time, and nothing else, is shown over weeks of simulated clouds:
[fidelity.md](fidelity.md).

## The status page judges alike

The exporter's [status page](http.md#the-status-page) judges by the same thresholds
and guards; tests compare both. It looks at one moment, so there are differences:

- What alerts wait for (`for`, `keep_firing_for`) it does not wait for.
- A server or disk **without any backup yet, whose first start is to come,** is
  `awaited`, a warning, at once. OnAppServerUnprotected and OnAppDiskUnprotected wait
  until six hours after that start; OnAppBackupStale for an interval and a half.
- A young server or disk without any backup is `new`, and one of which **nothing tells
  when its next backup is due** is `interval_unknown`: notices, for no alert tells of
  them.
- **Suspensions that ended, intervals that were shortened, schedules that are rarer
  than history shows:** alerts know, and may be later than the page.
- **Failures that a schedule counts up, a shrunken inventory, odd sizes:** only
  Prometheus knows what was before. OnAppScheduleFailing (warning),
  OnAppInventoryShrank and OnAppBackupSizeAnomaly are alerts alone.
- A target whose schedule was **deleted** is `unscheduled` when its last good backup is
  older than one and a half of its periods: OnAppScheduleDisabled knows disabled
  schedules only.
- **Locked** shows for backups older than three days, however long they have been so:
  a notice. OnAppBackupLockedLong measures it.
- Of two sections with one address and account **the one that did not try** refused
  credentials itself is `unauthorized`, too; OnAppPanelDown tells of it.
- Of several **shards** each judges its own servers; servers that no shard reads only
  Prometheus sees, and exporters that are down.

## All alerts

| alert | severity | for | when |
|---|---|---|---|
{rows}

## When they fire

Recorded series have names of the form `level:metric:operation`; the alert adds the
names of servers to the last of them.

{sections}
"""


def text() -> str:
    """Return the page."""
    rules = list(_rules())
    named = [rule for rule in rules if "alert" in rule]
    alerts = sorted(named, key=lambda rule: str(rule["alert"]))
    records = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}
    rows = "\n".join(_row(alert) for alert in alerts)
    sections = [
        _section(name, list(group), records)
        for name, group in groupby(alerts, key=lambda rule: str(rule["alert"]))
    ]
    return _TEXT.format(rows=rows, sections="\n\n".join(sections))


def _rules() -> Iterator[dict[str, Any]]:
    for file in sorted(RULES.glob("*.rules.yml")):
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]:
            yield from group["rules"]


def _row(alert: dict[str, Any]) -> str:
    name, summary = alert["alert"], alert["annotations"]["summary"]
    link = f"[{name}](runbooks/{name}.md)"
    severity, pending = alert["labels"]["severity"], alert.get("for", "0m")
    return f"| {link} | {severity} | {pending} | {summary} |"


def _section(name: str, alerts: list[dict[str, Any]], records: dict[str, str]) -> str:
    blocks = [f"### {name}"]
    for alert in alerts:
        head = f"{alert['labels']['severity'].capitalize()}"
        pending, kept = alert.get("for", "0m"), alert["keep_firing_for"]
        blocks.append(f"{head}, for {pending}, kept for {kept}:")
        blocks.append(_indented(_condition(alert["expr"], records)))
    return "\n\n".join(blocks)


def _condition(expression: str, records: dict[str, str]) -> str:
    """Return what the alert says, or what the records say that it only names."""
    if "group_left (label" not in expression and expression.strip() not in records:
        return expression
    used = dict.fromkeys(re.findall(r"\w+:\w+:\w+", expression))
    return "\n\n".join(
        f"{name} =\n{_indented(records[name], 2)}"
        for name in used
        if name in records and not name.endswith(":name")
    )


def _indented(block: str, by: int = 4) -> str:
    lines = block.rstrip().splitlines()
    return "\n".join(" " * by + line if line else "" for line in lines)
