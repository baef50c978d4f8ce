"""Rows as lines of text: what both formats of a scrape have in common.

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

from ..clock import Now
from ..config.schema import Detail
from ..health.targets import BackupSummary
from ..model.store import PanelStore, ServerState
from . import FAMILIES
from .family import AgeFamily, Family, PanelFamily, Row, RowFamily, ServerFamily, view

ROW_FAMILIES: tuple[RowFamily[Any, Any], ...] = tuple(
    family for family in FAMILIES if isinstance(family, RowFamily)
)
"""Those that are written when a server changes, and kept."""

_SPECIAL = ("\\", "\n", '"', "%")
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\"", "%": "%%"})
"""The formats' own, and that of the templates that labels become part of."""
_WHOLE = frozenset({int, bool})

_Labelled: TypeAlias = tuple[list[str], list[Any]]
"""The written labels of rows, and what values are made of."""


class ServerLines(msgspec.Struct, frozen=True):
    """The lines of one server."""

    texts: tuple[bytes, ...]
    """By family, as in ROW_FAMILIES; of ages templates, with ``%d`` for the age."""
    moments: array[int]
    """Unix seconds: what the ages in the templates are counted from."""
    verdict: BackupSummary | None = None
    """What its backups say; None: they are not fresh."""


def server_lines(known: ServerState, detail: Detail, *, fresh: bool) -> ServerLines:
    """Write a server's lines; those made from its backups only if they are fresh."""
    judged = view(known, detail) if fresh else None
    rows: dict[Any, _Labelled] = {}
    texts: list[bytes] = []
    moments = array("q")
    for family in ROW_FAMILIES:
        subject = known if isinstance(family, ServerFamily) else judged
        if family.rows not in rows:
            found = () if subject is None else family.rows(subject)
            rows[family.rows] = _labelled(family.labels, found)
        if not rows[family.rows][0]:
            texts.append(b"")
        elif isinstance(family, AgeFamily):
            labels, ages_from = _known(family, rows[family.rows])
            moments.extend(map(floor, ages_from))
            texts.append(_template(family.name, labels, "%d").encode())
        else:
            texts.append(_text(family, rows[family.rows]))
    verdict = None if judged is None else judged.verdict
    return ServerLines(tuple(texts), moments, verdict)


def panel_lines(
    panel: PanelStore, now: Now, families: Iterable[Family]
) -> dict[str, bytes]:
    """Write the lines that a panel has itself, by the name of the family."""
    rows: dict[Any, _Labelled] = {}
    texts: dict[str, bytes] = {}
    for family in families:
        if isinstance(family, PanelFamily):
            if family.rows not in rows:
                rows[family.rows] = _labelled(family.labels, family.rows(panel, now))
            texts[family.name] = _text(family, rows[family.rows])
    return texts


def _text(family: RowFamily[Any, Any] | PanelFamily[Any], rows: _Labelled) -> bytes:
    labels, values = _known(family, rows)
    if not labels:
        return b""
    if values.count(values[0]) == len(values):  # as most flags are
        return (_template(family.name, labels, _number(values[0])) % ()).encode()
    if _WHOLE.issuperset(map(type, values)):
        return (_template(family.name, labels, "%d") % tuple(values)).encode()
    numbers = tuple(map(_number, values))
    return (_template(family.name, labels, "%s") % numbers).encode()


def _known(
    family: RowFamily[Any, Any] | PanelFamily[Any], rows: _Labelled
) -> tuple[list[str], list[Any]]:
    """Return the labels and the values of those rows that have one."""
    labels, subjects = rows
    values = list(map(family.value, subjects))
    if None not in values:
        return labels, values
    known = [value is not None for value in values]
    return list(compress(labels, known)), list(compress(values, known))


def _template(name: str, labels: list[str], mark: str) -> str:
    """Return the lines of a family with a mark for each value: quicker than lines."""
    return name + f"{mark}\n{name}".join(labels) + f"{mark}\n" if labels else ""


def _labelled(labels: tuple[str, ...], rows: Iterable[Row[Any]]) -> _Labelled:
    """Write the labels of rows, with the blank after them, to be put in a template."""
    found = list(rows)
    if not found:
        return [], []
    values = [values for values, _ in found]
    whole = "".join(chain.from_iterable(values))
    if any(special in whole for special in _SPECIAL):
        values = [tuple(v.translate(_ESCAPES) for v in each) for each in values]
    form = _form(labels)
    return [form % each for each in values], [row for _, row in found]


@cache
def _form(labels: tuple[str, ...]) -> str:
    return "{" + ",".join(f'{label}="%s"' for label in labels) + "} "


def _number(value: float) -> str:
    """Write whole numbers without a fraction: shorter, and the same value."""
    whole = int(value)
    return str(whole) if whole == value else repr(value)
