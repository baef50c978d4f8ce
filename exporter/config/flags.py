"""The command line: commands, flags, and the environment variable of each flag.

It imports little, so that ``--version`` and ``--help`` are fast.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from .. import __version__
from .units import Duration

PROGRAM = "onapp-backup-exporter"
COMMANDS = {
    "demo": "serve a simulated cloud: no account, no network",
    "check": "try every panel: reachable, credentials, permissions, cost",
    "once": "poll everything once and write the metrics",
    "healthcheck": "ask the running exporter whether it is healthy",
}
_SERVE = None
"""No command is given: the exporter serves."""
DESCRIPTION = "Prometheus exporter for the backups of OnApp clouds."
_EPILOG = (
    "Without a command it serves. Every flag can be set by an environment variable "
    "too, --log.level by ONAPP_EXPORTER_LOG_LEVEL; a flag overrides it. Without "
    "--config.file one panel comes from ONAPP_URL, ONAPP_USERNAME, "
    "ONAPP_PASSWORD_FILE (or ONAPP_PASSWORD) and, optionally, ONAPP_VIRTUAL_MACHINES, "
    "a comma-separated list."
)
_LOG_LEVELS = {"check": "error", "once": "warn"}
"""Default log levels of commands that report their result themselves."""


def log_level(text: str) -> str:
    """Return the level; ``warning`` is an alias of ``warn``."""
    return "warn" if text == "warning" else text


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
    page = f"{text}/".startswith("/runbooks/") or text in _RESERVED_PATHS
    if page or not _PATH.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a path such as /metrics, or is one of "
            f"{', '.join(_RESERVED_PATHS)}"
        )
    return text


_PATH = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9_.~-]+)+/?")
_RESERVED_PATHS = (
    *("/", "/config", "/-/healthy", "/-/ready", "/-/reload"),
    *("/server", "/panel", "/runbooks", "/compliance", "/api/v1/status"),
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


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a parser of whole numbers that are at least ``minimum``."""

    def number(text: str) -> int:
        if not _NUMBER.fullmatch(text) or int(text) < minimum:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {minimum} on"
            )
        return int(text)

    return number


_NUMBER = re.compile(r"[0-9]{1,9}")


class PodNumber(int):
    """Number at the end of a pod's name; pods beyond the last shard are replicas."""


def ordinal(text: str) -> int:
    """Parse a whole number, alone or at the end of a name such as exporter-2."""
    match = _ORDINAL.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from 0 on, nor a name that ends in one, "
            "such as exporter-2"
        )
    return PodNumber(match[2]) if match[1] else int(match[2])


_ORDINAL = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*-)?([0-9]{1,9})")


def _flag(
    name: str,
    default: Any,
    used_by: Sequence[str | None],
    help: str,  # noqa: A002  # argparse's
    *,
    ignored: bool = True,
    **argument: Any,
) -> Any:
    """Return the field of a flag, with the arguments of ``add_argument``.

    ``ignored``: a command that does not use the flag accepts and ignores it, so that
    all commands of a site can have the same flags. Otherwise the command rejects it.
    """
    if default and "(default: " not in help:
        help = f"{help} (default: {default})"  # noqa: A001  # argparse's
    argument["help"] = help
    metadata = {"name": name, "used_by": used_by, "ignored": ignored}
    return field(default=default, metadata={**metadata, "argument": argument})


