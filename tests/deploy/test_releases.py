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

    assert publishing == {*jobs} - {"test", "package", "verify"}
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

    assert {*names("download")} == {*names("upload")} == {"dist", "deb", "notes"}


@pytest.fixture
def verification() -> str:
    """Return the script of the job that verifies what was published."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    return str(jobs["verify"]["steps"][-1]["run"])


def test_the_manual_verifies_as_the_release_does(verification: str) -> None:
    """By the same lines, after the one that says what."""
    page = (ROOT / "docs" / "verifying.md").read_text()
    (block,) = re.findall(r"```sh needs=gh\n(.*?)```", page, re.DOTALL)

    assert block.split("\n")[1:] == verification.split("\n")[1:]


_REGISTRY = "oci://ghcr.io/owner"
_PUBLISHED = {
    f"{_REGISTRY}/name:1.2.3",
    f"{_REGISTRY}/charts/onapp-backup-exporter:1.2.3",
    *(f"onapp-backup-exporter_1.2.3_{machine}.deb" for machine in ("amd64", "arm64")),
    *(f"onapp_backup_exporter-1.2.3{end}" for end in (".tar.gz", "-py3-none-any.whl")),
}
_GH = """\
#!/bin/sh
case $1 in
release) touch {files} ;;
attestation) echo "$3" >>verified; [ "$3" != "{forged}" ] ;;
esac
"""


@pytest.mark.parametrize("forged", ["", *sorted(_PUBLISHED)])
def test_all_that_is_published_is_verified(
    forged: str, verification: str, tmp_path: Path
) -> None:
    """Whatever of it was forged, the job fails."""
    files = [name for name in _PUBLISHED if not name.startswith("oci:")]
    program = tmp_path / "gh"
    program.write_text(_GH.format(files=" ".join(files), forged=forged))
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-e", "-c", verification],
        cwd=tmp_path,
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "REPOSITORY": "owner/name",
            "GITHUB_REF_NAME": "v1.2.3",
        },
        check=False,
    )
    verified = (tmp_path / "verified").read_text().split()

    assert (done.returncode == 0) == (forged == "")
    assert forged or {*verified} == _PUBLISHED


def test_all_that_is_published_is_signed() -> None:
    """The image, the chart, and every file of the release."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    signed = {
        name: step["with"].get("subject-name") or step["with"].get("subject-path")
        for name, job in jobs.items()
        for step in job.get("steps", [])
        if "attest-build-provenance@" in step.get("uses", "")
    }
    published = [step.get("run", "") for step in jobs["release"]["steps"]][-1]

    assert signed == {
        "image": "${{ env.IMAGE }}",
        "chart": "ghcr.io/${{ github.repository_owner }}/charts/onapp-backup-exporter",
        "release": "dist/*",
    }
    assert published.rstrip().endswith(" dist/*")


def test_the_release_packs_with_the_program_that_the_tests_use() -> None:
    """Another nfpm may make another package."""
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    (used,) = re.findall(r"go install (\S+)@(\S+)", workflow)

    assert " ".join(used) in (ROOT / "tests" / "tools.sh").read_text()


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
