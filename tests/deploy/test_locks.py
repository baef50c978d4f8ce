"""Tests that the locks hold what the image needs, all of it, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from locked_versions import BUILD, RUNTIME, locked_versions, pins, version_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
NEEDED = {
    RUNTIME: PYPROJECT["project"]["dependencies"],
    BUILD: PYPROJECT["build-system"]["requires"],
}
LOCKS = pytest.mark.parametrize("lock", NEEDED, ids=lambda lock: lock.name)


@LOCKS
def test_every_requirement_of_the_project_is_locked_to_a_version_that_fits(
    lock: Path,
) -> None:
    """After a change in pyproject.toml, `make lock` is due."""
    pinned = pins(lock)
    wanted = [Requirement(text) for text in NEEDED[lock]]

    assert [
        str(requirement)
        for requirement in wanted
        if not requirement.specifier.contains(version_of(pinned, requirement.name))
    ] == []


@LOCKS
def test_nothing_is_locked_that_is_not_needed(lock: Path) -> None:
    """Each package is the project's own wish, or that of another in the lock."""
    wanted = {canonicalize_name(Requirement(text).name) for text in NEEDED[lock]}
    wishes = dict(re.findall(_WISH, lock.read_text("utf-8"), re.MULTILINE))

    assert wanted <= {*pins(lock)}
    assert [
        name
        for name in pins(lock)
        if name not in wanted and wishes.get(name) not in pins(lock)
    ] == []


_WISH = r"^(\S+)==.*\n(?:    --hash.*\n)+    # via\n?(?:    #  )? (\S+)$"


@LOCKS
def test_every_locked_package_is_known_by_its_content(lock: Path) -> None:
    """And by nothing else: a lock names no place to load from."""
    text = lock.read_text("utf-8")
    entries = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:]

    assert len(entries) == len(pins(lock)) > 0
    assert all("--hash=sha256:" in entry for entry in entries)
    assert re.findall(r"https?:|--(?:extra-)?index|--find-links| @ ", text) == []


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.11", "3.14"])
def test_the_image_can_be_made_of_wheels_alone(
    machine: str, python: str, tmp_path: Path
) -> None:
    """On either architecture, without a compiler; none is missing from the lock."""
    run = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "uv",
                "pip",
                "install",
                "--dry-run",
                "--system-certs",
            ),
            *("--require-hashes", "--only-binary", ":all:", "--no-progress"),
            *("--python-version", python, "--target", tmp_path),
            *("--python-platform", f"{machine}-manylinux_2_28"),
            *("--requirements", RUNTIME),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert run.returncode == 0, run.stderr
    assert (
        f"Would install {len(locked_versions(RUNTIME, python))} packages" in run.stderr
    )
