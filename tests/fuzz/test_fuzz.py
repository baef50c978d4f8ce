"""The search behind ``make fuzz``: what it finds is saved and fails."""

from __future__ import annotations

from pathlib import Path

import decoder_search
import pytest

from exporter.config.schema import BodyFormat


def test_what_breaks_is_saved_and_breaks_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is not 0, and the saved input is the smallest of its kind."""

    def check(body: bytes, _: BodyFormat) -> None:
        assert len(body) < 20

    status = decoder_search.search_with_hypothesis(check, 0.0, tmp_path)
    (saved,) = tmp_path.iterdir()
    body, form = decoder_search.parse_input(saved.read_bytes())

    assert status == 1
    assert len(body) == 20
    assert f"saved as {saved}" in capsys.readouterr().out
    with pytest.raises(AssertionError):
        check(body, form)


def test_a_search_that_finds_nothing_ends_in_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It tells how much it has tried, and leaves nothing behind."""
    assert decoder_search.search_with_hypothesis(lambda _, __: None, 0.0, tmp_path) == 0
    assert "500 inputs tried" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
