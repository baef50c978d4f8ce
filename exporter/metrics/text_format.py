"""Rows as lines of text, the same in both exposition formats.

Source: the Prometheus text format 0.0.4 and OpenMetrics 1.0.0, in which gauges and the
samples of counters look the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import cache
from itertools import chain, compress
from math import floor
from typing import Any, TypeAlias

import msgspec

from ..config.schema import Detail
from ..health.server import ServerHealth
from . import FAMILIES
from .family import (
    AgeFamily,
    AnyFamily,
    BackupsFamily,
    HealthFamily,
    PanelFamily,
    PanelView,
    Row,
    ServerFamily,
    server_view,
)

CACHED_FAMILIES = tuple(
    family for family in FAMILIES if not isinstance(family, PanelFamily)
)
"""Families that are rendered when a server changes, and cached."""

_SPECIAL_CHARACTERS = ("\\", "\n", '"', "%")
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\"", "%": "%%"})
"""The escapes of the formats, and ``%`` because labels become part of templates."""
_INTEGER_TYPES = frozenset({int, bool})

_LabelledRows: TypeAlias = tuple[list[str], list[Any]]
"""The rendered labels of rows, and the input of their values."""


class ServerLines(msgspec.Struct, frozen=True):
    """The rendered lines of one server."""

    by_family: tuple[bytes, ...]
    """In the order of CACHED_FAMILIES; ages are ``%d`` in the lines of AgeFamilies."""
    timestamps: array[int]
    """Unix seconds from which these ages are counted, in the order of the lines."""


def server_lines(health: ServerHealth, detail: Detail) -> ServerLines:
    """Render a server's lines; those about its backups only if they are fresh."""
    view = server_view(health, detail)
    subjects: dict[type[AnyFamily], Any] = {
        HealthFamily: health,
        ServerFamily: health.state,
        BackupsFamily: view,
        AgeFamily: view,
    }
    labelled: dict[Any, _LabelledRows] = {}
    by_family: list[bytes] = []
    timestamps = array("q")
    for family in CACHED_FAMILIES:
        if family.rows not in labelled:
            subject = subjects[type(family)]
            rows = () if subject is None else family.rows(subject)
            labelled[family.rows] = _label_rows(family.labels, rows)
        if not labelled[family.rows][0]:
            by_family.append(b"")
        elif isinstance(family, AgeFamily):
            labels, ages_from = _known_values(family, labelled[family.rows])
            timestamps.extend(map(floor, ages_from))
            by_family.append(_lines_template(family.name, labels, "%d").encode())
        else:
            by_family.append(_family_text(family, labelled[family.rows]))
    return ServerLines(tuple(by_family), timestamps)


def panel_lines(view: PanelView, families: Iterable[AnyFamily]) -> dict[str, bytes]:
    """Render the lines that change with the panel or the clock, by family."""
    labelled: dict[Any, _LabelledRows] = {}
    by_family: dict[str, bytes] = {}
    for family in families:
        if isinstance(family, PanelFamily):
            rows = family.rows
        elif isinstance(family, HealthFamily):
            rows = family.read_rows
        else:
            continue
        if rows not in labelled:
            labelled[rows] = _label_rows(family.labels, rows(view))
        by_family[family.name] = _family_text(family, labelled[rows])
    return by_family


def _family_text(family: AnyFamily, labelled: _LabelledRows) -> bytes:
    labels, values = _known_values(family, labelled)
    if not labels:
        return b""
    if values.count(values[0]) == len(values):  # true of most flags
        return (
            _lines_template(family.name, labels, _format_number(values[0])) % ()
        ).encode()
    if _INTEGER_TYPES.issuperset(map(type, values)):
        return (_lines_template(family.name, labels, "%d") % tuple(values)).encode()
    numbers = tuple(map(_format_number, values))
    return (_lines_template(family.name, labels, "%s") % numbers).encode()


def _known_values(
    family: AnyFamily, labelled: _LabelledRows
) -> tuple[list[str], list[Any]]:
    """Return the labels and values of the rows whose value is known."""
    labels, subjects = labelled
    values = list(map(family.value, subjects))
    if None not in values:
        return labels, values
    known = [value is not None for value in values]
    return list(compress(labels, known)), list(compress(values, known))


def _lines_template(name: str, labels: list[str], placeholder: str) -> str:
    """Return all lines with placeholders for values: faster than line by line."""
    return (
        name + f"{placeholder}\n{name}".join(labels) + f"{placeholder}\n"
        if labels
        else ""
    )


def _label_rows(labels: tuple[str, ...], rows: Iterable[Row[Any]]) -> _LabelledRows:
    """Render the labels of rows, followed by a space, for use in a template."""
    found = list(rows)
    if not found:
        return [], []
    values = [values for values, _ in found]
    all_values = "".join(chain.from_iterable(values))
    if any(special in all_values for special in _SPECIAL_CHARACTERS):
        values = [tuple(v.translate(_ESCAPES) for v in each) for each in values]
    template = _label_template(labels)
    return [template % each for each in values], [row for _, row in found]


@cache
def _label_template(labels: tuple[str, ...]) -> str:
    return "{" + ",".join(f'{label}="%s"' for label in labels) + "} "


def _format_number(value: float) -> str:
    """Format whole numbers without a fraction: shorter, and the same value."""
    integer = int(value)
    return str(integer) if integer == value else repr(value)
