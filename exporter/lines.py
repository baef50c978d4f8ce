"""Rows as lines of text: what both formats of a scrape have in common.

Source: the Prometheus text format 0.0.4 and OpenMetrics 1.0.0, in which gauges and the
samples of counters look the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import cache
from itertools import chain
from math import floor
from typing import Any

import msgspec

from .families import FAMILIES
from .family import AgeFamily, Family, PanelFamily, RowFamily, ServerFamily
from .samples import Detail, Now, Row, view
from .store import Knowledge, PanelStore

ROW_FAMILIES: tuple[RowFamily[Any, Any], ...] = tuple(
    family for family in FAMILIES if isinstance(family, RowFamily)
)
"""Those that are written when a server changes, and kept."""

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class ServerLines(msgspec.Struct, frozen=True):
    """The lines of one server."""

    texts: tuple[bytes, ...]
    """By family, as in ROW_FAMILIES; of ages templates, with ``%d`` for the age."""
    moments: array[int]
    """Unix seconds: what the ages in the templates are counted from."""


def server_lines(known: Knowledge, detail: Detail, *, fresh: bool) -> ServerLines:
    """Write a server's lines; those made from its backups only if they are fresh."""
    judged = view(known, detail) if fresh else None
    rows: dict[Any, list[tuple[str, Any]]] = {}
    texts: list[bytes] = []
    moments = array("q")
    for family in ROW_FAMILIES:
        subject = known if isinstance(family, ServerFamily) else judged
        if subject is None:
            texts.append(b"")
            continue
        if family.rows not in rows:
            rows[family.rows] = _labelled(family.labels, family.rows(subject))
        if isinstance(family, AgeFamily):
            texts.append(_template(family, rows[family.rows], moments))
        else:
            texts.append(_text(family, rows[family.rows]))
    return ServerLines(tuple(texts), moments)


def panel_lines(
    panel: PanelStore, now: Now, families: Iterable[Family]
) -> dict[str, bytes]:
    """Write the lines that a panel has itself, by the name of the family."""
    rows: dict[Any, list[tuple[str, Any]]] = {}
    texts: dict[str, bytes] = {}
    for family in families:
        if isinstance(family, PanelFamily):
            if family.rows not in rows:
                rows[family.rows] = _labelled(family.labels, family.rows(panel, now))
            texts[family.name] = _text(family, rows[family.rows])
    return texts


def _text(
    family: RowFamily[Any, Any] | PanelFamily[Any], rows: list[tuple[str, Any]]
) -> bytes:
    name, value_of = family.name, family.value
    return "".join(
        [
            f"{name}{text}{value:d}\n"
            if isinstance(value, int)
            else f"{name}{text}{_number(value)}\n"
            for text, row in rows
            if (value := value_of(row)) is not None
        ]
    ).encode()


def _template(
    family: RowFamily[Any, Any], rows: list[tuple[str, Any]], moments: array[int]
) -> bytes:
    name, moment_of = family.name, family.value
    pieces: list[str] = []
    for text, row in rows:
        moment = moment_of(row)
        if moment is not None:
            moments.append(floor(moment))
            pieces.append(f"{name}{text.replace('%', '%%')}%d\n")
    return "".join(pieces).encode()


def _labelled(
    labels: tuple[str, ...], rows: Iterable[Row[Any]]
) -> list[tuple[str, Any]]:
    """Write the labels of rows, with the blank after them."""
    form, found = _form(labels), list(rows)
    whole = "".join(chain.from_iterable(values for values, _ in found))
    if '"' in whole or "\\" in whole or "\n" in whole:
        found = [(tuple(v.translate(_ESCAPES) for v in vs), row) for vs, row in found]
    return [(form % values, row) for values, row in found]


@cache
def _form(labels: tuple[str, ...]) -> str:
    return "{" + ",".join(f'{label}="%s"' for label in labels) + "} "


def _number(value: float) -> str:
    """Write whole numbers without a fraction: shorter, and the same value."""
    whole = int(value)
    return str(whole) if whole == value else repr(value)
