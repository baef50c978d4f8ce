"""Tests of what shells and man are given, by those programs themselves."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import DEPLOY, TOOLS

from exporter.config.flags import COMMANDS, FLAGS, PROGRAM, variable

SHELL = DEPLOY / "shell"
PAGE = SHELL / f"{PROGRAM}.1"

CASES = {
    "chec": "check",
    "--log.f": "--log.format",
    "--log.level d": "debug",
    "--log.level=w": "warn",
    "--config.file on": "onapp.yml",
    "--config.file=onapp.yml check --tim": "--timeout",
    "check --config.file=on": "onapp.yml",
    "check --format t": "table",
    "once --output on": "onapp.yml",
    "healthcheck --re": "--ready",
    "demo --web.l": "--web.listen-address",
    # With this command it does nothing, or is refused.
    "demo --config.f": "",
    "check --web.l": "",
    "once --form": "",
    "--tim": "",
    # Nobody but the user knows.
    "--shard ": "",
}
"""What is typed, and the one word that it becomes, or may become."""


def bash(folder: Path) -> list[str]:
    """Return what bash makes of each case."""
    script = (
        f"source {SHELL / PROGRAM}.bash; "
        "compopt() { :; }; "  # only a key can start what it belongs to
        'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); '
        '_onapp_backup_exporter; echo "${COMPREPLY[*]}"'
    )
    return [
        _output(
            *("bash", "--norc", "-c", script, "bash", PROGRAM),
            *re.findall(r"=|[^\s=]+", typed),
            *([""] if typed.endswith(" ") else []),
            folder=folder,
        )
        for typed in CASES
    ]


def fish(folder: Path) -> list[str]:
    """Return what fish makes of each case."""
    script = (
        f"set -p fish_function_path {TOOLS}/fish-common/usr/share/fish/functions; "
        f"source {SHELL / PROGRAM}.fish; "
        'for typed in $argv; echo (complete -C "$typed" | string split -f 1 \\t); end'
    )
    lines = [f"{PROGRAM} {typed}" for typed in CASES]
    printed = _output("fish", "--no-config", "-c", script, *lines, folder=folder)
    return [line.rpartition("=")[2] for line in printed.split("\n")]


_ZSH = f"""
module_path=({TOOLS}/zsh/usr/lib/*/zsh/*(N) $module_path)
fpath=({SHELL} {TOOLS}/zsh-common/usr/share/zsh/functions/**/*(N/) $fpath)
autoload -Uz compinit
compinit -u -D
complete-all() {{
    for LINE in $typed; do
        BUFFER=$LINE CURSOR=$#LINE
        zle complete-word
        print -r -- $BUFFER >>completed
    done
    exit
}}
zle -N zle-line-init complete-all
"""


def zsh(folder: Path) -> list[str]:
    """Return what zsh makes of each case; it completes only at a terminal."""
    typed = " ".join(f"'{PROGRAM} {each}'" for each in CASES)
    (folder / ".zshrc").write_text(f"typed=({typed}){_ZSH}")
    master, slave = pty.openpty()
    try:
        subprocess.run(
            ["zsh", "-d", "-i"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "ZDOTDIR": str(folder), "TERM": "dumb"},
            start_new_session=True,
            check=True,
            timeout=300,
        )
    finally:
        os.close(slave)
        os.close(master)
    completed = (folder / "completed").read_text().splitlines()
    return [
        "" if line == f"{PROGRAM} {each}" else re.split("[ =]", line.rstrip(" ="))[-1]
        for each, line in zip(CASES, completed, strict=True)
    ]


def _output(*command: str, folder: Path) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"},
    )
    assert done.stderr == ""
    return done.stdout.removesuffix("\n")


@pytest.mark.parametrize("shell", [bash, fish, zsh])
def test_a_shell_completes_what_the_parser_takes(
    shell: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    """Commands, the flags that make a difference to them, choices and files."""
    name = shell.__name__
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: `make tools` gets it")
    (tmp_path / "onapp.yml").touch()

    assert dict(zip(CASES, shell(tmp_path), strict=True)) == CASES


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_the_manual_page_shows_all_that_can_be_given(tmp_path: Path) -> None:
    """Every command, flag and variable; mandoc finds no mistake in it."""
    _output("mandoc", "-T", "lint", "-W", "error,stop", str(PAGE), folder=tmp_path)
    shown = _output("mandoc", "-T", "utf8", str(PAGE), folder=tmp_path)
    words = {*re.sub(r".\x08", "", shown).split()}

    assert words >= {*COMMANDS, *FLAGS, *map(variable, FLAGS)}
    assert re.findall(r"`|\*\*|\]\(", shown) == []
