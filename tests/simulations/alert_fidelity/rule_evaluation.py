"""Evaluation of the shipped rules over recorded series, by ``promtool``.

Its clock begins at 0, so all times are relative to the beginning of the run. Servers
are evaluated in a few groups, each with all series of panels and exporters: no rule
compares one server with another. Annotations are left out: they cost a third of the
time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alert_fidelity.clouds import START
from alert_fidelity.replica import RULES, Recording
from alert_fidelity.timing import STEP

_MINUTES = round(STEP / 60)
_FIRING = 'ALERTS{alertstate="firing"}'
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SHOWN = re.compile(r"\{(.*?)\} 1E\+00")
_FAILED = re.compile(r'expr: "(.*?)", time: (\S+?),\n\s*exp: nil\n\s*got: (.*)')
_DURATION = re.compile(r"(\d+)([wdhms])")
_UNITS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True)
class FiredAlert:
    """An alert that fired, from one evaluation to another."""

    labels: tuple[tuple[str, str], ...]
    begins: float
    ends: float | None
    """None: it fires at the end of the run."""

    @property
    def name(self) -> str:
        """Return the name of the alert."""
        return dict(self.labels)["alertname"]

    def has_labels(self, wanted: Mapping[str, str]) -> bool:
        """Return whether it has these labels."""
        return wanted.items() <= dict(self.labels).items()

    def __str__(self) -> str:
        """Return alert, severity, labels and duration in one line."""
        known = dict(self.labels)
        shown = ("panel", "vm_id", "target_type", "target_id", "collector", "instance")
        what = ", ".join(f"{name}={known[name]}" for name in shown if name in known)
        end = "the end" if self.ends is None else f"day {_day(self.ends)}"
        return (
            f"{self.name} {known['severity']} {{{what}}} "
            f"from day {_day(self.begins)} to {end}"
        )


def _day(moment: float) -> str:
    return f"{(moment - START) / 86_400:.2f}"


def fired_alerts(
    recordings: Mapping[str, Recording],
    folder: Path,
    *,
    rules: Iterable[Path] = (),
    parts: int = 1,
    only: frozenset[int] = frozenset(),
) -> list[FiredAlert]:
    """Return the alerts that fire over the replicas' series, by the replicas' names.

    ``only`` restricts the run to these servers.
    """
    files = _without_annotations(rules or sorted(RULES.glob("*.rules.yml")), folder)
    steps = max(recording.steps for recording in recordings.values())
    before = f"({_FIRING} offset {_MINUTES}m)"
    asked = [
        (query, step)
        for step in range(steps)
        for query in (f"{_FIRING} unless {before}", f"{before} unless {_FIRING}")
    ]

    def part(number: int) -> str:
        series = [
            {
                "series": _named(name, replica),
                "values": _values(name, runs, recording.steps),
            }
            for replica, recording in recordings.items()
            for name, runs in recording.series.items()
            if _is_in(name, lambda vm_id: _chosen(vm_id, only, number, parts))
        ]
        return _evaluated(folder / f"part-{number}.yml", files, series, asked)

    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(part, range(parts)))
    found = {alert for text in texts for alert in _parsed(text)}
    return sorted(found, key=lambda alert: (alert.begins, alert.labels))


def firing_after(
    recordings: Mapping[str, Recording],
    folder: Path,
    *,
    first: int,
    steps: int,
    is_lost: Callable[[int], bool],
) -> set[str]:
    """Return the alerts that fire after some steps, evaluated every minute.

    Every replica is scraped every minute but for those that are lost.
    """
    begins = START + first * STEP
    series = []
    for replica, recording in recordings.items():
        for name, runs in recording.series.items():
            values: list[str | None] = []
            for step in range(first, first + steps):
                known = [value for at, value in runs if at <= step]
                values += [known[-1] if known else None] * _MINUTES
            words = _words(name, values, begins, is_lost)
            series.append({"series": _named(name, replica), "values": words})
    files = _without_annotations(sorted(RULES.glob("*.rules.yml")), folder)
    asked = [(_FIRING, steps * _MINUTES - 1)]
    text = _evaluated(folder / "minutes.yml", files, series, asked, minutes=1)
    return {
        ", ".join(f"{name}={value}" for name, value in labels)
        for _, _, got in _FAILED.findall(text)
        for labels in map(_LABEL.findall, _SHOWN.findall(got))
    }


def _words(
    name: str, values: list[str | None], begins: float, is_lost: Callable[[int], bool]
) -> str:
    """Return a series in promtool's notation, sample by sample."""
    shift = begins if _is_moment(name) else 0.0
    words = []
    scraped: str | None = None
    for minute, value in enumerate(values):
        before, scraped = scraped, value
        if is_lost(minute):
            scraped = "0" if name == "up" else None
        if scraped is not None:
            words.append(repr(float(scraped) - shift))
        else:
            words.append("_" if before is None else "stale")
    return " ".join(words)


