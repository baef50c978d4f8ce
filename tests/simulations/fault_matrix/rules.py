"""Rules for ``/metrics`` during a fault, compared with a cloud that has none.

A rule applies to the series whose beginning matches its regular expression. The first
rule that matches counts; a series without one must be as in the reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

Scrape = Mapping[str, str]
"""Each series of a scrape with its value, as written."""


TIMEOUT_SECONDS = 10.0
"""What ``poll.timeout`` is here."""


@dataclass(frozen=True)
class Observation:
    """What a scrape is compared with."""

    before: Scrape
    """The scrape at the beginning of the fault."""
    reference: Scrape
    """The scrape of the same moment without a fault."""
    now: float
    elapsed: float
    """Seconds since the fault began."""
    recent_seconds: float
    """How old the timestamp of something periodic may be."""


DISK_LAST_SUCCESS = (
    'onapp_target_last_success_timestamp_seconds{panel="cp",vm_id="1"'
    ',target_type="Disk",target_id="101"}'
)

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


def as_its_disk(_series: str, value: str | None, observation: Observation) -> bool:
    """Be the last success of the first server's disk: nothing newer is known."""
    return value == observation.reference[DISK_LAST_SUCCESS]


def parse_scrape(text: str) -> dict[str, str]:
    """Return the series of a scrape; fail if one appears twice."""
    lines = [line for line in text.split("\n") if line and not line.startswith("# ")]
    found = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in lines}
    assert len(found) == len(lines), "a series stands there twice"
    return found


def comment_lines(text: str) -> set[str]:
    """Return the comment lines of a scrape."""
    return {line for line in text.split("\n") if line.startswith("# ")}


def differences(
    found: Scrape, observation: Observation, rules: Iterable[Rule]
) -> list[str]:
    """Return the series that break a rule, and the rules that match no series."""
    listed = tuple(rules)
    wrong: list[str] = []
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
