"""The command line: commands, flags, and the environment variable of each flag.

It imports little, so that ``--version`` and ``--help`` answer at once.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from .units import Duration


def boolean(text: str) -> bool:
    """Parse a boolean variable; raise ValueError."""
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"{text!r} is not one of true, false")
    return text.lower() in ("true", "1")


def listen_address(text: str) -> str:
    """Check ``[host]:port``."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[1]) >= 2**16:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not [host]:port, such as :10058, 127.0.0.1:10058 or "
            "[::1]:10058"
        )
    return text


_ADDRESS = re.compile(r"(?:[A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):([0-9]{1,5})")


def metrics_path(text: str) -> str:
    """Check the path of the metrics."""
    if not _PATH.fullmatch(text) or text in _RESERVED_PATHS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a path such as /metrics, or is one of "
            f"{', '.join(_RESERVED_PATHS)}"
        )
    return text


_PATH = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9_.~-]+)+/?")
_RESERVED_PATHS = (
    *("/", "/config", "/-/healthy", "/-/ready", "/-/reload"),
    *("/server", "/api/v1/status"),
)


def timeout(text: str) -> Duration:
    """Parse a duration of a second or more."""
    try:
        duration = Duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    if duration < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be at least 1s")
    return duration


def at_least(minimum: int) -> Any:
    """Return a parser of whole numbers from a minimum on."""

    def number(text: str) -> int:
        if not _NUMBER.fullmatch(text) or int(text) < minimum:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {minimum} on"
            )
        return int(text)

    return number


_NUMBER = re.compile(r"[0-9]{1,9}")


def ordinal(text: str) -> int:
    """Parse a whole number, alone or at the end of a name such as exporter-2."""
    match = _ORDINAL.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from 0 on, nor a name that ends in one, "
            "such as exporter-2"
        )
    return int(match[1])


_ORDINAL = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*-)?([0-9]{1,9})")


class Replaceable(list[str]):
    """A default that ``action="append"`` does not append to."""

    def __copy__(self) -> list[str]:
        """Give argparse an empty list to append to: a flag replaces the variable."""
        return []


PROGRAM = "onapp-backup-exporter"
COMMANDS = {
    "demo": "serve a simulated cloud: no account, no network",
    "check": "try every panel: reachable, credentials, permissions, cost",
    "once": "poll everything once and write the metrics",
    "healthcheck": "ask the running exporter whether it is healthy",
}
_DESCRIPTION = "Prometheus exporter for the backups of OnApp clouds."
_COMMANDS_OF_FLAG = {
    "--config.check": (None,),
    "--format": ("check",),
    "--output": ("once",),
    "--web.systemd-socket": (None,),
    "--timeout": ("check", "once"),
}
"""Flags that only some commands have; None: no command, that is to serve."""
_HIDDEN_FLAGS = {
    "demo": ("--config.",),
    "check": ("--web.",),
    "once": ("--web.",),
    "healthcheck": (
        *("--config.", "--log.", "--shard", "--total-shards"),
        *("--web.telemetry-path", "--web.max-requests"),
    ),
}
"""Prefixes of the flags that a command does not use, left out of its help."""
_DEFAULT_LOG_LEVELS = {"check": "error", "once": "warn"}
"""Of commands that report their result themselves."""


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags, from the command line and the environment."""

    command: str | None
    """None: to serve."""
    config_file: Path | None
    config_check: bool
    listen_addresses: tuple[str, ...]
    systemd_socket: bool
    """Whether to use the sockets that systemd passes instead."""
    telemetry_path: str
    max_requests: int
    web_config_file: Path | None
    log_level: str
    log_format: str
    shard: int
    total_shards: int
    output_format: str
    output: Path | None
    timeout: Duration


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Flags:
    """Parse the flags; exit with a message, as argparse does, if they are wrong."""
    commands_named = (argument for argument in arguments if argument in COMMANDS)
    parser = build_parser(next(commands_named, None))
    _refuse_unknown(parser, arguments)
    options_given = parser.parse_args(
        arguments
    )  # --help, --version: whatever variables say
    if options_given.command == "demo" and (
        options_given.config_file or options_given.config_check
    ):
        parser.error(
            "demo watches its own cloud: leave out demo, or --config.file and "
            "--config.check"
        )
    if options_given.web_systemd_socket and options_given.listen_address:
        parser.error(
            "--web.systemd-socket: the .socket unit says where to listen; leave out "
            "--web.listen-address"
        )
    for flag, commands in _COMMANDS_OF_FLAG.items():
        _refuse_misplaced(parser, options_given, flag, commands)
    for action in flag_actions(parser):
        if options_given.command in _COMMANDS_OF_FLAG.get(
            action.option_strings[-1], (options_given.command,)
        ):
            _apply_variable(parser, action, environment)
    options = parser.parse_args(arguments)
    shard = _shard(parser, options)
    return Flags(
        command=options.command,
        config_file=options.config_file,
        config_check=options.config_check,
        listen_addresses=tuple(options.listen_address or [":10058"]),
        systemd_socket=options.web_systemd_socket,
        telemetry_path=options.telemetry_path,
        max_requests=options.max_requests,
        web_config_file=options.web_config_file,
        log_level=options.log_level or _DEFAULT_LOG_LEVELS.get(options.command, "info"),
        log_format=options.log_format,
        shard=shard,
        total_shards=options.total_shards,
        output_format=options.format or "table",
        output=options.output,
        timeout=options.timeout or Duration.parse("15m"),
    )


def _shard(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Return the shard; with several it must be given, or all would read the first."""
    last_shard = options.total_shards - 1
    if options.shard is None and last_shard > 0:
        parser.error(f"--total-shards {last_shard + 1}: --shard is missing")
    shard: int = options.shard or 0
    if shard > last_shard:
        parser.error(
            f"--shard {shard}: must be from 0 to {last_shard}, one less than "
            "--total-shards"
        )
    return shard


