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

ROWS_PER_PAGE = 100
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
    skipped_ids: tuple[str, ...] = ()
    """The ids, if they have any, of rows without use: they exist all the same."""
    truncated: bool = False
    """Whether the panel has more than it listed, or never came to an end."""
    changed_while_read: bool = False
    """Whether rows came or went between pages: one may have slipped through."""

    @property
    def complete(self) -> bool:
        """Tell whether what is not among these is gone."""
        return not (self.skipped_ids or self.truncated or self.changed_while_read)

    def raise_if_truncated(self) -> None:
        """Raise Undecodable when the panel has more; what there is counts still."""
        if self.truncated:
            raise Undecodable("the panel has more rows than it lists")

    def ids(self) -> frozenset[int]:
        """Return the ids of all."""
        return frozenset(value.id for value in self.values)

    def may_omit(self, row_id: int) -> bool:
        """Tell whether a row that is not among these may exist all the same."""
        any_row = (
            self.truncated or self.changed_while_read or UNKNOWN_ID in self.skipped_ids
        )
        return any_row or str(row_id) in self.skipped_ids


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    values: tuple[T, ...]
    is_last: bool
    """Whether nothing comes after it."""


class DecodedResponse(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One answer, decoded, with what its headers said."""

    content: T
    etag: str | None
    limit: int | None
    total: int | None
    has_paging_headers: bool
    digest: bytes
    """Of the body: an equal one is not decoded again."""
    had_body: bool
    """Whether the last answer had a body, though it may have been an equal one."""


def decode_response(
    answer: Answer, cached: DecodedResponse[T] | None, parse: Callable[[bytes], T]
) -> DecodedResponse[T]:
    """Decode an answer, or return what was known when that is still true."""
    if answer.body is not None:
        digest = sha256(answer.body).digest()  # processors have it built in
        if cached is not None and cached.digest == digest:
            content = cached.content
        else:
            content = parse(answer.body)
        return DecodedResponse(
            content,
            answer.etag,
            answer.limit,
            answer.total,
            answer.has_paging_headers,
            digest,
            had_body=True,
        )
    if cached is None or cached.etag is None:
        raise UnexpectedStatus("HTTP 304 to a request without an ETag", status=304)
    # The page is the same, but others may follow it now: no total is remembered.
    return DecodedResponse(
        cached.content,
        answer.etag or cached.etag,
        answer.limit or cached.limit,
        answer.total,
        answer.has_paging_headers or cached.has_paging_headers,
        cached.digest,
        had_body=False,
    )


def is_last_page(response: DecodedResponse[Parsed[Any]], rows_seen: int) -> bool:
    """Tell whether a list ends with this page.

    Without any paging header it was all of it; but when it is just as long as was
    asked for, the headers may be what is missing. A page may be shorter than it says,
    so the total decides, if it can be true.
    """
    if rows_seen == response.total:
        return True
    if not response.has_paging_headers:
        return response.content.row_count != ROWS_PER_PAGE
    more_counted = response.total is not None and rows_seen < response.total
    short = response.content.row_count < (response.limit or 0)
    return short and not more_counted


async def read_all_pages(
    read_page: Callable[[int], Awaitable[DecodedResponse[Parsed[Any]]]], max_pages: int
) -> Listed[Any]:
    """Read a list page by page, from the first on."""
    values: dict[int, Any] = {}
    totals: set[int] = set()
    skipped_ids: list[str] = []
    rows_seen, hit_limit = 0, False
    for page in range(1, max_pages + 1):
        response = await read_page(page)
        if response.total is not None:
            totals.add(response.total)
        parsed = response.content
        skipped_ids += (row.row_id for row in parsed.skipped)
        repeated = sum(value.id in values for value in parsed.values)
        if repeated == len(parsed.values):
            break
        values |= {value.id: value for value in parsed.values}
        rows_seen += parsed.row_count - repeated
        if is_last_page(response, rows_seen):
            break
    else:
        hit_limit = True
    truncated = hit_limit or (response.total is not None and rows_seen < response.total)
    changed_while_read = len(totals) > 1
    return Listed(
        tuple(values.values()), tuple(skipped_ids), truncated, changed_while_read
    )
