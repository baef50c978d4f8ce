"""The entry point: runs the command and returns the exit status."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO, cast

from .config.flags import PROGRAM, Flags, parse
from .stderr import StderrStream


def main() -> None:
    """Run as a program; output to a closed stream is discarded."""
    # Otherwise the next opened file would get the descriptor of the closed stream.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # for as long as the process runs
    stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # the same
    stream = StderrStream(stderr)
    atexit.register(stream.finish)
    sys.stderr = cast("TextIO", stream)
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command; return the exit status."""
    flags = parse(arguments, environment)
    # Imported when needed, so that --version and healthcheck are fast.
    if flags.command == "healthcheck":
        from .commands.healthcheck import healthcheck

        return healthcheck(
            flags.listen_addresses,
            web_config=flags.web_config_file is not None,
            path="/-/ready" if flags.ready else "/-/healthy",
        )
    from .errors import ConfigError

    try:
        if flags.config_check or flags.command in ("check", "once"):
            _print_unused_variables(flags, environment)
        return _run(flags, environment)
    except ConfigError as error:
        for mistake in str(error).splitlines():
            print(f"{PROGRAM}: {mistake}", file=sys.stderr)
    except OSError as error:
        writes_result = flags.command in ("check", "once")
        action = f"write {flags.output or 'the result'}" if writes_result else "serve"
        reason = error.strerror or error
        print(f"{PROGRAM}: cannot {action}: {reason}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1 if flags.command in (None, "demo") else 2


def _run(flags: Flags, environment: Mapping[str, str]) -> int:
    if flags.config_check and flags.command is None:
        return _check_config(flags, environment)
    if flags.command in ("check", "once"):
        return _run_to_completion(flags, environment)
    import asyncio

    import structlog

    from .app import serve
    from .config.load import load, unused_variables
    from .logs import configure

    configure(flags.log_level, flags.log_format)
    for unused in unused_variables(environment, flags.config_file):
        structlog.get_logger().warning("environment variable not used", reason=unused)
    if flags.command == "demo":
        from .commands.demo import run_demo

        return asyncio.run(run_demo(flags))
    return asyncio.run(
        serve(
            flags,
            lambda files: load(flags.config_file, environment, files),
            environment,
        )
    )


def _print_unused_variables(flags: Flags, environment: Mapping[str, str]) -> None:
    from .config.load import unused_variables

    for unused in unused_variables(environment, flags.config_file):
        print(f"{PROGRAM}: environment: {unused}", file=sys.stderr)


def _run_to_completion(flags: Flags, environment: Mapping[str, str]) -> int:
    """Run a command; its result goes to standard output, everything else to stderr."""
    from .commands.check import check
    from .commands.once import once
    from .commands.report import Progress
    from .config.load import load
    from .logs import configure
    from .signals import run_command

    progress = Progress(sys.stderr, dumb=environment.get("TERM") == "dumb")
    configure(flags.log_level, flags.log_format, cast("TextIO", progress))
    command = check if flags.command == "check" else once
    result = command(flags, lambda: load(flags.config_file, environment), progress)
    return run_command(result)


def _check_config(flags: Flags, environment: Mapping[str, str]) -> int:
    from .clock import SystemClock
    from .commands.output import write_stdout
    from .config.load import load
    from .config.schema import effective_config
    from .web.auth import watched_config

    text = effective_config(load(flags.config_file, environment))
    if flags.web_config_file is not None:
        watched_config(flags.web_config_file, SystemClock())
    # UTF-8, as in files, regardless of the terminal's encoding.
    write_stdout(text.encode())
    return 0
