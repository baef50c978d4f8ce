"""Whatever a panel sends: a decoder raises its own error or says what it could use.

How much is tried here is little; ``make fuzz`` tries more.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import malformed_answers
import pytest
import structlog
from fixed_answer_panel import serving_answer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.config.schema import BodyFormat
from exporter.config.units import Duration, Size
from exporter.errors import RequestError, Undecodable
from exporter.onapp.resources import PANEL_LISTS


def trying(examples: int) -> settings:
    """Try so many, however long each takes."""
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.mark.parametrize("kind", malformed_answers.BODIES)
def test_no_body_raises_anything_but_undecodable(kind: str) -> None:
    """In any decoder; and no error quotes the body, for it may hold a password."""

    @trying(120)
    @given(malformed_answers.BODIES[kind])
    def try_(answer: tuple[BodyFormat, bytes]) -> None:
        form, body = answer
        malformed_answers.decode_all(body, form)

    try_()


@pytest.mark.parametrize("kind", ["JSON lists", "XML lists", "swapped values"])
def test_whatever_could_be_used_can_be_shown(kind: str) -> None:
    """One number that Prometheus cannot read would cost the whole scrape."""

    @trying(150)
    @given(malformed_answers.BODIES[kind])
    def try_(answer: tuple[BodyFormat, bytes]) -> None:
        form, body = answer

        assert malformed_answers.rendered_values(
            malformed_answers.decode_all(body, form)
        )

    try_()


def test_good_answers_are_understood_whole() -> None:
    """The control: what is spoiled above is something that decoders can use."""
    understood = {
        (form, name)
        for form, body in malformed_answers.valid_answers()
        for name in malformed_answers.decode_all(body, form)
    }

    assert understood == {
        (f, n) for f in malformed_answers.FORMATS for n in malformed_answers.DECODERS
    }


@pytest.mark.parametrize("form", malformed_answers.FORMATS)
@pytest.mark.parametrize("name", malformed_answers.DECODERS)
def test_any_value_may_stand_anywhere(name: str, form: BodyFormat) -> None:
    """Every token in the place of every value of a good answer's first row."""
    body = malformed_answers.short_answer(name, form)
    decode = malformed_answers.DECODERS[name]
    for number in range(malformed_answers.value_count(body, form)):
        for token in range(len(malformed_answers.TOKENS[form])):
            odd = malformed_answers.with_value_replaced(body, form, number, token)
            with suppress(Undecodable):
                found = decode(odd, form)
                if token < len(malformed_answers.LARGEST):
                    malformed_answers.rendered_values({name: found})


@given(malformed_answers.words)
@trying(120)
def test_no_text_raises_anything_but_a_value_error(text: str) -> None:
    """Durations and sizes come from files and variables."""
    for kind in (Duration, Size):
        with suppress(ValueError):
            kind.parse(text)


# On the wire.


async def test_a_flood_of_bad_rows_is_no_flood_of_lines() -> None:
    """The first of them are named, the others counted, and next time none is new."""
    rows = [f'{{"backup":{{"id":{number},"built":7}}}}' for number in range(1000)]
    body = f'[{",".join(rows)},{{"backup":{{"id":1}}}}]'.encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    async with serving_answer("json", head + body) as reader:
        with structlog.testing.capture_logs() as lines:
            await reader.backups(1)
            await reader.backups(1)

    assert [line["row_id"] for line in lines[:-1]] == [str(n) for n in range(20)]
    assert lines[-1]["event"] == "more rows skipped"
    assert lines[-1]["rows"] == 980


_NAMES = (
    *("ETag", "X-Limit", "X-Page", "X-Total", "Date", "Retry-After", "Location"),
    *("Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding"),
    *("Set-Cookie", "Connection", "X-Any"),
)
_VALUES = (
    *(b'"e"', b'W/"\xff"', b"\xc3\xbc", b"0", b"-1", b"9" * 30, b"\xd9\xa3", b"gzip"),
    *(b"deflate", b"br", b"chunked", b"identity", b"close", b"a=b; Path=/", b"a b=c"),
    *(b"\xff=\xff", b"=; Max-Age=x", b"Thu, 01 Jan 0001 00:00:00 -0000", b"//[::1"),
    *(b"Fri, 15 Jan 2027 08:00:00 GMT", b"Fri, 99 Foo 99999 99:99:99 +9999", b";"),
    *(b"https://u:p@h/", b"application/xml; charset=\xff", b"text/html", b"", b","),
)
headers = st.lists(
    st.tuples(
        st.sampled_from(_NAMES).map(str.encode),
        st.sampled_from(_VALUES) | st.binary(max_size=6),
    ).map(b": ".join),
    max_size=4,
)
statuses = st.sampled_from(
    (*(b"200 OK",) * 5, b"304 Not Modified", b"302 Found", b"401 No", b"422 No")
) | st.sampled_from((b"500 Oh", b"429 Slow", b"407 Proxy", b"204 None", b"999", b"-1"))


@st.composite
def wire_answers(draw: st.DrawFn) -> tuple[BodyFormat, bytes]:
    """Make all the bytes of an answer: status, headers, body."""
    form, body = draw(
        malformed_answers.BODIES["spoiled answers"]
        | st.sampled_from(malformed_answers.valid_answers())
    )
    usual = [f"Content-Type: application/{form}".encode()] * draw(st.booleans())
    head = [b"HTTP/1.1 " + draw(statuses), *usual, *draw(headers)]
    whole = b"\r\n".join(head) + b"\r\n\r\n" + body
    return form, draw(st.just(whole) | st.binary(max_size=60))


@trying(120)
@given(wire_answers())
def test_no_answer_raises_anything_but_a_panel_error(
    answer: tuple[BodyFormat, bytes],
) -> None:
    """Also the second time, when what the first one said is sent back."""

    async def read() -> None:
        async with serving_answer(*answer) as reader:
            lists = [partial(reader.panel_list, name) for name in PANEL_LISTS]
            asks: tuple[Any, ...] = (
                reader.version,
                *lists * 2,
                *(lambda: reader.backups(1), lambda: reader.transactions(1)) * 2,
            )
            for ask in asks:
                with suppress(RequestError):
                    await ask()

    asyncio.run(read())
