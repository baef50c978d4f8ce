"""Which servers an exporter cares for, and what is expected of each."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import msgspec

from .entities import Server

NO_SERVERS_HINT = (
    "the role may see its own user's servers only, or discovery.include and "
    "discovery.exclude leave none"
)
"""What to look at where a panel lists no servers; that all is well would be a guess."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Patterns on what the inventory says of a server; they match whole values."""

    label: re.Pattern[str] | None = None
    hostname: re.Pattern[str] | None = None
    identifier: re.Pattern[str] | None = None
    user_id: tuple[int, ...] | None = None

    def __bool__(self) -> bool:
        """Tell whether there is any pattern at all."""
        return any(
            part is not None
            for part in (self.label, self.hostname, self.identifier, self.user_id)
        )

    def matches_all(self, server: Server) -> bool:
        """Tell whether every pattern matches; none at all matches everything."""
        return all(self._matches(server))

    def matches_any(self, server: Server) -> bool:
        """Tell whether one pattern matches."""
        return any(self._matches(server))

    def _matches(self, server: Server) -> list[bool]:
        patterns = (
            (self.label, server.label),
            (self.hostname, server.hostname),
            (self.identifier, server.identifier),
        )
        matches = [
            p.fullmatch(text) is not None for p, text in patterns if p is not None
        ]
        if self.user_id is not None:
            matches.append(server.user_id in self.user_id)
        return matches


@dataclass(frozen=True, slots=True)
class ConfiguredServer:
    """A server named in the configuration."""

    id: int | str
    """Its number, or its identifier."""
    expected_interval_seconds: float | None = None


class Expectation(msgspec.Struct, frozen=True, gc=False):
    """What is expected of one server's backups; None: nothing was said."""

    own_interval_seconds: float | None = None
    fallback_interval_seconds: float | None = None
    backup_required: bool | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """One exporter's share of all servers.

    Rendezvous hashing: with one shard more, only the servers it takes over move.
    """

    number: int = 0
    total: int = 1

    def owns(self, panel: str, vm_id: int | str) -> bool:
        """Tell whether a server is this shard's."""

        def weight(shard: int) -> bytes:
            name = f"{shard}/{vm_id}/{panel}".encode()
            return hashlib.blake2b(name, digest_size=8).digest()

        return self.total == 1 or self.number == max(range(self.total), key=weight)


@dataclass(frozen=True, slots=True)
class Selection:
    """What one panel's configuration says about its servers."""

    configured: tuple[ConfiguredServer, ...] = ()
    """These and no others; empty: every server that the filters let through."""
    include: Filter = Filter()
    exclude: Filter = Filter()
    required: Filter = Filter()
    not_required: Filter = Filter()
    fallback_interval_seconds: float | None = None

    @property
    def partial(self) -> bool:
        """Tell whether only some of the panel's servers are wanted."""
        return bool(self.configured or self.include or self.exclude)

    def selects(self, server: Server) -> bool:
        """Tell whether a discovered server is to be watched."""
        if self.include and not self.include.matches_all(server):
            return False
        return not (self.exclude and self.exclude.matches_any(server))

    def expectation(
        self, server: Server | None, own_interval_seconds: float | None = None
    ) -> Expectation:
        """Return what is expected of a server, as far as it is known."""
        return Expectation(
            own_interval_seconds=own_interval_seconds,
            fallback_interval_seconds=self.fallback_interval_seconds,
            backup_required=self._backup_required(server, own_interval_seconds),
        )

    def _backup_required(
        self, server: Server | None, own_interval_seconds: float | None
    ) -> bool | None:
        if server is None and (self.required or self.not_required):
            return None
        if server is not None and self.not_required.matches_any(server):
            return False
        if server is not None and self.required:
            return self.required.matches_all(server)
        intervals = (own_interval_seconds, self.fallback_interval_seconds)
        return True if any(seconds is not None for seconds in intervals) else None
