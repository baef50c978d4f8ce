"""Write docs/cli.md from the parser of the command line."""  # noqa: INP001  # no package

from __future__ import annotations

import argparse
import re

from exporter.config.flags import (
    COMMANDS,
    PROGRAM,
    build_parser,
    flag_actions,
    variable,
)

_TEXT = """\
# Command line

Generated from the parser of the command line by `make docs`; do not edit.

```
{program} [command] [flags]
python -m exporter [command] [flags]
```

## Commands

Without a command, it serves. `check` and `once` have [their own page](commands.md).

| command | does |
|---|---|
{commands}

## Flags

A command with `--help` shows the flags that make a difference to it; a flag that goes
with another command is refused, its variable is left alone.

Each flag can be set by an environment variable too. A flag on the command line goes
before its variable, and a variable before the default. A variable that is set to
nothing counts as not set.

| flag | variable | default | does |
|---|---|---|---|
{flags}
| `--version` | | | show the version and exit |
| `-h`, `--help` | | | show the flags and exit |

`{repeatable}` takes a comma-separated list of addresses, and
`{switch}` takes `true` or `false`, and so does `{sockets}`.

Without `--config.file`, one panel comes from the environment: see
[the environment panel](configuration.md#the-environment-panel).

## Exit status

| status | means |
|---|---|
| 0 | well: it was told to end, or what was asked about is good |
| 1 | the configuration is no good, or the port, or the exporter's health |
| 2 | there is no such command or flag, or its value is wrong |

Of `check` and `once`:

| status | means |
|---|---|
| 0 | all is fine |
| 1 | degraded: something is missing, or a part fails |
| 2 | failed: a panel, the configuration, the output, or the usage |
| 130, 143 | ended by `SIGINT` (Ctrl-C) or `SIGTERM` |

Whatever is wrong is said on standard error, in one line.

## Signals

| signal | does |
|---|---|
| `SIGTERM`, `SIGINT` | ends the exporter; `once` then writes nothing |
| `SIGHUP` | loads the configuration again; when it cannot be used, the old one stays |
"""


def text() -> str:
    """Return the page."""
    return _TEXT.format(
        program=PROGRAM,
        commands="\n".join(f"| `{name}` | {does} |" for name, does in COMMANDS.items()),
        flags="\n".join(_row(action) for action in flag_actions(build_parser())),
        repeatable=variable("--web.listen-address"),
        switch=variable("--config.check"),
        sockets=variable("--web.systemd-socket"),
    )


def _row(action: argparse.Action) -> str:
    flag = action.option_strings[-1]
    output, default = _split(action)
    if action.nargs != 0:
        flag += f" {action.metavar or flag.lstrip('-').rpartition('.')[2].upper()}"
    if action.choices is not None:
        output += f": {', '.join(action.choices)}"
    return (
        f"| `{flag}` | `{variable(action.option_strings[-1])}` | {default} | {output} |"
    )


def _split(action: argparse.Action) -> tuple[str, str]:
    """Return what a flag does and its default, which its help names in brackets."""
    output = (action.help or "") % {"default": action.default}
    found = re.fullmatch(r"(.*) \(default: (.*)\)", output)
    return (found[1], f"`{found[2]}`") if found else (output, "")
