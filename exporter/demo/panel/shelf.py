"""Bodies that were written before, so that a large cloud answers quickly."""

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass

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
