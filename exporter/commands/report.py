"""Findings as a table for people, and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from ..onapp.error_body import printable
from .findings import Finding, Findings, PanelFindings, Status
from .terminal import counted, wrapped

_STEP_COLUMNS = 16
_STATUS_COLUMNS = 10
_NARROW = 60
_LOUD = (Status.DEGRADED, Status.FAILED)


def as_json(findings: Findings) -> str:
    """Return everything as one JSON object; its keys are documented."""
    text = msgspec.json.encode(findings)
    return msgspec.json.format(text, indent=2).decode() + "\n"


def as_table(findings: PanelFindings, width: int | None) -> str:
    """Return one panel's table, no wider than asked; None: as wide as it gets."""
    heading = f"{printable(findings.panel)}  {printable(findings.url)}"
    lines = [*wrapped(heading, "", "  ", width)]
    for check in findings.checks:
        if check.status != Status.UNTRIED:
            lines += _row(check, width)
    untried = [c.step for c in findings.checks if c.status == Status.UNTRIED]
    if untried:
        head = f"  {'not tried':<{_STEP_COLUMNS}}"
        lines += wrapped(", ".join(untried), head, "    ", width)
    return "\n".join(lines) + "\n"


def summary(findings: Findings) -> str:
    """Return the last line: how it stands as a whole."""
    counts = Counter(panel.status for panel in findings.panels)
    kinds = (Status.OK, *_LOUD)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in kinds if counts[kind])
    return f"{counted(len(findings.panels), 'panel')}: {told}\n"


def _row(check: Finding, width: int | None) -> Iterator[str]:
    status = check.status.upper() if check.status in _LOUD else check.status
    head = f"  {check.step:<{_STEP_COLUMNS}}{status:<{_STATUS_COLUMNS}}"
    indent = " " * len(head)
    if width is not None and width < _NARROW:
        yield head.rstrip()
        head = indent = "    "
    yield from wrapped(check.text, head, indent, width)
    if check.hint:
        yield from wrapped(f"do: {check.hint}", indent, indent, width)