_POLLING = (_SERVE, "demo", "check", "once")
_READING = (_SERVE, "check", "once")
_SERVING = (_SERVE, "demo")
_LISTENING = (*_SERVING, "healthcheck")
_SWITCH: Mapping[str, Any] = {"action": "store_true", "ignored": False}
_FILE: Mapping[str, Any] = {"metavar": "FILE", "type": Path}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags, from the command line and the environment."""

    command: str | None = _SERVE
    config_file: Path | None = _flag(  # noqa: RUF009  # a field
        "--config.file", None, _READING, "the configuration file (YAML)", **_FILE
    )
    config_check: bool = _flag(
        *("--config.check", False, (_SERVE,)),
        "check the configuration, print it without secrets, and exit",
        **_SWITCH,
    )
    auto_reload: bool = _flag(
        *("--config.enable-auto-reload", False, (_SERVE,)),
        "load the configuration again when a file of it has changed",
        action="store_true",
    )
    auto_reload_interval: Duration = _flag(  # noqa: RUF009  # a field
        *("--config.auto-reload-interval", Duration(30), (_SERVE,)),
        "how often --config.enable-auto-reload looks for changes",
        metavar="DURATION",
        type=timeout,
    )
    listen_addresses: tuple[str, ...] = _flag(
        *("--web.listen-address", (":10058",), _LISTENING),
        "[host]:port to serve on; may be repeated (default: :10058)",
        metavar="ADDRESS",
        type=listen_address,
        action="append",
    )
    systemd_socket: bool = _flag(
        *("--web.systemd-socket", False, (_SERVE,)),
        "serve on the sockets of a systemd .socket unit instead",
        **_SWITCH,
    )
    telemetry_path: str = _flag(
        *("--web.telemetry-path", "/metrics", _SERVING, "path of the metrics"),
        metavar="PATH",
        type=metrics_path,
    )
    web_config_file: Path | None = _flag(  # noqa: RUF009  # a field
        *("--web.config.file", None, _LISTENING),
        "TLS, users and headers, as for Prometheus' own exporters (YAML)",
        **_FILE,
    )
    max_requests: int = _flag(
        *("--web.max-requests", 40, _SERVING, "scrapes served at once; 0: no limit"),
        metavar="NUMBER",
        type=at_least(0),
    )
    log_level: str = _flag(
        *("--log.level", "info", _POLLING),
        "lowest severity to log (default: info; once: warn; check: error)",
        type=log_level,
        choices=["debug", "info", "warn", "error"],
    )
    log_format: str = _flag(
        *("--log.format", "logfmt", _POLLING, "how messages are written"),
        choices=["logfmt", "json"],
    )
    shard: int = _flag(
        *("--shard", 0, _POLLING),
        "which share of the servers to read, from 0; or a name that ends in its "
        "number, as the pods of a StatefulSet have: pods beyond the shards are "
        "replicas of the first ones (default: 0 of 1)",
        metavar="NUMBER",
        type=ordinal,
    )
    total_shards: int = _flag(
        *("--total-shards", 1, _POLLING),
        "into how many shares the servers are split",
        metavar="NUMBER",
        type=at_least(1),
    )
    ready: bool = _flag(
        *("--ready", False, ("healthcheck",)),
        "healthcheck: ask whether the first pass has ended, as /-/ready does",
        **_SWITCH,
    )
    servers: int = _flag(
        *("--servers", 29, ("demo",), "demo: servers of the first simulated panel"),
        ignored=False,
        metavar="NUMBER",
        type=at_least(29),
    )
    output_format: str = _flag(
        *("--format", "table", ("check",), "check: how to print what was found"),
        ignored=False,
        choices=["table", "json"],
    )
    output: Path | None = _flag(  # noqa: RUF009  # a field
        *("--output", None, ("once",)),
        "once: the file to replace, for node_exporter's textfile collector; "
        "without it, standard output",
        **{"ignored": False, **_FILE},
    )
    timeout: Duration = _flag(  # noqa: RUF009  # a field
        *("--timeout", Duration(900), ("check", "once")),
        "check, once: time limit for the whole run",
        ignored=False,
        metavar="DURATION",
        type=timeout,
    )


FLAGS = {each.metadata["name"]: each for each in fields(Flags) if each.metadata}
"""The field of each flag."""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Flags:
    """Parse the flags; if they are wrong, exit with a message as argparse does."""
    parser = build_parser()
    command, rest = _split_command(arguments)
    _refuse_unknown(parser, command, rest)
    given = vars(parser.parse_args(rest if command is None else [command, *rest]))
    if "systemd_socket" in given and "listen_addresses" in given:
        parser.error(
            "--web.systemd-socket: the .socket unit says where to listen; leave out "
            "--web.listen-address"
        )
    # After --help and --version, which must work with invalid variables too.
    values = {
        "log_level": _LOG_LEVELS.get(command or "", "info"),
        **_variables(parser, command, environment),
        **given,
    }
    values["shard"] = _shard(parser, values)
    if "listen_addresses" in values:
        values["listen_addresses"] = tuple(values["listen_addresses"])
    return Flags(**values)


def _split_command(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the command and the other arguments; flags may precede the command."""
    rest = [*arguments]
    for place, (before, argument) in enumerate(pairwise(["", *arguments])):
        if argument in COMMANDS and not _has_value(before):
            return rest.pop(place), rest
    return _SERVE, rest


def _has_value(argument: str) -> bool:
    """Return whether the next argument is the value of this one."""
    return argument in FLAGS and not _is_switch(FLAGS[argument])


def _is_switch(flag: Field[Any]) -> bool:
    return bool(flag.metadata["argument"].get("action") == "store_true")


