"""Secrets follow their files, and show themselves to nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from harness import SteppedClock

from exporter.config.file_watch import FileSet
from exporter.config.schema import Account
from exporter.config.secrets import HIDDEN, Credentials, FileSecret, LiteralSecret

OLD, NEW = "old-key", "new-key"
"""Of one length, so that a file's size does not tell them apart."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file that holds the old secret."""
    path = tmp_path / "key"
    path.write_text(f"{OLD}\n")
    return path


@pytest.fixture
def secret(path: Path) -> FileSecret:
    """Return that secret, already read."""
    return FileSecret(path)


def age(path: Path) -> None:
    """Let a file have been written long ago, as far as its times tell."""
    os.utime(path, (1_000_000_000, 1_000_000_000))


# Reading.


@pytest.mark.parametrize(
    "content",
    [
        *("k3y", "k3y\n", "\t k3y \r\n\n", "\u00a0k3y"),
        *("\ufeffk3y\r\n", "\u200bk3y", "k3y\u200b\n", " \u2060k3y\ufeff \n\u200e"),
    ],
)
def test_white_space_around_a_secret_is_trimmed(path: Path, content: str) -> None:
    """Also what nobody sees: editors begin a file with a mark, pages end a key so."""
    path.write_text(content)

    assert FileSecret(path).reveal() == "k3y"


def test_white_space_within_a_secret_stays(path: Path) -> None:
    """A pass phrase is of several words."""
    path.write_text("correct horse é\n", encoding="utf-8")

    assert FileSecret(path).reveal() == "correct horse é"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"\xff", "it is not UTF-8 text"),
        (b"one\ntwo", "it contains more than one line, or control characters"),
        (b"k3y\x00", "it contains more than one line, or control characters"),
        (b"k" * 65_537, "it is too long for a secret"),
    ],
)
def test_a_file_that_holds_no_secret_says_why(
    path: Path, content: bytes, why: str
) -> None:
    """The reason never quotes the content."""
    path.write_bytes(content)

    with pytest.raises(ValueError, match=f"^{why}$"):
        FileSecret(path)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    """Whoever reads a pipe without a writer waits forever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(ValueError, match=r"^it is not a regular file$"):
        FileSecret(pipe)


# Rotation.


def test_new_content_is_used_at_once(path: Path, secret: FileSecret) -> None:
    """A file that is written in place."""
    path.write_text(NEW)

    assert secret.reveal() == NEW


def test_content_written_twice_within_one_tick_is_seen(
    path: Path, secret: FileSecret
) -> None:
    """A file system's clock is coarse: the same time and size mean nothing yet."""
    times = path.stat()
    path.write_text(f"{NEW}\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert secret.reveal() == NEW


def test_a_file_that_keeps_its_time_is_seen(path: Path) -> None:
    """``cp -p`` and ``rsync -t`` give a file the time of another."""
    age(path)
    secret = FileSecret(path)
    path.write_text(f"{NEW}\n")
    age(path)

    assert secret.reveal() == NEW


def test_a_file_renamed_over_the_old_one_is_used(
    path: Path, secret: FileSecret
) -> None:
    """The way to replace a file in one step."""
    other = path.with_name("other")
    other.write_text(NEW)
    other.rename(path)

    assert secret.reveal() == NEW


def test_a_link_to_another_folder_is_followed(tmp_path: Path) -> None:
    """Kubernetes swaps ``..data``, to which the secret's own link leads."""
    for name, content in (("..1", OLD), ("..2", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(content)
        age(tmp_path / name / "key")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "key").symlink_to("..data/key")
    secret = FileSecret(tmp_path / "key")
    before = secret.reveal()

    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")

    assert before == OLD
    assert secret.reveal() == NEW


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff", b"one\ntwo"])
def test_a_file_without_a_secret_leaves_the_last_one_in_place(
    path: Path, secret: FileSecret, content: bytes
) -> None:
    """While a file is being rewritten, it is empty for a moment."""
    path.write_bytes(content)
    meanwhile = secret.reveal()
    path.write_text(NEW)

    assert meanwhile == OLD
    assert secret.reveal() == NEW


def test_a_file_that_is_gone_leaves_the_last_secret_in_place(
    path: Path, secret: FileSecret
) -> None:
    """Between the old file's end and the new one's beginning nothing is lost."""
    path.unlink()
    meanwhile = secret.reveal()
    path.write_text(NEW)

    assert meanwhile == OLD
    assert secret.reveal() == NEW


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (Path.unlink, "No such file or directory"),
        (lambda path: path.write_bytes(b""), "it is empty"),
    ],
)
def test_a_secret_that_is_lost_is_told_once_and_so_is_its_return(
    spoil: Callable[[Path], object], why: str, path: Path, secret: FileSecret
) -> None:
    """A rotation that went wrong must not stay unseen until the next restart."""
    with structlog.testing.capture_logs() as lines:
        secret.reveal()
        spoil(path)
        for _ in range(3):
            secret.reveal()
        path.write_text(NEW)
        for _ in range(3):
            secret.reveal()

    assert lines == [
        {
            "event": "secret file could not be read, keeping the last secret",
            "file": str(path),
            "why": why,
            "log_level": "warning",
        },
        {"event": "secret file reloaded", "file": str(path), "log_level": "info"},
    ]


