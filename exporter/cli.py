"""From the command line to an exit status: 0 for well, 1 for not, 2 for wrong usage."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from .flags import PROGRAM, Flags, parse


def main() -> None:
    """Run as a program."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do what the command line says; return the exit status."""
    flags = parse(arguments, environment)
    # Imported when needed: --version and healthcheck must answer at once.
    if flags.command == "healthcheck":
        from .health import healthcheck

        return healthcheck(
            flags.listen_addresses, guarded=flags.web_config_file is not None
        )
    from .errors import ConfigError

    try:
        return _run(flags, environment)
    except ConfigError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"{PROGRAM}: cannot serve: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def _run(flags: Flags, environment: Mapping[str, str]) -> int:
    if flags.config_check and flags.command is None:
        return _check(flags, environment)
    import asyncio

    from .app import serve
    from .config import load
    from .logs import configure

    configure(flags.log_level, flags.log_format)
    if flags.command == "demo":
        from .demonstration import demonstrate

        return asyncio.run(demonstrate(flags))
    return asyncio.run(serve(flags, lambda: load(flags.config_file, environment)))


def _check(flags: Flags, environment: Mapping[str, str]) -> int:
    from .access import watching
    from .clock import SystemClock
    from .config import load
    from .effective import effective

    text = effective(load(flags.config_file, environment))
    if flags.web_config_file is not None:
        watching(flags.web_config_file, SystemClock())
    try:
        # UTF-8 as in a file, whatever the terminal's encoding is.
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough; Python would complain at its end too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