def _refuse_unknown(
    parser: argparse.ArgumentParser, command: str | None, arguments: Sequence[str]
) -> None:
    """Reject arguments that are no flags of the command; suggest similar flags."""
    for before, argument in pairwise(["", *arguments]):
        flag = argument.partition("=")[0]
        if command == "demo" and flag.startswith("--config."):
            parser.error(
                "demo watches its own cloud: leave out demo, or --config.file and "
                "--config.check"
            )
        if flag in FLAGS:
            used_by = FLAGS[flag].metadata["used_by"]
            if command not in used_by and not FLAGS[flag].metadata["ignored"]:
                names = [each or _TO_SERVE for each in used_by]
                parser.error(
                    f"{flag}: goes with {' and '.join(names)}; not with "
                    f"{command or _TO_SERVE}"
                )
        elif flag.startswith("--") and flag not in ("--help", "--version"):
            # argparse's message would name the argument after it.
            close_matches = difflib.get_close_matches(flag, FLAGS, n=1)
            hint = f"; did you mean {close_matches[0]}?" if close_matches else ""
            parser.error(f"{flag}: unknown flag{hint}")
        elif not flag.startswith("-") and not _has_value(before):
            if command is not None:
                parser.error(f"{flag}: {command} takes flags only")
            close_matches = difflib.get_close_matches(flag, COMMANDS, n=1)
            hint = f"did you mean {close_matches[0]}?" if close_matches else _NO_COMMAND
            parser.error(f"{flag}: unknown command; {hint}")


_TO_SERVE = "no command, which is to serve"
_NO_COMMAND = f"there are {', '.join(COMMANDS)}, and none, which is to serve"


def _shard(parser: argparse.ArgumentParser, values: Mapping[str, Any]) -> int:
    """Return this exporter's shard.

    With several shards it must be given, or all exporters would read the same one.
    """
    last_shard: int = values.get("total_shards", 1) - 1
    if "shard" not in values and last_shard > 0:
        parser.error(f"--total-shards {last_shard + 1}: --shard is missing")
    shard: int = values.get("shard", 0)
    if isinstance(shard, PodNumber):
        return shard % (last_shard + 1)
    if shard > last_shard:
        parser.error(
            f"--shard {shard}: must be from 0 to {last_shard}, one less than "
            "--total-shards"
        )
    return shard


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its help is the reference of the command line.

    The parsed namespace has only the flags that were given.
    """
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, **_parser_arguments("[command]")
    )
    _add_flags(parser, _SERVE)
    commands = parser.add_subparsers(
        dest="command", metavar="command", title="commands"
    )
    for command, purpose in COMMANDS.items():
        subparser = commands.add_parser(
            command,
            help=purpose,
            description=f"{command}: {purpose}.",
            **_parser_arguments(command),
        )
        _add_flags(subparser, command)
    return parser


def _parser_arguments(command: str) -> dict[str, Any]:
    return {
        "prog": PROGRAM,
        "usage": f"{PROGRAM} {command} [flags]",
        "epilog": _EPILOG,
        "allow_abbrev": False,
        "argument_default": argparse.SUPPRESS,
    }


def _add_flags(parser: argparse.ArgumentParser, command: str | None) -> None:
    for name, flag in FLAGS.items():
        argument = {"dest": flag.name, **flag.metadata["argument"]}
        if command in flag.metadata["used_by"]:
            parser.add_argument(name, **argument)
        elif flag.metadata["ignored"]:
            parser.add_argument(name, **{**argument, "help": argparse.SUPPRESS})
    parser.add_argument(
        "--version", action="version", version=f"{PROGRAM} {__version__}"
    )


def variable(flag: str) -> str:
    """Return the name of a flag's environment variable."""
    name = flag.removeprefix("--").replace(".", "_").replace("-", "_").upper()
    return f"ONAPP_EXPORTER_{name}"


def _variables(
    parser: argparse.ArgumentParser,
    command: str | None,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """Return the command's flags that variables set, checked like flags."""
    values = {}
    for name, flag in FLAGS.items():
        text = environment.get(variable(name))
        if text and command in flag.metadata["used_by"]:
            try:
                values[flag.name] = _parsed_variable(flag, text)
            except (ValueError, argparse.ArgumentTypeError) as error:
                parser.error(f"{variable(name)}: {error}")
    return values


def _parsed_variable(flag: Field[Any], text: str) -> Any:
    argument = flag.metadata["argument"]
    if _is_switch(flag):
        return boolean(text)
    if argument.get("action") == "append":
        return [argument["type"](part.strip()) for part in text.split(",")]
    value = argument.get("type", str)(text)
    if value not in argument.get("choices", [value]):
        raise ValueError(f"{text!r} is not one of {', '.join(argument['choices'])}")
    return value
