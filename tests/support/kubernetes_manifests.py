"""Kubernetes manifests: the chart rendered by helm, and kustomize's folders."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import DEPLOY, ROOT

IMAGE = "ghcr.io/onapp-backup-exporter/onapp-backup-exporter"
CHART = DEPLOY / "helm" / "onapp-backup-exporter"
KUBERNETES = DEPLOY / "kubernetes"
OLDEST, NEWEST = "1.25", "1.34"
"""Versions of Kubernetes: the oldest that the chart supports, the newest tested."""


Manifest = dict[str, Any]
"""One object of a cluster."""


def output_of(*command: str | Path, status: int = 0, folder: Path = ROOT) -> str:
    """Run a program; return its output, or its errors if it is to fail."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not on the PATH: `make tools` builds it")
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=folder
    )
    assert run.returncode == status, run.stdout + run.stderr
    return run.stderr if status else run.stdout


def helm_template(
    *options: str | Path, release: str = "onapp-backup-exporter", version: str = NEWEST
) -> list[Manifest]:
    """Return the chart's manifests for these options."""
    command = ("helm", "template", release, CHART, "--namespace", "monitoring")
    text = _cached_output(*command, "--kube-version", version, *options)
    return list(yaml.safe_load_all(text))


def helm_error(*options: str | Path) -> str:
    """Return why the chart refuses these options."""
    command = ("helm", "template", "x", CHART, "--kube-version", NEWEST, *options)
    return output_of(*command, status=1)


def kustomized(folder: Path) -> list[Manifest]:
    """Return the manifests that kustomize builds from a folder."""
    return list(yaml.safe_load_all(_cached_output("kustomize", "build", folder)))


@cache
def _cached_output(*command: str | Path) -> str:
    return output_of(*command)


def objects_of(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Return the objects of a kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def only_object(manifests: list[Manifest], kind: str) -> Manifest:
    """Return the one object of a kind."""
    (found,) = objects_of(manifests, kind)
    return found


def pod(manifests: list[Manifest]) -> Manifest:
    """Return the specification of the exporter's pod."""
    return dict(only_object(manifests, "StatefulSet")["spec"]["template"]["spec"])


def exporter(manifests: list[Manifest]) -> Manifest:
    """Return the exporter's container."""
    (found,) = pod(manifests)["containers"]
    return dict(found)


def environment(manifests: list[Manifest], pod_name: str) -> dict[str, str]:
    """Return the environment of a pod, as a cluster would set it."""
    fields = {"metadata.name": pod_name}
    return {
        variable["name"]: variable["value"]
        if "value" in variable
        else fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        for variable in exporter(manifests)["env"]
    }
