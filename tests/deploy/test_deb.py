"""Tests of the Debian package, in a Debian with little more than dpkg and Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from checkout import DEPLOY, ROOT, TOOLS
from exporter_process import fetch, started_process

from exporter import __version__
from exporter.config.flags import FLAGS, PROGRAM, variable

BASE = TOOLS / "debian.tar"
UNITS = "usr/lib/systemd/system"
SETTINGS = f"etc/default/{PROGRAM}"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Machine:
    """A Debian in a folder."""

    root: Path
    initial_files: frozenset[str]
    """Those before the package was installed."""

    def run(self, *command: str) -> str:
        """Run a command as root, which must succeed; return its output."""
        return _run("chroot", self.root, *command)

    def install(self) -> None:
        """Install the package, or install it again; nobody answers questions."""
        self.run("dpkg", "--force-unsafe-io", "--install", "/package.deb")


def found_files(root: Path) -> set[str]:
    """Return all that is there, but for what dpkg and Python themselves remember."""
    return {
        str(Path(folder, name).relative_to(root))
        for folder, folders, files in os.walk(root)
        for name in folders + files
        if not folder.startswith((f"{root}/var", f"{root}/usr/lib/python3"))
    }


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:{PATH}", "LANG": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Build the package for this architecture, and install it into a clean Debian."""
    if os.geteuid() != 0:
        pytest.skip("only root can install a package")
    if not (shutil.which("nfpm") and BASE.exists()):
        pytest.skip("nfpm or a Debian is missing: `make tools` gets them")
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    folder = tmp_path_factory.mktemp("debian")
    _run(DEPLOY / "deb" / "build.sh", architecture, folder)
    package = folder / f"{PROGRAM}_{__version__}_{architecture}.deb"
    root = folder / "root"
    root.mkdir()
    _run("tar", "-xf", BASE, "-C", root)
    package.rename(root / "package.deb")
    machine = Machine(root, frozenset(found_files(root)))
    machine.install()
    yield machine
    shutil.rmtree(folder)  # pytest would keep it


async def test_the_program_serves_whatever_python_has_besides(machine: Machine) -> None:
    """As a user without rights, and with the libraries of the package alone."""
    others = [machine.root / f"{name}.py" for name in ("aiohttp", "exporter")]
    for file in others:
        file.write_text("raise SystemExit('not this one')")
    command = (
        *("chroot", "--userspec=65534:65534", str(machine.root), f"/usr/bin/{PROGRAM}"),
        *("demo", "--web.listen-address=127.0.0.1:0"),
    )
    async with started_process(
        *command, environment={"PYTHONPATH": "/", "PATH": PATH}
    ) as exporter:
        address = await exporter.wait_for(r"http://\S+/metrics")
        _, metrics = await fetch(address[0])
    for file in others:
        file.unlink()

    assert 'onapp_up{panel="demo",shard="0"} 1' in metrics


def test_the_package_goes_with_every_python_that_is_promised(machine: Machine) -> None:
    """Each compiled module is there for each of them, or for all at once."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    pythons = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    modules = [
        file.relative_to(machine.root)
        for file in (machine.root / f"opt/{PROGRAM}/lib").rglob("*.so")
    ]
    tagged = {re.sub("cpython-3[0-9]+", "cpython-{}", str(file)) for file in modules}
    expected = {
        file.format(python.replace(".", "")) for file in tagged for python in pythons
    }
    (first, past) = re.findall(
        r"python3 \([><]= ?3\.(\d+)\)|python3 \(<< 3\.(\d+)\)",
        machine.run("dpkg-query", "--show", "--showformat=${Depends}", PROGRAM),
    )

    assert expected == {*map(str, modules)}
    assert pythons == [f"3.{n}" for n in range(int(first[0]), int(past[1]))]


def test_the_units_start_the_program_and_read_its_settings(machine: Machine) -> None:
    """They are those of deploy/systemd, where systemd looks; settings name flags."""
    for unit in (f"{PROGRAM}.service", "onapp-backup-once.service"):
        text = (machine.root / UNITS / unit).read_text()
        (program,) = re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)

        assert text == (DEPLOY / "systemd" / unit).read_text()
        assert f"\nEnvironmentFile=-/{SETTINGS}\n" in text
        assert machine.run(program, "--version") == f"{PROGRAM} {__version__}\n"
    named = re.findall("ONAPP_EXPORTER_[A-Z_]+", (machine.root / SETTINGS).read_text())

    assert {*named} <= {*map(variable, FLAGS)}
    assert (machine.root / UNITS / "onapp-backup-once.timer").exists()


def test_settings_outlive_an_update_and_a_purge_leaves_nothing(
    machine: Machine,
) -> None:
    """What the administrator wrote stays until it is to be purged."""
    settings = machine.root / SETTINGS
    settings.write_text("ONAPP_EXPORTER_LOG_LEVEL=debug\n")
    machine.install()

    assert settings.read_text() == "ONAPP_EXPORTER_LOG_LEVEL=debug\n"
    assert "missing" not in machine.run("dpkg", "--verify", PROGRAM)

    machine.run("dpkg", "--remove", PROGRAM)

    assert settings.exists()

    machine.run("dpkg", "--purge", PROGRAM)

    # dpkg removes an empty /opt, too.
    assert found_files(machine.root) - machine.initial_files == set()
