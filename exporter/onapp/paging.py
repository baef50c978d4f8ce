"""Decoded responses, and lists that are read page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from ..errors import Undecodable, UnexpectedStatus
from .backups import Parsed
from .client import Answer
from .decode import UNKNOWN_ID

ROWS_PER_PAGE = 100
"""Requested rows per page; the panel may return fewer."""


T = TypeVar("T")


class Identified(Protocol):
    """A value with an ID that is unique in its list."""

    @property
    def id(self) -> int:
        """Return the ID."""


Value = TypeVar("Value", bound=Identified)


@dataclass(frozen=True, slots=True)
class Listed(Generic[Value]):
    """The rows of all pages of a list."""

    values: tuple[Value, ...]
    skipped_ids: tuple[str, ...] = ()
    """IDs of rows that cannot be used; UNKNOWN_ID if the ID is unreadable."""
    truncated: bool = False
    """Whether the panel has more rows than it listed."""
    changed_while_read: bool = False
    """Whether rows were added or removed between pages, so that one may be missing."""

    @property
    def complete(self) -> bool:
        """Whether the list is complete: a row that it lacks does not exist."""
        return not (self.skipped_ids or self.truncated or self.changed_while_read)

    def raise_if_truncated(self) -> None:
        """Raise Undecodable if rows are missing; those listed can still be used."""
        if self.truncated:
            raise Undecodable("the panel has more rows than it lists")

    def ids(self) -> frozenset[int]:
        """Return the IDs of the rows."""
        return frozenset(value.id for value in self.values)

    def may_omit(self, row_id: int) -> bool:
        """Return whether a row that is not listed may still exist."""
        any_row = (
            self.truncated or self.changed_while_read or UNKNOWN_ID in self.skipped_ids
        )
        return any_row or str(row_id) in self.skipped_ids


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    values: tuple[T, ...]
    is_last: bool
    """Whether no page follows."""


class DecodedResponse(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """A decoded answer with its headers."""

    content: T
    etag: str | None
    limit: int | None
    total: int | None
    has_paging_headers: bool
    digest: int
    """Hash of the body: an identical body is not decoded again."""
    had_body: bool
    """Whether the last answer had a body; False: it was HTTP 304."""


def decode_response(
    answer: Answer,
    cached: DecodedResponse[T] | None,
    parse: Callable[[bytes, float], T],
) -> DecodedResponse[T]:
    """Decode an answer; reuse the cached content if it has not changed."""
    if answer.body is not None:
        digest = hash(answer.body)  # a SipHash with a secret key
        if cached is not None and cached.digest == digest:
            content = cached.content
        else:
            content = parse(answer.body, answer.latest_date)
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
    # The page is unchanged, but others may now follow, so the old total is dropped.
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
    """Return whether a list ends with this page.

    Without paging headers the page is the whole list, unless it has exactly the
    requested number of rows: then the headers may just be missing. A page may have
    fewer rows than its limit, so the total decides if it is plausible.
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
    """Read the pages of a list until the last, or until one only repeats rows."""
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
