"""CSV for reports: one line per row, unknown values empty, times RFC 3339 in UTC."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from .schema import OwnerCompliance, ServerStatus

_NESTED = {"problems", "targets", "last_error"}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
OWNER_COLUMNS = (
    *("panel", "user_id"),
    *(n for n in OwnerCompliance.__struct_fields__ if n not in ("panel", "user_id")),
)
SERVER_COLUMNS = (
    *(name for name in ServerStatus.__struct_fields__ if name not in _NESTED),
    *("states", "reasons"),
)


def servers_csv(servers: Iterable[ServerStatus]) -> str:
    """Return the servers with all their states and reasons."""
    return _table(
        SERVER_COLUMNS,
        (
            {
                **{name: getattr(server, name) for name in SERVER_COLUMNS[:-2]},
                "states": " ".join(dict.fromkeys(p.state for p in server.problems))
                or server.state,
                "reasons": "; ".join(p.reason for p in server.problems if p.reason),
            }
            for server in servers
        ),
    )


def owners_csv(owners: Iterable[OwnerCompliance]) -> str:
    """Return the compliance of the owners."""
    return _table(OWNER_COLUMNS, map(msgspec.structs.asdict, owners))


def _table(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    # A spreadsheet would execute a formula that a customer put into a label.
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
