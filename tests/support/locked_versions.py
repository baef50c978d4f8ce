"""The versions that the lock files pin."""

from __future__ import annotations

import re
from pathlib import Path

from checkout import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

RUNTIME = ROOT / "requirements.lock"
BUILD = ROOT / "requirements-build.lock"


def pins(lock: Path) -> dict[str, Requirement]:
    """Return what a lock pins, by name."""
    lines = re.findall(r"^[^\s#].*?(?= \\$)", lock.read_text("utf-8"), re.MULTILINE)
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}


def locked_versions(lock: Path, python: str) -> dict[str, str]:
    """Return the versions that are locked for a version of Python, by name."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    pinned = pins(lock)
    return {
        name: version_of(pinned, name)
        for name, pin in pinned.items()
        if pin.marker is None or pin.marker.evaluate(environment)
    }


def version_of(pinned: dict[str, Requirement], name: str) -> str:
    """Return the version that a package is pinned to."""
    (one,) = pinned[canonicalize_name(name)].specifier
    assert one.operator == "=="
    return one.version
