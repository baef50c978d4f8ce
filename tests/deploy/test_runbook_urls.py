"""Tests that alerts and dashboards lead to the runbooks at one place."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from alert_rules import ALERTS
from checkout import ROOT

_ELSEWHERE = "https://wiki.example.com/onapp"
_LEADING = (
    "deploy/prometheus/*.rules.yml",
    "grafana/dashboards/onapp-cloud.json",
)


def _runbooks(root: Path) -> str:
    """Return where pyproject.toml says that the runbooks are."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["urls"]["Runbooks"])


def _urls(root: Path) -> dict[str, set[str]]:
    """Return where each file leads to, by its name; those that lead nowhere not."""
    texts = {
        str(file.relative_to(root)): file.read_text("utf-8")
        for pattern in _LEADING
        for file in sorted(root.glob(pattern))
    }
    found = {
        name: {*re.findall(r"https://[^\s\"]*/[^/\s\"]+\.md\b", text)}
        for name, text in texts.items()
    }
    return {name: urls for name, urls in found.items() if urls}


def test_all_lead_to_the_pages_of_their_alerts_where_the_project_says_they_are() -> (
    None
):
    """And each alert leads to its own."""
    home = _runbooks(ROOT)
    pages = {f"{home}/{name}.md" for name in ALERTS}
    link = f"{home}/${{__data.fields.Alert}}.md"
    urls = _urls(ROOT)

    assert urls.pop("grafana/dashboards/onapp-cloud.json") == {link}
    assert set().union(*urls.values()) == pages
    assert len(urls) == len([*ROOT.glob("deploy/prometheus/*.rules.yml")])


@pytest.mark.parametrize("url", [_ELSEWHERE, ""], ids=["elsewhere", "nowhere"])
def test_one_command_lets_all_lead_elsewhere(url: str, tmp_path: Path) -> None:
    """Without an address it changes nothing and says how to give one."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("deploy/prometheus", "grafana/dashboards"):
        shutil.copytree(ROOT / name, tmp_path / name)
    before, files = _urls(tmp_path), sorted(tmp_path.rglob("*"))
    home = _runbooks(tmp_path)
    run = subprocess.run(
        ["make", "runbooks", f"URL={url}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    after = _urls(tmp_path)

    assert (run.returncode == 0) == bool(url)
    assert (f"make runbooks URL={_ELSEWHERE}" in run.stderr) == (not url)
    assert _runbooks(tmp_path) == (url or home)
    assert sorted(tmp_path.rglob("*")) == files
    assert after == {
        name: {one.replace(home, url or home) for one in urls}
        for name, urls in before.items()
    }
