"""Write docs/alerts.md from the shipped rules."""  # noqa: INP001  # no package

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parents[1] / "deploy" / "prometheus"
_ALWAYS_EQUAL = {"cluster", "job"}
"""What each inhibition rule of the example asks to be equal."""

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
   with them one problem is one notification, at the right severity. A critical state of
   a server mutes its warnings, and a panel that is down mutes what follows from it.

They need Prometheus 2.42 or newer (`keep_firing_for`), and run on 3.x. The
`scrape_interval` must stay below five minutes, as for every rule: a longer one lets
series vanish between scrapes. `critical` is for somebody to be called, `warning` for
the next working day. The annotation `runbook_url` leads to one of the pages below;
`make runbooks URL=https://…` lets all of them lead to where you keep these pages.

## How they work

The exporter judges, and says in `onapp_state_start_timestamp_seconds` from which moment
on a state holds of a server, target or schedule ([metrics.md](metrics.md)). A rule
compares that moment with the time. The status page, `/api/v1/status` and the dashboards
show the same judgement, so there is nothing that they could say differently; only
OnAppBackupSizeAnomaly, OnAppInventoryShrank and the growth of a backup server need
history that Prometheus alone has.

- **Waiting.** Moments follow from facts with the panel's own timestamps: a restart of
  the exporter, a lost scrape or a rename starts no wait again. `for` is five minutes,
  and `keep_firing_for` bridges gaps of fifteen. Rules about backups are evaluated every
  five minutes, so an alert comes ten minutes after its moment at the latest. What has
  no moment, such as a collector that fails, is looked at over a window.
- **Labels.** `panel`, and what is affected: `vm_id`, `target_type`, `target_id`,
  `schedule_id`, `backup_server_id`, and every label that you add, such as `cluster`.
  Names are no labels: the description asks for them when the alert is evaluated, so
  that a rename neither ends nor doubles an alert. It finds a server only by all labels
  of the alert; another cluster's name never shows. Where a ruler does not support the
  template function `query`, it shows an error in place of the description: find the
  server by its number on the exporter's page `/server?panel=…&vm_id=…`.
- **Replicas, shards, several clouds.** `instance`, `pod` and `node` are aggregated
  away, every other label stays. So replicas must share the rest, `job` above all, and
  raise one alert; clouds that differ in `job`, `panel` or a label of yours are never
  mixed. Of [two replicas](replicas.md) the one that knows better counts: the later
  moment, the newer success.
- **What is too old is reported as that.** Moments made from backups go after
  `poll.max_age`, and their alerts end. OnAppBackupDataOld begins before that, as long
  as `poll.interval` is at most 20 minutes; with a longer one, raise `poll.max_age` to
  twice the interval and half an hour.
- **Suspended servers** raise no alert about their backups.
- **Servers that need no backups** (`onapp_vm_backup_required` 0) are not unprotected.

Details of single backups (`detail.backups`) are not needed. How many problems the
alerts report in time, and what they report wrongly, was measured over weeks of
simulated clouds: [alert accuracy](fidelity.md). What no alert can see is listed under
[known limitations](limitations.md).

## Route by customer

To route alerts by the owner of a server, add its `user_id` in a copy of a rule that
replaces the shipped one:

    - alert: OnAppServerUnprotected
      expr: |
        (
          time() > max without (instance, pod, node, state) (
            onapp_state_start_timestamp_seconds{{state="unprotected"}}
          )
        )
        * on (job, panel, vm_id) group_left (user_id)
        topk by (job, panel, vm_id) (1, onapp_vm_info)

Keep the rest of the shipped expression, such as its `unless`. The shipped rules do
without such a join: an alert that needs one is lost while the name is unknown, and
starts again when the server changes hands. A label of yours that tells clouds apart,
such as `cluster`, belongs into both lists of labels. In Alertmanager,
`matchers: [user_id="7"]` then leads to the customer's receiver.

## All alerts

