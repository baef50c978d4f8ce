"""Write docs/cli.md from the parser of the command line."""  # noqa: INP001  # no package

from __future__ import annotations

import re
from dataclasses import Field
from typing import Any

from exporter.config.flags import COMMANDS, FLAGS, PROGRAM, variable

_TEXT = """\
# Command line

Generated from the parser of the command line by `make docs`; do not edit.

```text
{program} [command] [flags]
python -m exporter [command] [flags]
```

## Commands

Without a command, the exporter serves. [docs/commands.md](commands.md)
describes `check` and `once` in detail.

| command | does |
|---|---|
{commands}

## Flags

`--help` after a command shows the flags that the command uses. A flag of another
command is refused; its variable is ignored.

Each flag can be set by an environment variable, too. A flag on the command line
overrides its variable, and a variable overrides the default. An empty variable counts
as not set.

| flag | variable | default | does |
|---|---|---|---|
{flags}
| `--version` | | | show the version and exit |
| `-h`, `--help` | | | show the flags and exit |

`{repeatable}` takes a comma-separated list of addresses.
`{switch}` and `{sockets}` take `true` or `false`.

Without `--config.file`, one panel comes from the environment: see
[the environment panel](configuration.md#the-environment-panel).

## Exit status

| status | means |
|---|---|
| 0 | success: a signal ended it, or the check found no problem |
| 1 | the configuration or the port cannot be used, or the exporter is unhealthy |
| 2 | there is no such command or flag, or its value is wrong |

Of `check` and `once`:

| status | means |
|---|---|
| 0 | all is fine |
| 1 | degraded: something is missing, or a part fails |
| 2 | failed: a panel, the configuration, the output, or the usage |
| 130, 143 | ended by `SIGINT` (Ctrl-C) or `SIGTERM` |

An error is reported on standard error, in one line. Mistakes in the configuration file
are reported in one line each.

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
        flags="\n".join(_row(*flag) for flag in FLAGS.items()),
        repeatable=variable("--web.listen-address"),
        switch=variable("--config.check"),
        sockets=variable("--web.systemd-socket"),
    )


def _row(name: str, field: Field[Any]) -> str:
    argument = field.metadata["argument"]
    output, default = _split(argument["help"])
    choices = argument.get("choices", ())
    if choices:
        output += f": {', '.join(choices)}"
    flag = name
    if "action" not in argument or "metavar" in argument:
        flag += (
            f" {argument.get('metavar') or name.rpartition('.')[2].strip('-').upper()}"
        )
    return f"| `{flag}` | `{variable(name)}` | {default} | {output} |"


def _split(help_text: str) -> tuple[str, str]:
    """Return what a flag does and its default, which its help names in brackets."""
    found = re.fullmatch(r"(.*) \(default: (.*)\)", help_text)
    return (found[1], f"`{found[2]}`") if found else (help_text, "")
