"""Write docs/log-messages.md: what is logged, found in the source of the exporter."""  # noqa: INP001  # no package

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import exporter

_TEXT = """\
# Log messages

Generated from the source of the exporter by `make docs`; do not edit.

The log goes to standard error, as logfmt or JSON (`--log.format`). A problem is logged
when it begins or changes, and again when it is over. `hint` says what to do first.

| message | level | meaning | what to do |
|---|---|---|---|
{rows}
"""
_ERROR = "see `error` and `hint`"
_NOTHING = "nothing"
_REPORT = "report it with `exception`"
_MEANINGS = {
    "bug in the exporter": (
        "a poll ended with an unexpected error; others continue",
        _REPORT,
    ),
    "collector disabled for an hour: the panel refuses it": (
        "the role may not read this kind of list, or the panel has none",
        "give the role the permission, or switch the collector off",
    ),
    "collector failed, retrying": ("a list could not be read", _ERROR),
    "collector works again": ("the list is read again", _NOTHING),
    "configuration could not be reloaded, keeping the old one": (
        "the new file has mistakes",
        "fix what `error` says, and reload",
    ),
    "configuration reloaded": ("the new file is in force", _NOTHING),
    "configured server not found": (
        "a server in `virtual_machines` is not on the panel",
        "fix its number or identifier, or remove it",
    ),
    "connection failed before a request": (
        "a client closed the connection, or its TLS handshake failed",
        "check the client, if the request should have succeeded",
    ),
    "environment variable not used": (
        "a variable that begins with `ONAPP_` has no effect",
        "do what `reason` says, or remove it",
    ),
    "listening": ("the exporter answers at `address`", _NOTHING),
    "log lines dropped": (
        "standard error was not read for too long",
        "check the program that reads the log",
    ),
    "more rows skipped": ("more unusable rows than are listed", "see `row skipped`"),
    "older transactions could not be read": (
        "a page of the transaction log failed; earlier failures are unknown",
        _ERROR,
    ),
    "panel lists no servers": (
        "the inventory is complete, but empty",
        "check the permissions of the account",
    ),
    "panel reachable again": (
        "the panel answers again",
        _NOTHING,
    ),
    "panel refuses the credentials": (
        "HTTP 401; nothing is sent for ten minutes, then longer",
        "write the right key into its file; unlock the account on the panel",
    ),
    "panel unreachable": ("version or inventory could not be read", _ERROR),
    "panel-wide list refused, requesting it per server": (
        "the account may only read lists of single servers; this costs more requests",
        "give the role the permission for all servers",
    ),
    "polling hangs": (
        "the poll loop of the panel, or one of its jobs, is late",
        "restart the exporter and report it",
    ),
    "reading the backups of a server failed": (
        "the last known backups stay until `poll.max_age`",
        _ERROR,
    ),
    "reading the backups of a server works again": ("the server is read", _NOTHING),
    "row skipped": (
        "a row of a list cannot be used; all others count",
        "report the kind of row, not its content",
    ),
    "secret file could not be read, keeping the last secret": (
        "the file is missing, empty or unreadable",
        "restore the file or its permissions",
    ),
    "secret file reloaded": ("the new secret is in use", _NOTHING),
    "some servers were not polled in time": (
        "`once` ended before every server was read",
        "raise `--timeout`",
    ),
    "stopped by a bug in the exporter": ("the process ended", _REPORT),
    "stopping": ("a signal asked the exporter to end", _NOTHING),
    "systemd could not be notified": (
        "the notification socket is not usable",
        "check `NotifyAccess=` of the unit",
    ),
    "systemd's socket is not used": (
        "a socket was passed, but `--web.systemd-socket` is not set",
        "set the flag, or disable the socket unit",
    ),
    "transaction log grew faster than it was read; some transactions were missed": (
        "failed runs among them are not known",
        "find out what writes so much to the panel's log",
    ),
    "web configuration could not be reloaded, keeping the old one": (
        "the new file has mistakes, or a certificate cannot be read",
        "fix what `error` says",
    ),
    "web configuration reloaded": ("the new file is in force", _NOTHING),
}
_LEVELS = {"exception": "error"}
_DROPPED = ("log lines dropped", "warning")
"""Written directly to standard error, because the log is too slow."""


def text() -> str:
    """Return the page; raise KeyError for a message without a meaning."""
    found = dict([*messages(), _DROPPED])
    rows = [
        f"| `{message}` | {found[message]} | {' | '.join(_MEANINGS[message])} |"
        for message in sorted(found)
    ]
    gone = _MEANINGS.keys() - found.keys()
    if gone:
        raise KeyError(f"no longer logged: {', '.join(sorted(gone))}")
    return _TEXT.format(rows="\n".join(rows))


def messages() -> Iterator[tuple[str, str]]:
    """Yield each message with its level: the first argument of each ``log`` call."""
    for file in sorted(Path(exporter.__path__[0]).rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not (isinstance(call, ast.Call) and _is_log(call.func)):
                continue
            level = ast.unparse(call.func).rpartition(".")[2]
            for part in ast.walk(call.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value, _LEVELS.get(level, level)


def _is_log(function: ast.expr) -> bool:
    owner = ast.unparse(function).rpartition(".")[0]
    return owner in ("log", "structlog.get_logger()")