| alert | severity | for | when |
|---|---|---|---|
{rows}

## Which alert silences which

While an alert on the left fires, Alertmanager sends no notification for the alerts in
the middle. Both must have the same `job` and `cluster`, and the same labels on the
right. A silenced alert stays visible in Prometheus, and its state on the status page.
If it still fires when the other alert ends, it is sent then.

| while this fires | these are silent | with the same |
|---|---|---|
{inhibitions}

## When they fire

Recorded series have names of the form `level:metric:operation`.

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
    return _TEXT.format(
        rows=rows,
        inhibitions="\n".join(_inhibitions(alerts)),
        sections="\n\n".join(sections),
    )


def _rules() -> Iterator[dict[str, Any]]:
    for file in sorted(RULES.glob("*.rules.yml")):
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]:
            yield from group["rules"]


def _row(alert: dict[str, Any]) -> str:
    name, summary = alert["alert"], alert["annotations"]["summary"]
    link = f"[{name}](runbooks/{name}.md)"
    severity, pending = alert["labels"]["severity"], alert.get("for", "0m")
    return f"| {link} | {severity} | {pending} | {summary} |"


def _inhibitions(alerts: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a row for each inhibition rule of the example for Alertmanager."""
    severities: dict[str, set[str]] = {}
    for alert in alerts:
        severities.setdefault(alert["alert"], set()).add(alert["labels"]["severity"])
    config = yaml.safe_load((RULES / "alertmanager.yml").read_text("utf-8"))
    for rule in config["inhibit_rules"]:
        sources = _matching(rule["source_matchers"], severities)
        targets = _matching(rule["target_matchers"], severities)
        same = [label for label in rule["equal"] if label not in _ALWAYS_EQUAL]
        shared = ", ".join(f"`{label}`" for label in same)
        yield f"| {sources} | {targets} | {shared or '`job`'} |"


def _matching(matchers: list[str], severities: dict[str, set[str]]) -> str:
    """Return the alerts that match, each with the further labels that it needs."""
    names, wanted, further = [*severities], "", []
    for matcher in matchers:
        label, how, value = re.fullmatch(r'(\w+)(=~|!=|=)"(.*)"', matcher).groups()  # type: ignore[union-attr]  # all are so
        if label == "alertname":
            equal = how != "!="
            names = [name for name in names if bool(re.fullmatch(value, name)) is equal]
        elif label == "severity":
            wanted = value
        else:
            further.append(f"`{matcher}`" if value else f"no `{label}`")
    left_out = [name for name in severities if name not in names]
    if len(left_out) == 1:
        return f"every alert but {left_out[0]}"
    shown = []
    for name in names:
        several = wanted and len(severities[name]) > 1
        conditions = ", ".join([*([wanted] if several else []), *further])
        shown.append(f"{name} ({conditions})" if conditions else name)
    return ", ".join(shown)


def _section(name: str, alerts: list[dict[str, Any]], records: dict[str, str]) -> str:
    blocks = [f"### {name}"]
    for alert in alerts:
        head = f"{alert['labels']['severity'].capitalize()}"
        pending, kept = alert.get("for", "0m"), alert["keep_firing_for"]
        blocks.append(f"{head}, for {pending}, kept for {kept}:")
        blocks.append(_indented(_condition(alert["expr"], records)))
    return "\n\n".join(blocks)


def _condition(expression: str, records: dict[str, str]) -> str:
    """Return what the alert compares, and how the series that it names are recorded."""
    blocks = [expression.rstrip()]
    for block in blocks:
        used = dict.fromkeys(re.findall(r"\w+:\w+:\w+", block))
        new = [f"{name} =\n{_indented(records[name], 2)}" for name in used]
        blocks += [one for one in new if one not in blocks]
    return "\n\n".join(blocks)


def _indented(block: str, by: int = 4) -> str:
    lines = block.rstrip().splitlines()
    return "\n".join(" " * by + line if line else "" for line in lines)
