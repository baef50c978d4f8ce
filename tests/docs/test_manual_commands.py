"""Every command in the manual is one that there is, and can be typed as it stands.

A block of shell that a checkout alone cannot run says what it needs, beside its
language: `sh needs=docker`. Renderers show the language and ignore the rest.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkout import DOCS, ROOT
from markdown_it import MarkdownIt

from exporter.config.flags import PROGRAM, parse

_PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(DOCS.glob("*.md")),
    *sorted(DOCS.glob("runbooks/*.md")),
]
_BASICS = {"cat", "cd", "cp", "export", "find", "grep", "install", "ln", "umask"}
"""Of the shell and of every Linux; a test looks for them."""
_OURS = {PROGRAM, "make", "pip", "python", "python3"}
"""With a checkout and Python, as CONTRIBUTING.md asks for them."""
_SYSTEM = re.compile(r"/(etc|opt|usr|var)(/|$)")
"""Where only root may write."""
_WRITERS = {"cp", "install", "ln", "pip", "python3"}
_LANGUAGES = {"", "crontab", "ini", "promql", "sh", "text", "yaml"}


@dataclass(frozen=True)
class Block:
    """A block of commands of a page."""

    page: str
    text: str
    language: str
    needs: frozenset[str]

    def commands(self) -> Iterator[list[str]]:
        """Yield the words of each command, without variables that are set for it."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if self.language == "crontab":
                yield shlex.split(line)[6:]  # after its times and user
            else:
                yield from _commands(line)


def _commands(line: str) -> Iterator[list[str]]:
    words: list[str] = []
    line = re.sub(r"< *\S+", "", line)  # where its input comes from
    lexer = shlex.shlex(line, posix=False, punctuation_chars=True)
    lexer.wordchars += "$:@%,{}[]#…^+"
    lexer.commenters = ""
    for word in [*lexer, ";"]:
        if word == "#":
            break
        if re.fullmatch(r"[;&|()]+|do|done|\$", word):
            yield from [words] if words else []
            words = []
        elif words or not re.match(r"\w+=", word):
            words.append(word.strip("'\""))
    yield from [words] if words else []


def _blocks() -> Iterator[Block]:
    for page in _PAGES:
        for token in MarkdownIt().parse(page.read_text("utf-8")):
            if token.type == "fence":
                language, _, needs = token.info.partition(" needs=")
                marked = frozenset(filter(None, needs.split(",")))
                yield Block(page.name, token.content, language, marked)


ALL_BLOCKS = [*_blocks()]
BLOCKS = [block for block in ALL_BLOCKS if block.language in ("crontab", "sh")]


def _inline() -> Iterator[list[str]]:
    """Yield what stands in a sentence and begins with one of our programs."""
    for page in _PAGES:
        text = page.read_text("utf-8")
        for command in re.findall(rf"`((?:{PROGRAM}|make) [^`]+)`", text):
            if not command.endswith("…"):
                yield command.split()


def _needed(command: list[str]) -> Iterator[str]:
    """Yield what a command needs that a checkout does not bring."""
    program = Path(command[0]).name
    if program in ("for", "in"):
        return
    if program not in _BASICS | _OURS:
        yield program
    if program in _WRITERS and any(map(_SYSTEM.match, command)):
        yield "root"


def _own_arguments(command: list[str]) -> list[str] | None:
    """Return the arguments of our program in a command; None: it calls another."""
    program = Path(command[0]).name
    if program == PROGRAM:
        return command[1:]
    if command[1:3] == ["-m", "exporter"]:
        return command[3:]
    if program == "docker" and "run" in command:
        images = [word for word in command if word.endswith(f"/{PROGRAM}")]
        return command[command.index(images[0]) + 1 :] if images else None
    if "exec" in command:
        return command[len(command) - command[::-1].index(PROGRAM) :]
    return None


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.page)
def test_a_block_says_what_it_needs_and_no_more(block: Block) -> None:
    """The programs that a checkout does not bring, and root to write for the system."""
    needed = {need for command in block.commands() for need in _needed(command)}

    assert block.needs == needed


def test_what_needs_no_mark_is_everywhere() -> None:
    """In every shell, or beside it."""
    for program in sorted(_BASICS):
        subprocess.run(["sh", "-c", f"command -v {program}"], check=True)


@pytest.mark.parametrize(
    "block", [one for one in BLOCKS if one.language == "sh"], ids=lambda one: one.page
)
def test_a_block_is_shell(block: Block) -> None:
    """It can be pasted: quotes and brackets are closed."""
    subprocess.run(["sh", "-n"], input=block.text, text=True, check=True)


def test_every_block_names_its_language() -> None:
    """One that this test does not know may be a command that nothing tests."""
    assert {block.language for block in ALL_BLOCKS} - _LANGUAGES == set()
    assert [block.text for block in ALL_BLOCKS if not block.language] == []


def test_a_file_of_the_checkout_that_a_command_names_is_there() -> None:
    """Commands begin at the root of the checkout."""
    named = {
        word
        for block in BLOCKS
        for command in block.commands()
        for word in command
        if re.match("(deploy|docs|grafana|tests)/", word)
    }

    assert len(named) >= 5
    assert [word for word in sorted(named) if not (ROOT / word).exists()] == []


COMMANDS = [*(words for block in BLOCKS for words in block.commands()), *_inline()]
CALLS = [
    words
    for words in COMMANDS
    if words[0] == "make" or _own_arguments(words) is not None
]


@pytest.mark.parametrize("words", CALLS, ids=" ".join)
def test_a_command_of_the_manual_can_be_typed(words: list[str]) -> None:
    """A target of make, or our own program with its flags, also in a container."""
    if words[0] == "make":
        targets = re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"))
        asked = [word for word in words[1:] if re.fullmatch("[a-z]+", word)]

        assert {*asked} <= {*targets}
    else:
        arguments = _own_arguments(words) or []

        if arguments != ["--version"]:
            parse(arguments, {})
