"""Tests for the lines of the log."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from exporter import logs
from exporter.stderr import StderrStream

NASTY = 'one\ntwo\r\x1b[31mred \x85 \x7f "quoted" \\'
_ACCEPTED_LINES = 1000
_DROPPED_LINES = 50


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Leave the log as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(form: str, level: str = "info") -> io.StringIO:
    """Return where everything is logged to from now on."""
    stream = io.StringIO()
    logs.configure(level, form, stream)
    return stream


def test_logfmt_shows_no_control_character() -> None:
    """What a panel says moves no cursor, colours nothing and begins no line."""
    stream = logged("logfmt")
    structlog.get_logger().warning("panel unreachable", panel="cp", error=NASTY)
    line = stream.getvalue()

    assert re.findall(r"[\x00-\x1f\x7f-\x9f]", line) == ["\n"]
    assert re.match(
        r'ts=\S+Z level=warning msg="panel unreachable" panel=cp error="one', line
    )


def test_json_is_one_object_a_line() -> None:
    """Every value comes back as it was."""
    stream = logged("json")
    structlog.get_logger().warning("panel unreachable", panel="cp", error=NASTY)
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", record.pop("ts"))
    assert record == {
        "level": "warning",
        "msg": "panel unreachable",
        "panel": "cp",
        "error": NASTY,
    }


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_libraries_log_the_same_way(form: str) -> None:
    """A warning of asyncio looks like one of ours, on one line."""
    stream = logged(form)
    logging.getLogger("asyncio").warning("slow %s", "callback\nhere")
    (line,) = stream.getvalue().splitlines()

    assert "slow callback\\nhere" in line
    assert "warning" in line


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_an_error_with_its_traceback_is_one_line(form: str) -> None:
    """A bug in the exporter is one record, with all that helps to find it."""
    stream = logged(form)
    try:
        int(NASTY)
    except ValueError:
        structlog.get_logger().exception("bug in the exporter")
    (line,) = stream.getvalue().splitlines()

    assert "Traceback" in line
    assert "ValueError" in line


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["a", "b", "c", "d"]),
        ("info", ["b", "c", "d"]),
        ("warn", ["c", "d"]),
        ("error", ["d"]),
    ],
)
def test_the_level_is_the_least_that_is_logged(level: str, expected: list[str]) -> None:
    """Flags and the log call the levels by the same order."""
    stream = logged("logfmt", level)
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")

    assert re.findall(r"msg=(\w)", stream.getvalue()) == expected


def test_libraries_never_log_their_debugging() -> None:
    """There, requests stand with their headers, credentials included."""
    stream = logged("logfmt", "debug")
    logging.getLogger("aiohttp.client").debug("Authorization: Basic …")

    assert stream.getvalue() == ""


def test_dropped_lines_are_counted_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """One record in the place of those that are missing, and nothing half written."""
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as reader, open(writing, "w") as writer:  # noqa: PTH123  # descriptors
        stream = StderrStream(writer)
        monkeypatch.setattr(sys, "stderr", stream)
        logs.configure("info", "logfmt")
        filler = "x" * 2**20  # the pipe takes its beginning
        stream.write(filler + "\n")
        while not stream._waiting.empty():  # noqa: SLF001  # the thread has begun to write it
            threading.Event().wait(0.01)
        log = structlog.get_logger()
        for number in range(_ACCEPTED_LINES + _DROPPED_LINES):
            log.warning("panel unreachable", number=number)

        assert reader.readline() == filler + "\n"
        lines = [reader.readline() for _ in range(_ACCEPTED_LINES + 1)]
        stream.write("last\n")
        last = reader.readline()

    assert all("panel unreachable" in line for line in lines[:_ACCEPTED_LINES])
    assert 'level=warning msg="log lines dropped"' in lines[_ACCEPTED_LINES]
    assert lines[_ACCEPTED_LINES].endswith(f" lines={_DROPPED_LINES}\n")
    assert last == "last\n"
