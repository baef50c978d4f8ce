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

2. Copy the inhibition rules of
   [alertmanager.yml](../deploy/prometheus/alertmanager.yml) into your Alertmanager.
   Then one problem causes one notification, at the right severity
   ([which alert silences which](#which-alert-silences-which)).

The rules need Prometheus 2.42 or newer (`keep_firing_for`), and run on 3.x. The
`scrape_interval` must be shorter than five minutes, as for every rule: otherwise series
are missing between scrapes. `critical` means that somebody has to be called, `warning`
that it can wait for the next working day. The annotation `runbook_url` links to one of
the pages below. `make runbooks URL=https://…` changes all these links to where you keep
the pages.

## How they work

The exporter decides. `onapp_state_start_timestamp_seconds` says from which moment on a
[state](http.md#states) holds in a server, target or schedule ([metrics](metrics.md)). A
rule compares that moment with the time. The status page, `/api/v1/status` and the
dashboards show the same decision. Only OnAppBackupSizeAnomaly, OnAppInventoryShrank and
the growth of a backup server need the history in Prometheus.

- **Waiting.** Moments follow from the panel's own timestamps. So a restart of the
  exporter, a lost scrape or a rename does not start the wait again. `for` is five
  minutes, and `keep_firing_for` bridges gaps of fifteen. Rules about backups are
  evaluated every five minutes, so an alert comes ten minutes after its moment at the
  latest. What has no moment, such as a failing collector, is compared over a window.
- **Labels.** `panel`, and what is affected: `vm_id`, `target_type`, `target_id`,
  `schedule_id`, `backup_server_id`, and every label that you add, such as `cluster`.
  Names are not labels, so that a rename neither ends nor doubles an alert. The
  description queries the name when the alert is evaluated, by all labels of the alert.
  A ruler without the template function `query` shows an error instead of the
  description: find the server on the exporter's page `/server?panel=…&vm_id=…`.
- **Replicas, shards, several clouds.** `instance`, `pod` and `node` are aggregated
  away, every other label stays. So replicas must have the same other labels, above all
  `job`, and raise one alert. Clouds that differ in `job`, `panel` or a label of yours
  are never mixed. Of [two replicas](replicas.md) the later moment and the newer success
  count.
- **Old data.** After `poll.max_age` the moments of a server are removed, and its alerts
  end. OnAppBackupDataOld begins before that if `poll.interval` is at most 20 minutes.
  With a longer one, raise `poll.max_age` to twice the interval and half an hour.
- **Suspended servers** raise no alert about their backups.
- **Servers that need no backups** (`onapp_vm_backup_required` 0) are not unprotected.

The alerts do not need details of single backups (`detail.backups`). [Alert
accuracy](fidelity.md) shows how many problems they report in time, and what they report
wrongly, over weeks of simulated clouds. [Known limitations](limitations.md) lists what
no alert can see.

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

Keep the rest of the shipped expression, such as its `unless`. The shipped rules have no
such join, because the alert ends while the owner is unknown, and starts again when the
owner changes. If a label of yours distinguishes clouds, such as `cluster`, add it to
both lists of labels. In Alertmanager, `matchers: [user_id="7"]` then selects the
customer's receiver.

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
