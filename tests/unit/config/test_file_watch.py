"""Files that a configuration was read from: whether they have changed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.config.file_watch import FileSet


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file."""
    path = tmp_path / "onapp.yml"
    path.write_text("panels: []\n")
    return path


def changed_at(path: Path) -> float:
    """Return the Unix time of the last change of a file."""
    return path.stat().st_ctime


def read_later(path: Path, seconds: float) -> FileSet:
    """Return the file as it was read so long after its last change."""
    files = FileSet(changed_at(path) + seconds)
    files.add(path)
    return files


def test_a_file_that_was_not_touched_was_not_replaced(file: Path) -> None:
    """However long ago it was read."""
    files = read_later(file, 60)

    assert not files.was_replaced(changed_at(file) + 1)
    assert not files.was_replaced(changed_at(file) + 3600)


def test_a_file_that_is_still_written_waits_for_the_next_look(file: Path) -> None:
    """Half a file may be a good one, with half of the panels."""
    files = read_later(file, 60)
    file.write_text("panels: [1]\n")

    assert not files.was_replaced(changed_at(file) + 1)
    assert files.was_replaced(changed_at(file) + 3)


def test_a_file_that_was_just_written_when_it_was_read_is_read_again(
    file: Path,
) -> None:
    """Its times are too coarse to show a change a moment later."""
    files = read_later(file, 1)

    assert not files.was_replaced(changed_at(file) + 1)
    assert files.was_replaced(changed_at(file) + 30)


def test_a_file_that_is_gone_or_comes_back_was_replaced(file: Path) -> None:
    """Both are a change, each once."""
    files, now = read_later(file, 60), changed_at(file) + 60
    file.unlink()
    absent = FileSet(now)
    absent.add(file)

    assert files.was_replaced(now)
    assert not absent.was_replaced(now)
    file.write_text("panels: [1]\n")
    assert absent.was_replaced(changed_at(file) + 30)
