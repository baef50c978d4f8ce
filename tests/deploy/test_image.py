"""Tests that the image runs as its users run it: unprivileged and read-only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alert_rules import ALERTS
from certificates import write_certificates
from checkout import ROOT
from container_image import ContainerOptions, Image, built_image, running_container
from locked_versions import RUNTIME, locked_versions
from secured_server import TLS, USERS

from exporter.config.flags import PROGRAM

PAGE = ROOT / "docs" / "install-container.md"
ENVIRONMENT = "opt/onapp-backup-exporter"
_SCRAPE = (
    "import urllib.request as r;"
    "print(r.urlopen('http://127.0.0.1:10058/metrics').read().decode())"
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Build the image, once for all tests of this module."""
    folder = tmp_path_factory.mktemp("image")
    with built_image(folder, VERSION="1.2.3", REVISION="abcdef0") as image:
        yield image


def test_the_image_says_what_it_is_and_how_it_runs(image: Image) -> None:
    """For registries, scanners, and runtimes that refuse root."""
    labels = image.config["Labels"]
    names = {name.removeprefix("org.opencontainers.image.") for name in labels}

    assert image.config["User"] == "65534:65534"
    assert image.config["Entrypoint"] == ["onapp-backup-exporter"]
    assert [*image.config["ExposedPorts"]] == ["10058/tcp"]
    assert names >= {
        *("title", "description", "url", "source", "documentation", "licenses"),
        *("vendor", "authors", "version", "revision", "created"),
    }
    assert labels["org.opencontainers.image.version"] == "1.2.3"
    assert labels["org.opencontainers.image.revision"] == "abcdef0"


def test_the_image_holds_exactly_what_is_locked(image: Image) -> None:
    """And the exporter itself."""
    packages = _packages(image)
    python = packages.parent.name.removeprefix("python")
    installed = {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for found in packages.glob("*.dist-info")
        for name, version in [found.name.removesuffix(".dist-info").split("-")]
    }
    installed.pop("onapp-backup-exporter")

    assert installed == locked_versions(RUNTIME, python)


def test_the_image_holds_the_runbook_of_every_alert(image: Image) -> None:
    """The exporter serves them."""
    runbooks = _packages(image) / "exporter" / "status" / "runbooks"

    assert {file.stem for file in runbooks.iterdir()} == ALERTS


def _packages(image: Image) -> Path:
    (packages,) = (image.files / ENVIRONMENT / "lib").glob("python3.*/site-packages")
    return packages


def test_nothing_that_builds_or_installs_is_in_the_image(image: Image) -> None:
    """Nor a file that would lend its owner's rights."""
    tools = r"(pip3?|ensurepip|setuptools|wheel|hatchling|uv|gcc|cc|make)(\.py)?"
    found, lending = [], []
    for folder, folders, files in os.walk(image.files):
        found += [name for name in folders + files if re.fullmatch(tools, name)]
        lending += [
            name
            for name in files
            if (Path(folder) / name).lstat().st_mode & 0o6000
            and not (Path(folder) / name).is_symlink()
        ]

    assert found == []
    assert lending == []


def test_the_package_brings_the_manual_page_and_the_completions(image: Image) -> None:
    """Where man and the shells look beside a program."""
    share = image.files / ENVIRONMENT / "share"
    files = {str(file.relative_to(share)) for file in share.rglob("*.*")}

    assert files >= {
        f"man/man1/{PROGRAM}.1",
        f"fish/vendor_completions.d/{PROGRAM}.fish",
    }
    assert (share / "bash-completion" / "completions" / PROGRAM).exists()
    assert (share / "zsh" / "site-functions" / f"_{PROGRAM}").exists()


def test_the_image_is_as_large_as_the_manual_says(image: Image) -> None:
    """What it adds to its base, in MB, within a tenth."""
    printed = re.search(r"adds ([0-9]+) MB", PAGE.read_text("utf-8"))
    files = (image.files / ENVIRONMENT).rglob("*")
    size = sum(file.lstat().st_size for file in files) / 1e6

    assert printed is not None
    assert float(printed[1]) == pytest.approx(size, rel=0.1)


async def test_the_demo_runs_unprivileged_and_read_only(
    image: Image, tmp_path: Path
) -> None:
    """Without a capability and without a place to write."""
    async with running_container(image, tmp_path, "demo") as running:
        await running.main.wait_for("is monitoring a simulated")
        status, metrics = running.run_beside("python3", "-c", _SCRAPE)
        process = (running.process / "status").read_text()
        writing, refusal = running.run_beside(
            "sh", "-c", "echo > /tmp/x || echo > /opt/x"
        )

        assert status == 0
        assert 'onapp_up{panel="demo",shard="0"} 1' in metrics
        assert re.search(r"^Uid:(\t65534){4}$", process, re.MULTILINE)
        assert re.search(r"^CapEff:\t0{16}$", process, re.MULTILINE)
        assert writing != 0
        assert refusal.count("Read-only file system") == 2


async def test_sigterm_ends_the_container_well(image: Image, tmp_path: Path) -> None:
    """As the first process of its name space, which ignores what it does not handle."""
    async with running_container(image, tmp_path, "demo") as running:
        await running.main.wait_for("is monitoring a simulated")
        running.kill("TERM")

        assert await running.main.wait() == 0


@pytest.mark.parametrize("web_config", ["", TLS + USERS])
async def test_the_image_s_health_check_passes_behind_a_web_configuration_too(
    web_config: str, image: Image, tmp_path: Path
) -> None:
    """It is told nothing but what the image and the exporter's variables say."""
    folder = tmp_path / "etc"
    folder.mkdir()
    write_certificates(folder)
    (folder / "web.yml").write_text(web_config)
    for file in folder.iterdir():
        file.chmod(0o644)
    kind, *check = image.config["Healthcheck"]["Test"]
    async with running_container(
        image,
        tmp_path,
        "demo",
        options=ContainerOptions(
            ("ONAPP_EXPORTER_WEB_CONFIG_FILE=/etc/exporter/web.yml",),
            {folder: "/etc/exporter"},
        ),
    ) as running:
        await running.main.wait_for("is monitoring a simulated")

        assert kind == "CMD"
        assert running.run_beside(*check) == (0, "")


async def test_the_health_check_fails_where_nobody_serves(
    image: Image, tmp_path: Path
) -> None:
    """Then the container is restarted, or taken out of service."""
    async with running_container(image, tmp_path, "healthcheck") as running:
        assert await running.main.wait() == 1
        assert "not healthy" in running.main.output
