"""Answers that are decoded, and the lists that come in pages of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from ..errors import Undecodable, UnexpectedStatus
from .backups import Parsed
from .client import Answer
from .decode import UNKNOWN_ID

PER_PAGE = 100
"""Rows asked for at once; a panel may cap it."""


T = TypeVar("T")


class Identified(Protocol):
    """A row of a list."""

    @property
    def id(self) -> int:
        """Return what no other row of the list has."""


Value = TypeVar("Value", bound=Identified)


@dataclass(frozen=True, slots=True)
class Listed(Generic[Value]):
    """What a panel lists, over all pages."""

    values: tuple[Value, ...]
    skipped: tuple[str, ...] = ()
    """The ids, if they have any, of rows without use: they exist all the same."""
    cut_short: bool = False
    """Whether the panel has more than it listed, or never came to an end."""
    moved: bool = False
    """Whether rows came or went between pages: one may have slipped through."""

    @property
    def complete(self) -> bool:
        """Tell whether what is not among these is gone."""
        return not (self.skipped or self.cut_short or self.moved)

    def raise_if_cut_short(self) -> None:
        """Raise Undecodable when the panel has more; what there is counts still."""
        if self.cut_short:
            raise Undecodable("the panel has more rows than it lists")

    def ids(self) -> frozenset[int]:
        """Return the ids of all."""
        return frozenset(value.id for value in self.values)

    def may_lack(self, number: int) -> bool:
        """Tell whether a row that is not among these may exist all the same."""
        anything = self.cut_short or self.moved or UNKNOWN_ID in self.skipped
        return anything or str(number) in self.skipped


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    values: tuple[T, ...]
    last: bool
    """Whether nothing comes after it."""


class DecodedResponse(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One answer, decoded, with what its headers said."""

    content: T
    etag: str | None
    limit: int | None
    total: int | None
    paged: bool
    digest: bytes
    """Of the body: an equal one is not decoded again."""
    sent: bool
    """Whether the last answer had a body, though it may have been an equal one."""


def decoded(
    answer: Answer, known: DecodedResponse[T] | None, parse: Callable[[bytes], T]
) -> DecodedResponse[T]:
    """Decode an answer, or return what was known when that is still true."""
    if answer.body is not None:
        digest = sha256(answer.body).digest()  # processors have it built in
        if known is not None and known.digest == digest:
            content = known.content
        else:
            content = parse(answer.body)
        return DecodedResponse(
            content,
            answer.etag,
            answer.limit,
            answer.total,
            answer.paged,
            digest,
            sent=True,
        )
    if known is None or known.etag is None:
        raise UnexpectedStatus("HTTP 304 to a request without an ETag", status=304)
    # The page is the same, but others may follow it now: no total is remembered.
    return DecodedResponse(
        known.content,
        answer.etag or known.etag,
        answer.limit or known.limit,
        answer.total,
        answer.paged or known.paged,
        known.digest,
        sent=False,
    )


def is_last(reading: DecodedResponse[Parsed[Any]], seen: int) -> bool:
    """Tell whether a list ends with this page.

    Without any paging header it was all of it; but when it is just as long as was
    asked for, the headers may be what is missing. A page may be shorter than it says,
    so the total decides, if it can be true.
    """
    if seen == reading.total:
        return True
    if not reading.paged:
        return reading.content.listed != PER_PAGE
    counting = reading.total is not None and seen < reading.total
    short = reading.content.listed < (reading.limit or 0)
    return short and not counting


async def whole_list(
    read: Callable[[int], Awaitable[DecodedResponse[Parsed[Any]]]], most_pages: int
) -> Listed[Any]:
    """Read a list page by page, from the first on."""
    found: dict[int, Any] = {}
    totals: set[int] = set()
    skipped: list[str] = []
    seen, endless = 0, False
    for page in range(1, most_pages + 1):
        reading = await read(page)
        if reading.total is not None:
            totals.add(reading.total)
        here = reading.content
        skipped += (row.row_id for row in here.skipped)
        known = sum(value.id in found for value in here.values)
        if known == len(here.values):
            break
        found |= {value.id: value for value in here.values}
        seen += here.listed - known
        if is_last(reading, seen):
            break
    else:
        endless = True
    cut_short = endless or (reading.total is not None and seen < reading.total)
    moved = len(totals) > 1
    return Listed(tuple(found.values()), tuple(skipped), cut_short, moved)
