"""Rules for ``/metrics`` during a fault, compared with a cloud that has none.

A rule applies to the series whose beginning matches its regular expression. The first
rule that matches counts; a series without one must be as in the reference.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from exporter.health.conditions import (
    DATA_OLD,
    FINE,
    POLL_FAILING,
    SERVER_CONDITION_RANK,
)

Scrape = Mapping[str, str]
"""Each series of a scrape with its value, as written."""


@dataclass(frozen=True)
class Observation:
    """What a scrape is compared with."""

    before: Scrape
    """The scrape at the beginning of the fault."""
    reference: Scrape
    """The scrape of the same moment without a fault."""
    found: Scrape
    """The scrape itself."""
    now: float
    elapsed: float
    """Seconds since the fault began."""
    recent_seconds: float
    """How old the timestamp of something periodic may be."""


DISK_LAST_SUCCESS = (
    'onapp_target_last_success_timestamp_seconds{panel="cp",vm_id="1"'
    ',target_type="Disk",target_id="101"}'
)

_ROUNDING_SECONDS = 1.0
_READ = 'onapp_vm_poll_success{{panel="cp",vm_id="{}"}}'
_READ_AT = 'onapp_vm_last_poll_success_timestamp_seconds{{panel="cp",vm_id="{}"}}'
_OLD_AT = (
    'onapp_state_start_timestamp_seconds{{panel="cp",vm_id="{}",target_type="",'
    'target_id="",schedule_id="",state="data_old"}}'
)
_INTERVAL = 'onapp_poll_interval_seconds{panel="cp",shard="0"}'
_RANK = {each.key: rank for each, rank in SERVER_CONDITION_RANK.items()}

Outcome = Callable[[str, str | None, Observation], bool]
"""Whether a series may have this value; None: be absent."""


@dataclass(frozen=True)
class Rule:
    """The allowed outcome of some series."""

    series: str
    outcome: Outcome

    def matches(self, series: str) -> bool:
        """Return whether it applies to a series."""
        return _pattern(self.series).match(series) is not None


@cache
def _pattern(series: str) -> re.Pattern[str]:
    return re.compile(series)


def kept(series: str, value: str | None, observation: Observation) -> bool:
    """As before the fault; ages continue."""
    before = observation.before.get(series)
    if before is not None and series.startswith("onapp_backup_age_seconds"):
        return value is not None and float(value) == float(before) + observation.elapsed
    return value == before


def absent(_series: str, value: str | None, _moment: Observation) -> bool:
    """Absent."""
    return value is None


def same_as_reference(series: str, value: str | None, observation: Observation) -> bool:
    """As without a fault."""
    return value == observation.reference.get(series)


def old_or_new(series: str, value: str | None, observation: Observation) -> bool:
    """As before the fault or as now: it may have been read just before."""
    return kept(series, value, observation) or same_as_reference(
        series, value, observation
    )


def new_or_absent(series: str, value: str | None, observation: Observation) -> bool:
    """As now, or absent because nothing was answered."""
    return value is None or same_as_reference(series, value, observation)


def lower_or_absent(series: str, value: str | None, observation: Observation) -> bool:
    """Be a sum in which something is missing, or absent."""
    return value is None or 0 <= float(value) <= float(observation.reference[series])


def between(series: str, value: str | None, observation: Observation) -> bool:
    """Be a sum of old and new values."""
    known = (observation.before.get(series), observation.reference.get(series))
    old, new = (float(each or 0) for each in known)
    return value is not None and min(old, new) <= float(value) <= max(old, new)


def rises(series: str, value: str | None, observation: Observation) -> bool:
    """Higher than before the fault."""
    return value is not None and float(value) > float(observation.before.get(series, 0))


def may_rise(series: str, value: str | None, observation: Observation) -> bool:
    """As high as before the fault, or higher."""
    return value is not None and float(value) >= float(
        observation.before.get(series, 0)
    )


def recent(_series: str, value: str | None, observation: Observation) -> bool:
    """Be a timestamp of the last two intervals."""
    age = observation.now - float(value or 0)
    return value is not None and 0 <= age <= observation.recent_seconds


def since_the_fault(_series: str, value: str | None, observation: Observation) -> bool:
    """Seconds, at most as many as since the fault."""
    return value is not None and 0 <= float(value) <= observation.elapsed


def one_of(*values: str) -> Outcome:
    """One of these values."""

    def outcome(_series: str, value: str | None, _moment: Observation) -> bool:
        return value in values

    return outcome


def near(*values: float) -> Outcome:
    """Return the outcome: at most half a unit from one of these."""

    def outcome(_series: str, value: str | None, _moment: Observation) -> bool:
        return value is not None and any(abs(float(value) - v) <= 0.5 for v in values)

    return outcome


def within(low: float, high: float) -> Outcome:
    """Return the outcome: between two values."""

    def outcome(_series: str, value: str | None, _moment: Observation) -> bool:
        return value is not None and low <= float(value) <= high

    return outcome


def at_most(seconds: float) -> Outcome:
    """Return the outcome: between zero and so many seconds."""

    def outcome(_series: str, value: str | None, _moment: Observation) -> bool:
        return value is not None and 0 <= float(value) <= seconds

    return outcome


def copy_of(series: str, of: str) -> Outcome:
    """Return the outcome: the value that another series has in the reference."""

    def outcome(found: str, value: str | None, observation: Observation) -> bool:
        return value == observation.reference[found.replace(series, of)]

    return outcome


def in_state(state: str) -> Outcome:
    """Return the outcome: this state and no other."""

    def outcome(series: str, value: str | None, _moment: Observation) -> bool:
        return (value == "1") == (_label("state", series) == state)

    return outcome


def judged_by(facts: Callable[[Observation], Scrape]) -> Outcome:
    """Return the outcome: the state by these facts or of its reads, what is worse."""

    def outcome(series: str, value: str | None, observation: Observation) -> bool:
        vm_id, state = _state_of(series)
        known = {states(facts(observation)).get(vm_id, FINE.key)}
        if observation.found.get(_READ.format(vm_id)) == "0":
            old_at = float(observation.found[_OLD_AT.format(vm_id)])
            too_old = old_at <= observation.now
            known.add(DATA_OLD.key if too_old else POLL_FAILING.key)
        return (value == "1") == (state == min(known, key=_RANK.__getitem__))

    return outcome


judged_as_before = judged_by(lambda observation: observation.before)
judged_as_now = judged_by(lambda observation: observation.reference)


def judged_as_before_or_now(
    series: str, value: str | None, observation: Observation
) -> bool:
    """As judged by the old facts or by the new ones."""
    return judged_as_before(series, value, observation) or judged_as_now(
        series, value, observation
    )


def as_many_as_in_that_state(
    series: str, value: str | None, observation: Observation
) -> bool:
    """Be the number of servers that have the state in the same scrape."""
    counts = Counter(states(observation.found).values())
    return value == str(counts[_label("state", series)])


def too_old_after_its_last_read(
    series: str, value: str | None, observation: Observation
) -> bool:
    """Two intervals and twenty minutes after the last read, or else the first try."""
    vm_id, found = _label("vm_id", series), observation.found
    if value is None:
        return _READ.format(vm_id) not in found
    since = float(value) - 2 * float(found[_INTERVAL]) - 1200.0
    read_at = found.get(_READ_AT.format(vm_id))
    if read_at is None:
        return -_ROUNDING_SECONDS < observation.now - since <= observation.elapsed
    return 0 <= since - float(read_at) < _ROUNDING_SECONDS


def as_long_after_success(
    series: str, value: str | None, observation: Observation
) -> bool:
    """As long after the last success of its target as without a fault."""
    labels = re.search(r"\{(.*),schedule_id=", series)
    assert labels is not None
    success = f"onapp_target_last_success_timestamp_seconds{{{labels[1]}}}"
    found, reference = observation.found, observation.reference
    return value is not None and float(value) - float(found[success]) == float(
        reference[series]
    ) - float(reference[success])


def without_one_state(found: Scrape) -> Iterator[str]:
    """Yield the servers that have no state, or more than one."""
    judged = Counter(vm_id for vm_id, _ in _judged(found))
    for series in found:
        if series.startswith("onapp_vm_poll_success"):
            vm_id = _label("vm_id", series)
            if judged[vm_id] != 1:
                yield f"server {vm_id} has {judged[vm_id]} states"


def as_its_disk(_series: str, value: str | None, observation: Observation) -> bool:
    """Be the last success of the first server's disk: nothing newer is known."""
    return value == observation.reference[DISK_LAST_SUCCESS]


