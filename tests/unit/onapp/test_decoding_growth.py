"""The work of decoding grows with the length of an answer, and not with its square.

Sixteen times the bytes may cost sixteen times the work, with much to spare for noise;
a square would be 256 times. Only the ratio counts, of the processor's time and not of
the clock's: no machine is too slow for it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from fixed_answer_panel import serving_answer

from exporter.config.schema import BodyFormat
from exporter.config.units import Duration, Size
from exporter.errors import Undecodable
from exporter.onapp import backups as parser
from exporter.onapp.error_body import error_text, one_line

SHORT = 4 * 1024
TIMES = 16
MOST = 5 * TIMES
"""A square would be 16 x 16."""
_LONG_SECONDS = 1.0
"""Noise is shorter than this."""
_TRIES = 8


def growth(work: Callable[[int], Callable[[], object]]) -> float:
    """Return how much more work the long input is, at the best of some tries."""
    ratios: list[float] = []
    for _ in range(_TRIES):
        short, long = _seconds(work(SHORT)), _seconds(work(SHORT * TIMES))
        ratios.append(long / short)
        if ratios[-1] <= MOST or long > _LONG_SECONDS:
            break
    return min(ratios)


def _seconds(work: Callable[[], object]) -> float:
    took: list[float] = []
    # The garbage collector looks at whatever the other tests have left, too.
    gc.disable()
    try:
        while len(took) < 4 and sum(took) < _LONG_SECONDS:
            started = time.process_time()
            work()
            took.append(time.process_time() - started)
    finally:
        gc.enable()
    return max(min(took), 1e-6)


def times(piece: str, size: int) -> str:
    """Return a piece so often that it is ``size`` long."""
    return piece * max(1, size // len(piece))


def numbered(piece: str, size: int) -> str:
    """Return pieces with a number each that together are about ``size`` long."""
    return "".join(piece.format(n) for n in range(max(1, size // (len(piece) + 2))))


def default_attributes(size: int) -> str:
    """Return elements that each get many attributes which stand there once."""
    names = numbered("a{} CDATA '' ", size // 2)
    declared = f"<!DOCTYPE backups [<!ATTLIST a {names}>]>"
    return f"{declared}<backups>{times('<a/>', size // 2)}</backups>"


def entities(size: int) -> str:
    """Return one long text, and many who refer to it."""
    declared = f"<!DOCTYPE backups [<!ENTITY x '{'x' * (size // 2)}'>]>"
    return f"{declared}<backups>{times('&x;', size // 2)}</backups>"


def in_backup(content: str) -> str:
    """Return XML of one row that has this in it."""
    return f"<backups><backup>{content}</backup></backups>"


BODIES: dict[str, tuple[BodyFormat, Callable[[int], str]]] = {
    "digits": ("json", lambda n: '[{"backup":{"id":' + "9" * n + "}}]"),
    "digits in text": ("json", lambda n: '[{"backup":{"id":"' + "9" * n + '"}}]'),
    "id of a bad row": (
        "json",
        lambda n: '[{"backup":{"built":5,"id":"' + "9" * n + '"}},{"backup":{"id":1}}]',
    ),
    "fraction": ("json", lambda n: '[{"backup":{"id":1.' + "0" * n + "1}}]"),
    "exponent": ("json", lambda n: '[{"backup":{"id":1e' + "0" * n + "}}]"),
    "lists in lists": ("json", lambda n: "[" * (n // 2) + "]" * (n // 2)),
    "objects in objects": ("json", lambda n: times('{"a":', n) + "1" + times("}", n)),
    "white space": ("json", lambda n: "[" + " " * n + "]"),
    "escapes": (
        "json",
        lambda n: '[{"backup":{"identifier":"' + times("\\u0041", n) + '"}}]',
    ),
    "broken escapes": (
        "json",
        lambda n: '[{"backup":{"id":1,"identifier":"' + times("\\ud83d\t", n) + '"}}]',
    ),
    "an open text": ("json", lambda n: '["' + times('\\"', n)),
    "the same key": ("json", lambda n: "[{" + times('"backup":{},', n) + '"a":1}]'),
    "many keys": ("json", lambda n: "[{" + numbered('"k{}":{{}},', n) + '"a":1}]'),
    "empty rows": ("json", lambda n: "[" + times("{},", n) + '{"backup":{"id":1}}]'),
    "bad rows": (
        "json",
        lambda n: (
            "["
            + numbered('{{"backup":{{"id":{},"built":7}}}},', n)
            + '{"backup":{"id":1}}]'
        ),
    ),
    "the same id": (
        "json",
        lambda n: "[" + times('{"id":1},', n) + '{"id":1}]',
    ),
    "texts in a date": (
        "json",
        lambda n: '[{"backup":{"id":1,"built_at":"' + "2" * n + '"}}]',
    ),
    "elements in elements": (
        "xml",
        lambda n: in_backup(times("<a>", n) + times("</a>", n)),
    ),
    "invalid characters": (
        "xml",
        lambda n: in_backup(f"<identifier>{times('&#1;&#xD83D;', n)}</identifier>"),
    ),
    "a long character": ("xml", lambda n: in_backup("<id>&#" + "0" * n + "</id>")),
    "open elements": ("xml", lambda n: times("<a>", n)),
    "the same element": ("xml", lambda n: in_backup(times("<id>1</id>", n))),
    "many elements": ("xml", lambda n: in_backup(numbered("<k{0}/>", n))),
    "many rows": (
        "xml",
        lambda n: (
            f"<backups>{times('<backup/>', n)}<backup><id>1</id></backup></backups>"
        ),
    ),
    "many attributes": (
        "xml",
        lambda n: in_backup("<a " + numbered("k{0}='{0}' ", n) + "/>"),
    ),
    "many name spaces": (
        "xml",
        lambda n: in_backup("<a " + numbered("xmlns:k{0}='{0}' ", n) + "/>"),
    ),
    "a long attribute": ("xml", lambda n: in_backup(f"<a k='{'x' * n}'/>")),
    "a long name": ("xml", lambda n: in_backup(f"<{'x' * n}/>")),
    "a long text": ("xml", lambda n: in_backup(f"<id>{'9' * n}</id>")),
    "white text": ("xml", lambda n: in_backup(f"<id type='integer'>{' ' * n}</id>")),
    "pieces of text": (
        "xml",
        lambda n: in_backup(f"<id>{times('<![CDATA[9]]>', n)}</id>"),
    ),
    "text between": ("xml", lambda n: in_backup(times("9<a/>", n))),
    "comments": ("xml", lambda n: in_backup(times("<!--c-->", n))),
    "references": ("xml", lambda n: in_backup(f"<id>{times('&#57;', n)}</id>")),
    "default attributes": ("xml", default_attributes),
    "entities": ("xml", entities),
}


@pytest.mark.parametrize("name", BODIES)
def test_decoding_is_linear(name: str) -> None:
    """Whatever the body repeats."""
    form, make = BODIES[name]

    def work(size: int) -> Callable[[], object]:
        body = make(size).encode()

        def decode() -> None:
            with suppress(Undecodable):
                parser.decode_backups(body, form, vm_id=1)
            error_text(body, form, secrets=["secret"])

        return decode

    assert growth(work) <= MOST


TEXTS: dict[str, Callable[[str], object]] = {
    "a duration": Duration.parse,
    "a size": Size.parse,
    "a line for the log": one_line,
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("piece", ["9", "1h", "9 ", " ", "\n", "\x00", "9y"])
def test_reading_a_text_is_linear(name: str, piece: str) -> None:
    """No pattern goes back over what it has seen."""

    def work(size: int) -> Callable[[], object]:
        text = times(piece, 20 * size)

        def read() -> None:
            with suppress(ValueError):
                TEXTS[name](text)

        return read

    assert growth(work) <= MOST


def test_reporting_bad_rows_is_linear() -> None:
    """The same ones again and again, each with an id of its own."""

    def work(size: int) -> Callable[[], object]:
        rows = numbered('{{"backup":{{"id":{},"built":7}}}},', 4 * size)
        body = f'[{rows}{{"backup":{{"id":1}}}}]'.encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"

        async def read() -> None:
            async with serving_answer("json", head + body) as reader:
                for _ in range(2):
                    assert len(await reader.backups(1)) == 1

        return lambda: asyncio.run(read())

    assert growth(work) <= MOST


def test_a_square_is_found() -> None:
    """The control: work that grows with the square is told from work that does not."""

    def work(size: int) -> Callable[[], object]:
        known = list(range(size // 64))
        return lambda: [number in known[:number] for number in known]

    assert growth(work) > MOST
