"""Write docs/reliability.md from the fault matrix of the tests."""  # noqa: INP001  # no package

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fault_matrix.effects import (
    ALL,
    CUT_SHORT,
    EFFECTS,
    FAILED,
    NO_EFFECT,
    REFUSED,
    SCOPES,
    UNAUTHORIZED,
    WAITING,
    Expectation,
)
from fault_matrix.matrix import (
    CONNECTION,
    CONTENT,
    FAULTS,
    FaultCase,
    cells,
    impossible,
)

_TEXT = """\
# Reliability

Generated from the fault matrix of the tests by `make docs`; do not edit.

This page says what `/metrics` shows during a fault of a panel, or of the network to it,
and afterwards. Every line is tested: {faults} faults at {places} places make {cells}
cells ({never} more are [impossible](#impossible)). In each cell the whole of `/metrics`
is compared with that of an exporter whose panel has no fault. What is not named here
does not change: other servers, other collectors and other panels work as before.

- After a failed read the last good values stay until they are older than
  `poll.max_age`. What the inventory says of servers, and counters, stay longer.
- No fault makes a server look better. While its data are fresh, its state is as severe
  as without the fault. Later some states are unknown, but no server becomes fine or in
  time. Only a disk without any backup is removed when the disks are.
- Each request without a usable answer is counted in `onapp_api_errors_total`, with the
  reason.
- **Afterwards** everything is as before the fault, at the latest one poll interval
  after the exporter has noticed the end; only counters differ. It notices the end
  within a poll interval or five minutes. Refused collectors (403, 404, 422) and
  recovery points that have failed several times are requested again within an hour.
  Refused credentials (401) are tried when the secret changes, or after ten minutes to
  an hour.
- **After a restart** the exporter finds failed backups in the last ten pages (1 000
  rows) of the transaction log. It also reads the own log of servers with unbuilt
  backups. Older failures are unknown.

The column *longer than `max_age`* is tested with some faults of each kind, everything
else with every fault.

## Faults

| fault | `reason` | effect |
|---|---|---|
{table}

{sections}

## Hostile answers

Answers that are well-formed, but not as expected. They are not counted as errors,
unless the table says so.

| answer | where | effect |
|---|---|---|
{contents}

## Impossible

| fault | where | why |
|---|---|---|
{never_table}
"""

_TITLES = {
    FAILED: "An answer fails",
    WAITING: "The panel sends Retry-After",
    REFUSED: "The panel refuses",
    UNAUTHORIZED: "The credentials are refused",
    CUT_SHORT: "The panel lists fewer rows than it counts",
}
_ABOUT = {
    FAILED: "No answer, a broken one, or one that cannot be used.",
    WAITING: (
        "As above, and nothing is sent for the time of `Retry-After`, at most a poll "
        "interval or five minutes. Everything may be late by that time."
    ),
    REFUSED: (
        "The account may not read it, or the panel does not have it. As above, with "
        "the differences below. A refused collector is off for an hour. Where "
        "schedules or disks of the whole panel are refused, each server is asked for "
        "its own. The last values may then stay up to two intervals longer."
    ),
    UNAUTHORIZED: (
        "After this answer to any request, all requests to the panel stop at once, so "
        "that the account is not locked."
    ),
    CUT_SHORT: "Pages that never end, with a total that is never reached.",
}


def text() -> str:
    """Return the page."""
    never = impossible()
    return _TEXT.format(
        faults=len(FAULTS),
        places=len(SCOPES),
        cells=len({cell[:2] for cell in cells()}),
        never=len(never),
        table="\n".join(map(_fault, FAULTS.values())),
        sections="\n\n".join(map(_section, _TITLES)),
        contents="\n".join(_contents()),
        never_table="\n".join(_never(never)),
    )


def _fault(fault: FaultCase) -> str:
    reason = f"`{fault.reason}`" if fault.reason else ""
    formats = " (XML)" if fault.forms == ("xml",) else ""
    return f"| {fault.name}{formats} | {reason} | {_becomes(fault)} |"


def _becomes(fault: FaultCase) -> str:
    if fault.effect == CONTENT:
        return _link("Hostile answers")
    if fault.effect == NO_EFFECT:
        return "nothing changes"
    if fault.effect == CONNECTION:
        return f"{_link(_TITLES[FAILED])}, for every request"
    return _link(_TITLES[fault.effect])


def _link(title: str) -> str:
    return f"[{title}](#{title.lower().replace(' ', '-')})"


def _section(effect: str) -> str:
    head = [f"## {_TITLES[effect]}\n", f"{_ABOUT[effect]}\n"]
    output = EFFECTS[effect]
    if effect == UNAUTHORIZED:
        (one,) = set(output.values())
        return "\n".join([*head, f"- {one.text}.", f"- Later {one.long_text}."])
    rows = list(_rows(effect, output))
    if any(one.long_text for one in output.values()):
        return "\n".join(
            [
                *head,
                "| what fails | while it lasts | longer than `max_age` |",
                "|---|---|---|",
                *rows,
            ]
        )
    return "\n".join([*head, "| where | what is said |", "|---|---|", *rows])


def _rows(effect: str, output: Mapping[str, Expectation]) -> Iterator[str]:
    for name, one in output.items():
        usual = EFFECTS[FAILED][name]
        if effect in (WAITING, REFUSED) and one.text == usual.text:
            continue
        if one.text == ALL:
            continue  # goes without saying
        longer = f" {one.long_text} |" if one.long_text else ""
        yield f"| {SCOPES[name].shown} | {one.text} |{longer}"


def _contents() -> Iterator[str]:
    for fault in FAULTS.values():
        if fault.effect == CONTENT:
            locations: dict[str, list[str]] = {}
            for name, one in fault.expected.items():
                locations.setdefault(one.text, []).append(name)
            for words, names in locations.items():
                if words == ALL:
                    continue  # goes without saying
                yield f"| {fault.name} | {_shown(names)} | {words} |"


def _never(never: Mapping[tuple[str, str], str]) -> Iterator[str]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for (fault, location), why in never.items():
        reasons.setdefault((fault, why), []).append(location)
    for (fault, why), locations in reasons.items():
        single = len(locations) == len(SCOPES) - 1
        where = "any single place" if single else _shown(locations)
        yield f"| {fault} | {where} | {why} |"


def _shown(names: Iterable[str]) -> str:
    wanted = {*names}
    return ", ".join(p.shown for name, p in SCOPES.items() if name in wanted)
