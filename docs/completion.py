"""Write the completion of the command line for bash, zsh and fish."""  # noqa: INP001  # no package

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from exporter.config.flags import COMMANDS, FLAGS, PROGRAM

_EVERYWHERE = {
    "--help": "show the flags and exit",
    "--version": "show the version and exit",
}
_NOTE = "generated from the parser by `make docs`, do not edit."

_BASH = """\
# Completion for bash; {note}
_onapp_backup_exporter() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} flag=${{COMP_WORDS[COMP_CWORD-1]}}
    local command= each words
    # In --flag=value the sign is a word of its own.
    if [[ $word == "=" ]]; then
        word=
    elif [[ $flag == "=" ]]; then
        flag=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $each in {commands}) command=$each ;; esac
    done
    case $flag in
{values}
    *)
        case $command in
{flags}
        esac
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
complete -F _onapp_backup_exporter {program}
"""
_BASH_FILES = """
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;"""

_ZSH = """\
#compdef {program}
# Completion for zsh; {note}
local -a commands flags before=("${{(@)words[2,CURRENT-1]}}")
commands=(
{commands}
)
case ${{before[(r)({alternatives})]}} in
{flags}
esac
_arguments -S $flags '1: :{{_describe command commands}}'
"""

_FISH = """\
# Completion for fish; {note}
complete -c {program} -f
{lines}
"""


def bash() -> str:
    """Return the completion for bash."""
    flags = {each: [*_used_by(each), *_EVERYWHERE] for each in COMMANDS}
    flags["*"] = [*COMMANDS, *_used_by(None), *_EVERYWHERE]
    return _BASH.format(
        note=_NOTE,
        program=PROGRAM,
        commands=" | ".join(COMMANDS),
        values="\n".join(
            f"    {name})"
            + _by_kind(
                flag,
                choices=' words="{}" ;;',
                file=_BASH_FILES,
                other=" return ;;",
            )
            for name, flag in _arguments().items()
            if not _is_switch(flag)
        ),
        flags="\n".join(
            f'        {command}) words="{" ".join(names)}" ;;'
            for command, names in flags.items()
        ),
    )


def zsh() -> str:
    """Return the completion for zsh."""
    return _ZSH.format(
        note=_NOTE,
        program=PROGRAM,
        commands=_quoted(f"{name}:{does}" for name, does in COMMANDS.items()),
        alternatives="|".join(COMMANDS),
        flags="\n".join(
            f"{command or '*'})\n    flags=(\n"
            f"{_quoted(_zsh_flags(_used_by(command)))}\n    )\n    ;;"
            for command in (*COMMANDS, None)
        ),
    )


def _zsh_flags(flags: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield specifications as ``_arguments`` takes them."""
    for name, flag in flags.items():
        does = re.sub(r"([\\\[\]:])", r"\\\1", flag["help"])
        often = "*" if flag.get("action") == "append" else ""
        value = _by_kind(
            flag, choices="value:({})", file="file:_files", other="value: "
        )
        yield f"{often}{name}" + (
            f"[{does}]" if _is_switch(flag) else f"=[{does}]:{value}"
        )
    for name, does in _EVERYWHERE.items():
        yield f"{name}[{does}]"


def _quoted(texts: Iterable[str]) -> str:
    return "\n".join(f"    {shlex.quote(text)}" for text in texts)


def fish() -> str:
    """Return the completion for fish."""
    given = "__fish_seen_subcommand_from"
    none = f"not {given} {' '.join(COMMANDS)}"
    rows = [(none, f"-a {name}", does) for name, does in COMMANDS.items()]
    for name, flag in _arguments().items():
        used_by = FLAGS[name].metadata["used_by"]
        when = f"{given} {' '.join(filter(None, used_by))}"
        if None in used_by:
            others = [command for command in COMMANDS if command not in used_by]
            when = f"not {given} {' '.join(others)}"
        value = _by_kind(flag, choices=" -x -a '{}'", file=" -r -F", other=" -x")
        rows.append((when, f"-l {name[2:]}{value}", flag["help"]))
    rows += [("true", f"-l {name[2:]}", does) for name, does in _EVERYWHERE.items()]
    return _FISH.format(
        note=_NOTE,
        program=PROGRAM,
        lines="\n".join(
            f"complete -c {PROGRAM} -n '{when}' {what} -d {_fish_text(does)}"
            for when, what, does in rows
        ),
    )


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _arguments() -> dict[str, Mapping[str, Any]]:
    """Return what argparse gets of each flag."""
    return {name: field.metadata["argument"] for name, field in FLAGS.items()}


def _used_by(command: str | None) -> dict[str, Mapping[str, Any]]:
    """Return those of the flags that the command's help shows."""
    return {
        name: flag
        for name, flag in _arguments().items()
        if command in FLAGS[name].metadata["used_by"]
    }


def _is_switch(flag: Mapping[str, Any]) -> bool:
    return flag.get("action") == "store_true"


def _by_kind(flag: Mapping[str, Any], *, choices: str, file: str, other: str) -> str:
    """Return the text for what the flag takes, nothing for a switch."""
    if _is_switch(flag):
        return ""
    if "choices" in flag:
        return choices.format(" ".join(flag["choices"]))
    return file if flag.get("type") is Path else other