def _label(name: str, series: str) -> str:
    found = re.search(rf'[{{,]{name}="([^"]*)"', series)
    assert found is not None
    return found[1]


def _state_of(series: str) -> tuple[str, str]:
    return _label("vm_id", series), _label("state", series)


def _judged(scrape: Scrape) -> Iterator[tuple[str, str]]:
    return (_state_of(each) for each in scrape if each.startswith("onapp_vm_state"))


def states(scrape: Scrape) -> dict[str, str]:
    """Return the state of each server."""
    return dict(_judged(scrape))


def parse_scrape(text: str) -> dict[str, str]:
    """Return the series of a scrape; fail if one appears twice."""
    lines = [line for line in text.split("\n") if line and not line.startswith("# ")]
    found = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in lines}
    assert len(found) == len(lines), "a series stands there twice"
    return found


def comment_lines(text: str) -> set[str]:
    """Return the comment lines of a scrape."""
    return {line for line in text.split("\n") if line.startswith("# ")}


def differences(observation: Observation, rules: Iterable[Rule]) -> list[str]:
    """Return the series that break a rule, and the rules that match no series."""
    listed, found = tuple(rules), observation.found
    wrong = list(without_one_state(found))
    known = sorted(
        found.keys() | observation.reference.keys() | observation.before.keys()
    )
    for series in known:
        rule = next((rule for rule in listed if rule.matches(series)), None)
        outcome = same_as_reference if rule is None else rule.outcome
        if not outcome(series, found.get(series), observation):
            before = observation.before.get(series)
            reference = observation.reference.get(series)
            wrong.append(
                f"{series[:300]} is {found.get(series)}, not {outcome.__name__}"
                f" (before {before}, without a fault {reference})"
            )
    idle = (rule for rule in listed if not any(map(rule.matches, known)))
    return wrong + [f"nothing is like {rule.series}" for rule in idle]