def _refuse_misplaced(
    parser: argparse.ArgumentParser,
    options_given: argparse.Namespace,
    flag: str,
    commands: tuple[str | None, ...],
) -> None:
    """Refuse a flag that this command does not have.

    Its variable is ignored instead, because commands share an environment.
    """
    value = getattr(
        options_given, flag.removeprefix("--").replace(".", "_").replace("-", "_")
    )
    if value and options_given.command not in commands:
        names = [name or "no command, which is to serve" for name in commands]
        named = options_given.command or "no command, which is to serve"
        parser.error(f"{flag}: goes with {' and '.join(names)}; not with {named}")


def _refuse_unknown(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Refuse an unknown flag; argparse's message would name the word after it."""
    known = [*parser._option_string_actions]  # noqa: SLF001  # argparse has no public list
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            close_matches = difflib.get_close_matches(flag, known, n=1)
            hint = f"; did you mean {close_matches[0]}?" if close_matches else ""
            parser.error(f"{flag}: unknown flag{hint}")


def variable(flag: str) -> str:
    """Return the name of a flag's environment variable."""
    name = flag.removeprefix("--").replace(".", "_").replace("-", "_").upper()
    return f"ONAPP_EXPORTER_{name}"


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; its help is the reference of the command line.

    With a command, the help shows only the flags that it uses.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=f"{command}: {COMMANDS[command]}." if command else _DESCRIPTION,
        usage=f"{PROGRAM} {command or '[command]'} [flags]",
        epilog="Without a command it serves. Every flag can be set by an environment "
        "variable too, --log.level by ONAPP_EXPORTER_LOG_LEVEL; a flag goes first. "
        "Without --config.file one panel comes from ONAPP_URL, ONAPP_USERNAME, "
        "ONAPP_PASSWORD_FILE (or ONAPP_PASSWORD) and, optionally, "
        "ONAPP_VIRTUAL_MACHINES, a comma-separated list.",
        allow_abbrev=False,
    )
    commands = "; ".join(f"{name}: {purpose}" for name, purpose in COMMANDS.items())
    parser.add_argument(
        "command", nargs="?", choices=[*COMMANDS], metavar="command", help=commands
    )
    _add_config_flags(parser)
    _add_web_flags(parser)
    _add_log_flags(parser)
    _add_shard_flags(parser)
    _add_command_flags(parser)
    parser.add_argument(
        "--version", action="version", version=f"{PROGRAM} {__version__}"
    )
    if command is not None:
        _hide_irrelevant(parser, command)
    return parser


def _hide_irrelevant(parser: argparse.ArgumentParser, command: str) -> None:
    """Leave flags that the command does not use out of the help."""
    hidden_flags = ("command", *_HIDDEN_FLAGS[command])
    for action in parser._actions:  # noqa: SLF001  # argparse has no public list
        flag = (action.option_strings or [action.dest])[-1]
        if flag.startswith(hidden_flags) or command not in _COMMANDS_OF_FLAG.get(
            flag, (command,)
        ):
            action.help = argparse.SUPPRESS


def flag_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
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
        type=listen_address,
        help="[host]:port to serve on; may be repeated (default: :10058)",
    )
    parser.add_argument(
        "--web.systemd-socket",
        dest="web_systemd_socket",
        action="store_true",
        help="serve on the sockets of a systemd .socket unit instead",
    )
    parser.add_argument(
        "--web.telemetry-path",
        dest="telemetry_path",
        metavar="PATH",
        type=metrics_path,
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
        type=at_least(0),
        default=40,
        help="scrapes served at once; 0: no limit (default: %(default)s)",
    )


def _add_log_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log.level",
        dest="log_level",
        choices=["debug", "info", "warn", "error"],
        help="least severe message to log (default: info; once: warn; check: error)",
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
        type=ordinal,
        help="which share of the servers to read, from 0; or a name that ends in its "
        "number, as the pods of a StatefulSet have (default: 0 of 1)",
    )
    parser.add_argument(
        "--total-shards",
        metavar="NUMBER",
        type=at_least(1),
        default=1,
        help="into how many shares the servers are split (default: %(default)s)",
    )


def _add_command_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=["table", "json"],
        help="check: how to print what was found (default: table)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="once: the file to replace, such as node_exporter's textfile collector "
        "reads; without it, standard output",
    )
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        type=timeout,
        help="check, once: how long the whole may take (default: 15m)",
    )


def _apply_variable(
    parser: argparse.ArgumentParser,
    action: argparse.Action,
    environment: Mapping[str, str],
) -> None:
    """Make a flag's variable its default, checked like the flag."""
    name = variable(action.option_strings[-1])
    text = environment.get(name)
    if not text:
        return
    try:
        parser.set_defaults(**{action.dest: _parsed_variable(action, text)})
    except (ValueError, argparse.ArgumentTypeError) as error:
        parser.error(f"{name}: {error}")


def _parsed_variable(action: argparse.Action, text: str) -> Any:
    if action.nargs == 0:
        return boolean(text)
    if action.dest == "listen_address":
        return Replaceable(listen_address(part.strip()) for part in text.split(","))
    if action.choices is not None and text not in action.choices:
        raise ValueError(f"{text!r} is not one of {', '.join(action.choices)}")
    return text if action.type is None else action.type(text)  # type: ignore[operator]  # a callable, in this parser
