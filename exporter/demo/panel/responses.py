"""What a panel answers when all is well: pages of rows, written once per change."""

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from ..cloud.database import Inventory
from .encoding import Fields, Format, Row, Rows, to_json, to_xml
from .options import Habits
from .routes import Listing, Question, Route

_BYTES_KEPT = 64 * 1024 * 1024


def etag_of(body: bytes) -> str:
    """Return the weak ETag of a body."""
    return f'W/"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


@dataclass(frozen=True, slots=True)
class Kept:
    """A body with its ETag, and what it was made from."""

    stamp: Hashable
    etag: str
    body: bytes | None
    """None when there was no room for it."""


class Shelf:
    """Keeps every ETag, and bodies as long as there is room."""

    def __init__(self) -> None:
        """Begin empty."""
        self._kept: dict[Hashable, Kept] = {}
        self._room = _BYTES_KEPT

    def get(self, key: Hashable, stamp: Hashable) -> Kept | None:
        """Return what is kept, unless it was made from something else."""
        kept = self._kept.get(key)
        return kept if kept and kept.stamp == stamp else None

    def put(self, key: Hashable, stamp: Hashable, body: bytes) -> Kept:
        """Keep a body in place of its forerunner."""
        former = self._kept.pop(key, None)
        if former and former.body is not None:
            self._room += len(former.body)
        fits = len(body) <= self._room
        self._room -= len(body) if fits else 0
        self._kept[key] = Kept(stamp, etag_of(body), body if fits else None)
        return self._kept[key]


_PER_PAGE = 10


@dataclass(slots=True)
class Wanted:
    """What a request asks for, once it is understood."""

    route: Route
    parameters: dict[str, str]
    query: Mapping[str, str]
    form: Format
    spoil: Callable[[list[Fields]], None] | None = None


@dataclass(slots=True)
class Reply:
    """A body and the headers that depend on it."""

    body: bytes
    etag: str
    headers: dict[str, str]


class Replies:
    """Writes what is wanted; a server's backups only when they have changed."""

    def __init__(self, inventory: Inventory, habits: Habits) -> None:
        """Begin with nothing written."""
        self._inventory = inventory
        self._habits = habits
        self._shelf = Shelf()

    def reply(self, wanted: Wanted) -> Reply:
        """Return the answer, or raise Missing."""
        if wanted.route.cached and wanted.spoil is None:
            kept = self._shelved(wanted)
            body = self._written(wanted)[0] if kept.body is None else kept.body
            return Reply(body, kept.etag, {})
        body, headers = self._written(wanted)
        return Reply(body, etag_of(body), headers)

    def _shelved(self, wanted: Wanted) -> Kept:
        server = self._question(wanted).server
        habits = self._habits
        key = (server.id, wanted.form)
        stamp = (
            id(server),
            server.ledger.revision,
            habits.wording,
            habits.xml_style,
            habits.without_fields,
        )
        kept = self._shelf.get(key, stamp)
        return kept or self._shelf.put(key, stamp, self._written(wanted)[0])

    def _question(self, wanted: Wanted) -> Question:
        habits = self._habits
        return Question(
            self._inventory,
            habits.wording,
            habits.version,
            habits.visible,
            wanted.parameters,
        )

    def _written(self, wanted: Wanted) -> tuple[bytes, dict[str, str]]:
        answer = wanted.route.answer(self._question(wanted))
        if not isinstance(answer, Listing):
            if wanted.spoil is not None and isinstance(answer, dict):
                wanted.spoil([answer])
            return self._bytes(answer, wanted.form), {}
        shown, headers = self._page(answer, wanted)
        if wanted.spoil is not None:
            wanted.spoil(shown.rows)
        return self._bytes(shown, wanted.form), headers

    def _bytes(self, answer: Rows | Row | Fields, form: Format) -> bytes:
        self._leave_out(answer)
        if form == "xml":
            return to_xml(answer, self._habits.xml_style)
        return to_json(answer)

    def _page(self, listing: Listing, wanted: Wanted) -> tuple[Rows, dict[str, str]]:
        query, habits = wanted.query, self._habits
        asked = "page" in query or "per_page" in query
        if not (wanted.route.paged and habits.paging and asked):
            return listing.shown(0, wanted.route.unasked), {}
        number = max(1, _whole(query.get("page"), 1))
        size = max(1, _whole(query.get("per_page"), _PER_PAGE))
        size = min(size, habits.per_page_cap or size)
        headers = {
            "X-Page": str(number),
            "X-Limit": str(size if habits.x_limit is None else habits.x_limit),
            "X-Total": str(len(listing.rows)),
        }
        return listing.shown((number - 1) * size, size), headers

    def _leave_out(self, answer: Rows | Row | Fields) -> None:
        if isinstance(answer, Rows):
            rows = answer.rows
        else:
            rows = [answer.fields] if isinstance(answer, Row) else []
        for name in self._habits.without_fields:
            for fields in rows:
                fields.pop(name, None)


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() else otherwise
