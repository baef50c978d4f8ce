"""Tests for what is shipped for systemd, by systemd's own judgement."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from checkout import DEPLOY

from exporter.config.flags import FLAGS, PROGRAM, parse, variable

UNITS = DEPLOY / "systemd"
FILES = sorted(file for file in UNITS.rglob("*") if file.is_file())
SERVICES = [file for file in FILES if file.suffix == ".service"]
_MOST_EXPOSED = 15
"""In tenths, of 100: what systemd calls OK, and well below its limit for that."""
_STATUS = (
    *("basic", "multi-user", "network-online", "shutdown", "sockets", "sysinit"),
    *("time-set", "time-sync", "timers"),
)
"""Targets that every system has, and this one may lack."""

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Install all units, with a shell in the place of every program they start."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    for unit in folder.rglob("*.service"):
        text = re.sub(
            r"^(Exec\w+=)\S+", r"\1/bin/sh", unit.read_text(), flags=re.MULTILINE
        )
        unit.write_text(text)
    for name in _STATUS:
        (folder / f"{name}.target").write_text(f"[Unit]\nDescription={name}\n")
    return folder


def analyze(*arguments: str | Path, folder: Path) -> tuple[int, str]:
    """Call systemd-analyze; return its exit status and all that it says."""
    # Only root may look as the system's manager does.
    scope = [] if os.geteuid() == 0 else ["--user"]
    own = {"SYSTEMD_UNIT_PATH": str(folder), "XDG_RUNTIME_DIR": str(folder.parent)}
    done = subprocess.run(
        ["systemd-analyze", *scope, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"} | own,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_systemd_finds_nothing_wrong(file: Path, installed: Path) -> None:
    """No unknown key, no value that is not understood, no unit that is missing."""
    unit = file.parent.name.removesuffix(".d") if file.suffix == ".conf" else file.name

    assert analyze("verify", "--man=no", installed / unit, folder=installed) == (0, "")


def test_systemd_would_find_what_is_wrong(installed: Path) -> None:
    """The test above sees what it is there for, in the unit and beside it."""
    unit = installed / f"{PROGRAM}.service"
    unit.write_text(unit.read_text().replace("DynamicUser", "DynamikUser"))
    drop_in = installed / f"{PROGRAM}.service.d" / "socket.conf"
    drop_in.write_text(drop_in.read_text().replace("Requires=", "Requiers="))
    _, printed = analyze("verify", "--man=no", unit, folder=installed)

    assert "DynamikUser" in printed
    assert "Requiers" in printed


@pytest.mark.parametrize("file", SERVICES, ids=lambda file: file.name)
def test_little_is_exposed(file: Path, installed: Path) -> None:
    """At most 1.5 of 10 by systemd's count."""
    status, printed = analyze(
        *("security", "--offline=yes", "--no-pager", f"--threshold={_MOST_EXPOSED}"),
        installed / file.name,
        folder=installed,
    )

    assert "Overall exposure level" in printed
    assert status == 0, printed


@pytest.mark.parametrize("file", SERVICES, ids=lambda file: file.name)
def test_the_command_line_is_one(file: Path) -> None:
    """Each flag exists, and the path is the one that the documentation installs to."""
    (line,) = re.findall(r"^ExecStart=(.*)$", file.read_text(), re.MULTILINE)
    program, *arguments = shlex.split(line)
    flags = parse(arguments, {})

    assert program == f"/opt/{PROGRAM}/bin/{PROGRAM}"
    assert flags.config_file == Path(f"/etc/{PROGRAM}/onapp.yml")
    assert flags.command == ("once" if flags.output else None)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_variable_is_one_of_a_flag(file: Path) -> None:
    """A variable that nothing reads would be ignored in silence."""
    known = {*map(variable, FLAGS)}
    named = re.findall(r"\bONAPP_EXPORTER_\w+", file.read_text())

    assert {*named} <= known


def test_the_socket_listens_where_the_exporter_would() -> None:
    """Prometheus' configuration stays as it is."""
    text = (UNITS / f"{PROGRAM}.socket").read_text()
    (address,) = parse([], {}).listen_addresses

    assert re.findall("^ListenStream=(.*)$", text, re.MULTILINE) == [address.strip(":")]


@pytest.mark.parametrize("file", SERVICES, ids=lambda file: file.name)
def test_the_key_is_where_systemd_puts_it(file: Path) -> None:
    """Under the unit's own name."""
    named = re.findall(r"password_file: (\S+)", file.read_text())

    assert named == [f"/run/credentials/{file.name}/key"]
