"""Every command in the manual is one that there is, and can be typed as it stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from checkout import DOCS, ROOT

from exporter.config.flags import PROGRAM, parse

_PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(DOCS.glob("*.md")),
    *sorted(DOCS.glob("runbooks/*.md")),
]
_NOT_RUN = {"apt", "docker", "groupadd", "kubectl", "systemctl"}
"""Need a daemon, a cluster, or root: the parts that they start have tests."""
_TESTED_ELSEWHERE = {
    *("cd", "cp", "export", "for", "gh", "grep", "helm", "install", "ln", "python3"),
}
_MODULE = re.compile(r"(\S*/)?python3? -m exporter\b")
_OTHERS = {*_NOT_RUN, *_TESTED_ELSEWHERE, f"/opt/{PROGRAM}/bin/pip", "--volume"}
"""The last continues the line of docker above it."""


def _blocks() -> Iterator[tuple[str, str]]:
    """Yield each command line of the blocks of shell, with its page."""
    for page in _PAGES:
        text = page.read_text("utf-8")
        for language, block in re.findall(r"(?ms)^```(\w*)\n(.*?)^```", text):
            if language in ("", "sh"):
                for line in block.replace("\\\n", " ").splitlines():
                    if line.strip() and "[command]" not in line:
                        yield page.name, line.strip()


def _inline() -> Iterator[tuple[str, str]]:
    """Yield what stands in a sentence and begins with a program, with its page."""
    for page in _PAGES:
        for command in re.findall(rf"`((?:{PROGRAM}|make) [^`]+)`", page.read_text()):
            yield page.name, command


COMMANDS = [*_blocks(), *_inline()]


def _own_arguments(line: str) -> list[str] | None:
    """Return the arguments of our program in a line; None: it calls another."""
    words = shlex.split(_MODULE.sub(PROGRAM, line), comments=True)
    for number, word in enumerate(words):
        if word.rpartition("/")[2] == PROGRAM and "install" not in words[:number]:
            return words[number + 1 :]
    return None


def _program(line: str) -> str:
    """Return the program that a line calls, past variables and cron's times."""
    return re.sub(r"^(\*/15 \* \* \* \* \w+ |(\w+=\S+ )+)", "", line).split()[0]


CALLS = [(page, line) for page, line in COMMANDS if _program(line) not in _OTHERS]
"""Those of make and of the exporter."""


def test_no_program_is_left_over_that_the_manual_does_not_call() -> None:
    """Whatever else it calls is tested as one of ours."""
    assert {_program(line) for _, line in COMMANDS} >= _OTHERS


@pytest.mark.parametrize(("page", "line"), CALLS)
def test_a_command_of_the_manual_can_be_typed(page: str, line: str) -> None:
    """A target of make, or our own program with its flags."""
    first = _program(line)
    if first == "make":
        targets = re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"))
        asked = [word for word in line.split()[1:] if re.fullmatch("[a-z]+", word)]

        assert asked
        assert {*asked} <= {*targets}
    else:
        arguments = _own_arguments(line)

        assert arguments is not None, f"{page}: {first} is unknown to this test"
        if arguments != ["--version"]:
            parse(arguments, {})
