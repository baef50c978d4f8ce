"""The command line: commands, flags, and the environment variable of each flag.

Light on imports, so that ``--version`` and ``--help`` answer at once.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__

PROGRAM = "onapp-backup-exporter"
COMMANDS = {
    "demo": "serve a simulated cloud: no account, no network",
    "healthcheck": "ask the running exporter whether it is healthy",
}
_DESCRIPTION = "Prometheus exporter for the backups of OnApp clouds."


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line and the environment ask for."""

    command: str | None
    """None: serve."""
    config_file: Path | None
    config_check: bool
    listen_addresses: tuple[str, ...]
    telemetry_path: str
    max_requests: int
    web_config_file: Path | None
    log_level: str
    log_format: str
    shard: int
    total_shards: int


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Flags:
    """Return the flags; exit with a message, as argparse does, if they are wrong."""
    parser = build_parser()
    _refuse_unknown(parser, arguments)
    given = parser.parse_args(arguments)  # --help, --version: whatever variables say
    if given.command == "demo" and (given.config_file or given.config_check):
        parser.error(
            "demo watches its own cloud: leave out demo, or --config.file and "
            "--config.check"
        )
    for action in actions(parser):
        _take_environment(parser, action, environment)
    found = parser.parse_args(arguments)
    if not 0 <= found.shard < found.total_shards:
        parser.error(
            f"--shard {found.shard}: must be from 0 to {found.total_shards - 1}, one "
            "less than --total-shards"
        )
    return Flags(
        command=found.command,
        config_file=found.config_file,
        config_check=found.config_check,
        listen_addresses=tuple(found.listen_address or [":10058"]),
        telemetry_path=found.telemetry_path,
        max_requests=found.max_requests,
        web_config_file=found.web_config_file,
        log_level=found.log_level,
        log_format=found.log_format,
        shard=found.shard,
        total_shards=found.total_shards,
    )


def _refuse_unknown(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Name a flag that does not exist; argparse would name the word after it."""
    known = [*parser._option_string_actions]  # noqa: SLF001  # argparse has no public list
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            close = difflib.get_close_matches(flag, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            parser.error(f"{flag}: unknown flag{hint}")


def variable(flag: str) -> str:
    """Return the environment variable that stands for a flag."""
    name = flag.removeprefix("--").replace(".", "_").replace("-", "_").upper()
    return f"ONAPP_EXPORTER_{name}"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its help is the reference of the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        usage=f"{PROGRAM} [command] [flags]",
        epilog="Without a command it serves. Every flag can be set by an environment "
        "variable too, --log.level by ONAPP_EXPORTER_LOG_LEVEL; a flag goes first. "
        "Without --config.file one panel comes from ONAPP_URL, ONAPP_USERNAME, "
        "ONAPP_PASSWORD_FILE (or ONAPP_PASSWORD) and, optionally, "
        "ONAPP_VIRTUAL_MACHINES, a comma-separated list.",
        allow_abbrev=False,
    )
    commands = "; ".join(f"{name}: {does}" for name, does in COMMANDS.items())
    parser.add_argument(
        "command", nargs="?", choices=[*COMMANDS], metavar="command", help=commands
    )
    _add_config_flags(parser)
    _add_web_flags(parser)
    _add_log_flags(parser)
    _add_shard_flags(parser)
    parser.add_argument(
        "--version", action="version", version=f"{PROGRAM} {__version__}"
    )
    return parser


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the flags that have a variable."""
    return [
        action
        for action in parser._actions  # noqa: SLF001  # argparse has no public list
        if action.option_strings and action.dest not in ("help", "version")
    ]


def _add_config_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        type=Path,
        help="the configuration file (YAML)",
    )
    parser.add_argument(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="check the configuration, print it without secrets, and exit",
    )


def _add_web_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--web.listen-address",
        dest="listen_address",
        metavar="ADDRESS",
        action="append",
        type=_address,
        help="[host]:port to serve on; may be repeated (default: :10058)",
    )
    parser.add_argument(
        "--web.telemetry-path",
        dest="telemetry_path",
        metavar="PATH",
        type=_path,
        default="/metrics",
        help="path of the metrics (default: %(default)s)",
    )
    parser.add_argument(
        "--web.config.file",
        dest="web_config_file",
        metavar="FILE",
        type=Path,
        help="TLS, users and headers, as for Prometheus' own exporters (YAML)",
    )
    parser.add_argument(
        "--web.max-requests",
        dest="max_requests",
        metavar="NUMBER",
        type=_at_least(0),
        default=40,
        help="scrapes served at once; 0: no limit (default: %(default)s)",
    )


def _add_log_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log.level",
        dest="log_level",
        choices=["debug", "info", "warn", "error"],
        default="info",
        help="least severe message to log (default: %(default)s)",
    )
    parser.add_argument(
        "--log.format",
        dest="log_format",
        choices=["logfmt", "json"],
        default="logfmt",
        help="how messages are written (default: %(default)s)",
    )


def _add_shard_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shard",
        metavar="NUMBER",
        type=_at_least(0),
        default=0,
        help="which share of the servers to read, from 0 (default: %(default)s)",
    )
    parser.add_argument(
        "--total-shards",
        metavar="NUMBER",
        type=_at_least(1),
        default=1,
        help="into how many shares the servers are split (default: %(default)s)",
    )


def _take_environment(
    parser: argparse.ArgumentParser,
    action: argparse.Action,
    environment: Mapping[str, str],
) -> None:
    """Let a flag's variable be its default, checked as the flag would be."""
    name = variable(action.option_strings[-1])
    text = environment.get(name)
    if not text:
        return
    try:
        parser.set_defaults(**{action.dest: _value(action, text)})
    except (ValueError, argparse.ArgumentTypeError) as error:
        parser.error(f"{name}: {error}")


def _value(action: argparse.Action, text: str) -> Any:
    if action.nargs == 0:
        return _truth(text)
    if action.dest == "listen_address":
        return _Replaceable(_address(part.strip()) for part in text.split(","))
    if action.choices is not None and text not in action.choices:
        raise ValueError(f"{text!r} is not one of {', '.join(action.choices)}")
    return text if action.type is None else action.type(text)  # type: ignore[operator]  # a callable, in this parser


class _Replaceable(list[str]):
    """A default that ``action="append"`` does not append to."""

    def __copy__(self) -> list[str]:
        """Give argparse an empty list to append to: a flag replaces the variable."""
        return []


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"{text!r} is not one of true, false")
    return text.lower() in ("true", "1")


def _address(text: str) -> str:
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[1]) >= 2**16:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not [host]:port, such as :10058, 127.0.0.1:10058 or "
            "[::1]:10058"
        )
    return text


_ADDRESS = re.compile(r"(?:[A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):([0-9]{1,5})")


def _path(text: str) -> str:
    if not _PATH.fullmatch(text) or text in _TAKEN:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a path such as /metrics, or is one of {', '.join(_TAKEN)}"
        )
    return text


_PATH = re.compile(r"(?:/[A-Za-z0-9_.~-]+)+/?")
_TAKEN = ("/", "/config", "/-/healthy", "/-/ready", "/-/reload")


def _at_least(least: int) -> Any:
    def number(text: str) -> int:
        if not _NUMBER.fullmatch(text) or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {least} on"
            )
        return int(text)

    return number


_NUMBER = re.compile(r"[0-9]{1,9}")
