"""Tests for what makes a release: workflows, Dockerfile, notes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT

from exporter import __version__

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
_SCRIPT = ".ci/release_notes.py"

needs_actionlint = pytest.mark.skipif(
    shutil.which("actionlint") is None, reason="actionlint is not installed"
)


def judged(*command: str | Path) -> tuple[int, str]:
    """Call a program; return its exit status and all that it says."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def beside_python(name: str) -> Path:
    """Return a program that is installed with the tests' own packages."""
    return Path(sys.executable).with_name(name)


@needs_actionlint
@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actionlint_finds_nothing_wrong(file: Path) -> None:
    """Keys, types, expressions, and by shellcheck the scripts."""
    assert judged("actionlint", file) == (0, "")


@needs_actionlint
def test_actionlint_would_find_what_is_wrong(tmp_path: Path) -> None:
    """In an expression, and in a script."""
    wrong = tmp_path / "wrong.yml"
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    wrong.write_text(
        text.replace("matrix.python", "matrix.snake") + "      - run: echo $X >$Y\n"
    )
    status, output = judged("actionlint", wrong)

    assert status == 1
    assert "snake" in output
    assert "SC2086" in output


def test_zizmor_finds_no_weakness() -> None:
    """Permissions, injections, pins, credentials that stay behind."""
    status, output = judged(
        *(beside_python("zizmor"), "--offline", "--no-progress", "--quiet"),
        ROOT / ".github",
    )

    assert status == 0, output


def test_hadolint_finds_nothing_wrong() -> None:
    """In the recipe of the image."""
    assert judged(beside_python("hadolint"), ROOT / "Dockerfile") == (0, "")


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_do_nothing_that_it_does_not_say(file: Path) -> None:
    """Each job names its permissions; strangers' changes run without any secret."""
    workflow = yaml.safe_load(file.read_text())

    assert workflow["permissions"] == {}
    assert workflow["concurrency"]
    assert all(job["permissions"] for job in workflow["jobs"].values())
    assert "pull_request_target" not in file.read_text()


def test_every_action_is_pinned_to_one_commit() -> None:
    """With the tag of that commit beside it, for people and dependabot."""
    lines = [
        line.strip()
        for file in WORKFLOWS
        for line in re.findall(r"uses: (.*)", file.read_text())
        if not line.startswith("./")
    ]
    pins = {re.fullmatch(r"([\w./-]+)@[0-9a-f]{40} # v\d+\.\d+\.\d+", x) for x in lines}
    actions = [pin[1] for pin in pins if pin is not None]

    assert None not in pins
    assert len({*lines}) == len({*actions}) > 0


def test_every_python_that_is_promised_is_tested() -> None:
    """From the oldest that the package allows, without a gap."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    (oldest,) = re.findall(
        r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text()
    )

    assert versions == [f"3.{n}" for n in range(int(oldest), int(oldest) + 4)]


def test_the_tests_run_where_none_is_skipped() -> None:
    """In CI that would fail, and GitHub's machines are no Debian and give no root."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())

    assert workflow["jobs"]["test"]["container"] == {
        "image": "docker.io/library/python:${{ matrix.python }}-bookworm",
        "options": "--privileged --sysctl net.ipv6.conf.all.disable_ipv6=0",
    }


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_target_that_is_called_exists(file: Path) -> None:
    """What the workflow does, a contributor can do."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    called = re.findall(r"run: make (\w+)", file.read_text())

    assert called
    assert {*called} <= {*targets}


def test_nothing_is_published_before_all_tests_have_passed() -> None:
    """Neither directly nor by way of another job."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    publishing = {"pypi", "image", "chart", "release"}

    assert publishing == {*jobs} - {"test", "package"}
    assert all({"test", "package"} <= _before(name, jobs) for name in publishing)


def _before(name: str, jobs: dict[str, Any]) -> set[str]:
    needed = {*jobs[name].get("needs", [])}
    return needed.union(*(_before(other, jobs) for other in needed))


def test_a_job_takes_by_name_what_another_has_left() -> None:
    """All at once fails: an image's build leaves a record that is no zip file."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job.get("steps", [])]

    def names(action: str) -> list[str]:
        uses = [step for step in steps if f"/{action}-artifact@" in str(step)]
        return [step["with"]["name"] for step in uses]

    assert {*names("download")} == {*names("upload")} == {"dist", "notes"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of what the notes are made of, with a changelog of its own."""
    for folder in (".ci", "exporter"):
        (tmp_path / folder).mkdir()
    for name in (_SCRIPT, "exporter/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Later.\n\n"
        f"## [{__version__}] - 2026-12-01\n\n### Fixed\n\n- This.\n\n"
        f"## [0.0.1] - 2026-01-01\n\n- Before.\n"
    )
    return tmp_path


def notes(project: Path, tag: str) -> tuple[int, str]:
    """Call the script as the workflow does."""
    return judged(sys.executable, project / _SCRIPT, tag)


def test_the_notes_are_the_section_of_the_version(project: Path) -> None:
    """In the words that users know from the changelog."""
    assert notes(project, f"v{__version__}") == (0, "### Fixed\n\n- This.\n")


def test_a_tag_that_is_not_the_version_is_not_released(project: Path) -> None:
    """The program would call itself something else than the package."""
    status, output = notes(project, "v9.9.9")

    assert status == 1
    assert f"tag v9.9.9, but exporter/__init__.py says version {__version__}" in output


@pytest.mark.parametrize("section", ["", f"## [{__version__}] - 2026-12-01\n\n"])
def test_a_version_without_a_changelog_is_not_released(
    section: str, project: Path
) -> None:
    """Neither without a section nor with an empty one."""
    (project / "CHANGELOG.md").write_text(f"## [Unreleased]\n\n- Later.\n\n{section}")
    status, output = notes(project, f"v{__version__}")

    assert status == 1
    assert f"no section [{__version__}] with a date" in output