def test_a_file_that_did_not_change_is_not_read_again(path: Path) -> None:
    """Every request asks for the secret; looking at the file's times is enough."""

    class Counted(FileSecret):
        """Counts how often it reads."""

        reads = 0

        def _read(self, files: FileSet, old: str | None) -> str:
            Counted.reads += 1
            return super()._read(files, old)

    secret = Counted(path, SteppedClock(start=path.stat().st_ctime + 3600))
    for _ in range(3):
        secret.reveal()

    assert Counted.reads == 1


def test_credentials_are_those_of_the_moment(path: Path, secret: FileSecret) -> None:
    """A request made now goes with the secret of now."""
    account = Account("ops", password_file=secret)
    before = account.credentials()
    path.write_text(NEW)

    assert before == ("ops", OLD)
    assert account.credentials() == ("ops", NEW)


# Silence.


@pytest.mark.parametrize("form", ["{}", "{!r}", "{!s}", "{!a}"])
def test_no_written_form_shows_a_secret(form: str, secret: FileSecret) -> None:
    """Whatever is formatted, logged or in a traceback."""
    secret.reveal()
    holders = (
        secret,
        LiteralSecret(OLD),
        Account("ops", password_file=secret),
        Account("ops", password=LiteralSecret(OLD)),
        Credentials("ops", OLD),
        [Credentials("ops", OLD)],
    )

    assert OLD not in "".join(form.format(holder) for holder in holders)
    assert form.format(Credentials("ops", OLD)) == (
        f"Credentials(username='ops', password={HIDDEN})"
    )


def test_a_log_line_does_not_show_a_secret() -> None:
    """Also when the pair itself is given to the log."""
    with structlog.testing.capture_logs() as lines:
        structlog.get_logger().info("asked", credentials=Credentials("ops", OLD))

    assert OLD not in str(lines)


def test_accounts_compare_by_where_their_secret_comes_from(
    path: Path, secret: FileSecret
) -> None:
    """A rotated file is the same account; another literal is not."""
    rotated = FileSecret(path)
    path.write_text(NEW)
    rotated.reveal()

    assert Account("ops", password_file=secret) == Account("ops", password_file=rotated)
    assert Account("ops", password=LiteralSecret(OLD)) != Account(
        "ops", password=LiteralSecret(NEW)
    )


def test_a_secret_is_known_in_all_its_disguises() -> None:
    """As others may repeat it: plain, quoted, escaped, or as the header had it."""
    forms = Credentials("ops", 'p"&/é').password_forms()

    assert {
        'p"&/é',
        "p&quot;&amp;/é",
        "p%22%26%2F%C3%A9",
        r"p\"&/\u00e9",
        "b3BzOnAiJi/DqQ==",
    } <= set(forms)
    assert forms == sorted(forms, key=len, reverse=True)