def _is_moment(name: str) -> bool:
    family = name.partition("{")[0]
    return family.endswith(("_timestamp_seconds", "_time_seconds"))


def _without_annotations(files: Iterable[Path], folder: Path) -> list[str]:
    """Return copies of rule files."""
    copies = []
    for file in files:
        rules = yaml.safe_load(file.read_text("utf-8"))
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("annotations", None)
        copies.append(folder / file.name)
        copies[-1].write_text(yaml.safe_dump(rules), "utf-8")
    return [str(copy) for copy in copies]


def _chosen(vm_id: int, only: frozenset[int], number: int, parts: int) -> bool:
    return vm_id % parts == number and (not only or vm_id in only)


def _is_in(name: str, chosen: Callable[[int], bool]) -> bool:
    vm_id = dict(_LABEL.findall(name)).get("vm_id")
    return not vm_id or chosen(int(vm_id))


def _named(name: str, replica: str) -> str:
    """Return the name of a replica's series in Prometheus."""
    family, _, labels = name.partition("{")
    target = f'job="onapp-backups",instance="{replica}"'
    return f"{family}{{{target}{',' if labels else '}'}{labels}"


def _values(name: str, runs: list[tuple[int, str | None]], steps: int) -> str:
    """Return a series in promtool's notation."""
    shift = START if _is_moment(name) else 0.0
    words = [_run("_", runs[0][0])] if runs[0][0] else []
    ends = [*(at for at, _ in runs[1:]), steps]
    for (at, value), end in zip(runs, ends, strict=True):
        if value is None:
            words += ["stale", *([_run("_", end - at - 1)] if end - at > 1 else [])]
        else:
            words.append(_run(repr(float(value) - shift), end - at))
    return " ".join(words)


def _run(word: str, count: int) -> str:
    """Return a value so many times, in promtool's notation."""
    if word == "_":
        return f"_x{count}"
    return word if count == 1 else f"{word}x{count - 1}"


def _evaluated(
    file: Path,
    rules: list[str],
    series: list[dict[str, str]],
    asked: Iterable[tuple[str, int]],
    minutes: int = _MINUTES,
) -> str:
    """Return promtool's output for queries, each at a step of so many minutes."""
    queries = [
        {"expr": query, "eval_time": f"{step * minutes}m"} for query, step in asked
    ]
    test = {
        "interval": f"{minutes}m",
        "input_series": series,
        "promql_expr_test": queries,
    }
    case: dict[str, Any] = {
        "rule_files": rules,
        "evaluation_interval": f"{minutes}m",
        "tests": [test],
    }
    file.write_text(json.dumps(case), "utf-8")
    ended = subprocess.run(
        ["promtool", "test", "rules", file],
        capture_output=True,
        text=True,
        check=False,
        # Saves a sixth of the time, at the price of memory.
        env={**os.environ, "GOGC": "400"},
    )
    output = ended.stdout + ended.stderr
    if not re.search("SUCCESS|FAILED", output) or _broken(output):
        raise RuntimeError(f"promtool failed: {output[:2000]}")
    return output


def _seconds(time: str) -> int:
    return sum(int(n) * _UNITS[unit] for n, unit in _DURATION.findall(time))


def _broken(text: str) -> bool:
    """Return whether promtool reports anything but the results of the queries."""
    heads = {line.strip().partition(" ")[0] for line in text.splitlines()}
    return bool(heads - {"Unit", "FAILED:", "SUCCESS", "expr:", "exp:", "got:", ""})


def _parsed(text: str) -> Iterator[FiredAlert]:
    """Yield the alerts, each from when it began to when it next ended."""
    begun: dict[tuple[tuple[str, str], ...], list[float]] = defaultdict(list)
    ended: dict[tuple[tuple[str, str], ...], list[float]] = defaultdict(list)
    for query, time, got in _FAILED.findall(text):
        into = ended if query.startswith("(") else begun
        for labels in _SHOWN.findall(got):
            pairs = (pair for pair in _LABEL.findall(labels) if pair[0][:2] != "__")
            key = tuple(pair for pair in pairs if pair[0] != "alertstate")
            into[key].append(START + _seconds(time))
    for labels, moments in begun.items():
        ends = ended[labels]
        for moment in moments:
            yield FiredAlert(
                labels, moment, next((e for e in ends if e > moment), None)
            )
