"""The exporter's image: built from the Dockerfile, and run by runc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, TOOLS
from exporter_process import RunningProcess, started_process

BASE = TOOLS / "base.tar"
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_INDEX_VARIABLES = ("PIP_CERT", "PIP_INDEX_URL")
"""Variables that pip needs to reach the package index, where they are set."""


def _output(*command: str | Path) -> str:
    """Run a program that must succeed; return its output."""
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.strip()


@dataclass(frozen=True, slots=True)
class Builder:
    """Buildah with its own storage: the machine's is neither read nor changed."""

    folder: Path

    def __call__(self, *arguments: str | Path) -> str:
        """Run buildah; return its output."""
        return _output(
            *("buildah", "--storage-driver", "vfs"),
            *("--root", str(self.folder / "store")),
            *("--runroot", str(self.folder / "run")),
            *arguments,
        )

    def commit(self, container: str, name: str) -> None:
        """Commit a container as an image."""
        trusted = self.folder / "policy.json"
        trusted.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self(
            *("commit", "--rm", "--disable-compression"),
            *("--signature-policy", trusted, container, name),
        )

    def base(self, name: str) -> None:
        """Make the base image: Debian's Python and nothing else."""
        container = self("from", "scratch")
        self("add", "--quiet", container, BASE, "/")
        self.commit(container, name)

    def build(self, name: str, **arguments: str) -> None:
        """Build the Dockerfile."""
        given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        given += [
            f"--build-arg={key}={os.environ[key]}"
            for key in _INDEX_VARIABLES
            if key in os.environ
        ]
        if Path(_AUTHORITIES).exists():
            given.append(f"--volume={_AUTHORITIES}:{_AUTHORITIES}:ro")
        self(
            *("build", "--isolation", "chroot", "--format", "docker"),
            *("--disable-compression", "--registries-conf", os.devnull),
            *("--signature-policy", str(self.folder / "policy.json")),
            *(*given, "--tag", name, str(ROOT)),
        )


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its files and its metadata."""

    files: Path
    description: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """Return the image's configuration for runtimes."""
        return dict(self.description["config"])

    def bundle(
        self, folder: Path, command: tuple[str, ...], options: ContainerOptions
    ) -> None:
        """Write the OCI bundle that runc runs, hardened as a cluster would."""
        folder.mkdir()
        _output("runc", "spec", "--bundle", folder)
        file = folder / "config.json"
        spec = json.loads(file.read_text("utf-8"))
        spec["root"] = {"path": str(self.files), "readonly": True}
        user, group = map(int, self.config["User"].split(":"))
        spec["process"] |= {
            "terminal": False,
            "args": command,
            "env": [*self.config["Env"], *options.environment],
            "cwd": "/",
            "user": {"uid": user, "gid": group},
            "capabilities": {},
            "noNewPrivileges": True,
        }
        spec["mounts"] += [
            {"type": "bind", "source": str(source), "destination": destination}
            | {"options": ["bind", "ro"]}
            for source, destination in options.mounts.items()
        ]
        if options.network is not None:
            (network,) = (
                space
                for space in spec["linux"]["namespaces"]
                if space["type"] == "network"
            )
            network["path"] = str(options.network)
        file.write_text(json.dumps(spec), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """Environment, mounts and network of a container."""

    environment: tuple[str, ...] = ()
    mounts: Mapping[Path, str] = field(default_factory=dict)
    network: Path | None = None
    """None: its own network namespace."""


@contextmanager
def built_image(folder: Path, **arguments: str) -> Iterator[Image]:
    """Build the image; skip the test where the tools are missing."""
    if os.geteuid() != 0:
        pytest.skip("only root can build and run an image here")
    if not (shutil.which("buildah") and shutil.which("runc") and BASE.exists()):
        pytest.skip("buildah, runc or a base image is missing: `make tools` gets them")
    builder = Builder(folder)
    builder.base("localhost/base")
    builder.build("localhost/exporter", BASE="localhost/base", **arguments)
    described = builder("inspect", "--type", "image", "localhost/exporter")
    container = builder("from", "--pull-never", "localhost/exporter")
    files = Path(builder("mount", container))
    try:
        yield Image(files, json.loads(described)["Docker"])
    finally:
        builder("umount", container)
        shutil.rmtree(folder)  # pytest would keep a gigabyte of layers


@dataclass(frozen=True, slots=True)
class Container:
    """A running container."""

    image: Image
    folder: Path
    main: RunningProcess
    options: ContainerOptions

    @property
    def process(self) -> Path:
        """Return the first process' folder in ``/proc``."""
        state = json.loads(_output(*_runtime(self.folder), "state", self.folder.name))
        return Path("/proc") / str(state["pid"])

    def run_beside(self, *command: str) -> tuple[int, str]:
        """Run a command with the same options; return its exit status and output.

        In a container that shares the network, not by `runc exec`: where the machine
        is a folder that somebody changed root to, that would leave it.
        """
        name = f"{self.folder.name}-beside"
        bundle = self.folder / uuid.uuid4().hex
        around = replace(self.options, network=self.process / "ns" / "net")
        self.image.bundle(bundle, command, around)
        run = subprocess.run(
            [*_runtime(self.folder), "run", "--bundle", bundle, name],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return run.returncode, run.stdout + run.stderr

    def kill(self, signal: str) -> None:
        """Send the first process a signal, as a runtime does."""
        _output(*_runtime(self.folder), "kill", self.folder.name, signal)


def _runtime(folder: Path) -> tuple[str | Path, ...]:
    return ("runc", "--root", folder / "runc")


@asynccontextmanager
async def running_container(
    image: Image, folder: Path, *arguments: str, options: ContainerOptions | None = None
) -> AsyncIterator[Container]:
    """Run the image with these arguments; it is gone afterwards."""
    options = options or ContainerOptions()
    bundle = folder / "bundle"
    image.bundle(bundle, (*image.config["Entrypoint"], *arguments), options)
    command = (*_runtime(folder), "run", "--bundle", bundle, folder.name)
    async with started_process(*map(str, command)) as main:
        try:
            yield Container(image, folder, main, options)
        finally:
            _output(*_runtime(folder), "delete", "--force", folder.name)
