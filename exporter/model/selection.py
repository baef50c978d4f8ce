"""Which servers an exporter monitors, and what it expects of their backups."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

import msgspec

from .entities import Server

NO_SERVERS_HINT = (
    "the role may see its own user's servers only, or discovery.include and "
    "discovery.exclude leave none"
)
"""The hint for a panel that lists no servers, which is seldom intended."""


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """``include``, ``exclude``: patterns that match whole values of a server's fields.

    The descriptions are those of the configuration's keys.
    """

    label: re.Pattern[str] | None = None
    """regular expression on the server's label (default: any)"""
    hostname: re.Pattern[str] | None = None
    """regular expression on its host name (default: any)"""
    identifier: re.Pattern[str] | None = None
    """regular expression on its identifier (default: any)"""
    user_id: Annotated[tuple[int, ...], msgspec.Meta(min_length=1)] | None = None
    """list of owners' numbers: ``[7, 12]`` (default: any)"""

    def __bool__(self) -> bool:
        """Return whether there is any pattern."""
        return self != Filter()

    def matches_all(self, server: Server) -> bool:
        """Return whether all patterns match; an empty filter matches everything."""
        return all(self._matches(server))

    def matches_any(self, server: Server) -> bool:
        """Return whether at least one pattern matches."""
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


class ConfiguredServer(msgspec.Struct, frozen=True):
    """A server named in the configuration."""

    id: int | str
    """Its numeric id or its identifier."""
    expected_interval_seconds: float | None = None


class Expectation(msgspec.Struct, frozen=True, gc=False):
    """What the configuration expects of a server's backups; None: nothing is set."""

    own_interval_seconds: float | None = None
    fallback_interval_seconds: float | None = None
    backup_required: bool | None = None

    def is_shorter_than(self, other: Expectation) -> bool:
        """Return whether an interval is shorter than in another, or new."""
        new, old = (
            each.fallback_interval_seconds
            if each.own_interval_seconds is None
            else each.own_interval_seconds
            for each in (self, other)
        )
        return new is not None and (old is None or new < old)


@dataclass(frozen=True, slots=True)
class Shard:
    """One exporter's share of all servers.

    Rendezvous hashing: an additional shard only moves the servers that it gets.
    """

    number: int = 0
    total: int = 1

    def owns(self, panel: str, vm_id: int | str) -> bool:
        """Return whether a server belongs to this shard."""

        def weight(shard: int) -> bytes:
            name = f"{shard}/{vm_id}/{panel}".encode()
            return hashlib.blake2b(name, digest_size=8).digest()

        return self.total == 1 or self.number == max(range(self.total), key=weight)


class Selection(msgspec.Struct, frozen=True):
    """The servers of one panel that the configuration selects."""

    configured: tuple[ConfiguredServer, ...] = ()
    """Only these servers; empty: all servers that the filters select."""
    include: Filter = Filter()
    exclude: Filter = Filter()
    required: Filter = Filter()
    not_required: Filter = Filter()
    fallback_interval_seconds: float | None = None

    @property
    def partial(self) -> bool:
        """Whether only some of the panel's servers may be selected."""
        return bool(self.configured or self.include or self.exclude)

    def selects(self, server: Server) -> bool:
        """Return whether a discovered server is to be monitored."""
        if self.include and not self.include.matches_all(server):
            return False
        return not (self.exclude and self.exclude.matches_any(server))

    def expectation(
        self, server: Server | None, own_interval_seconds: float | None = None
    ) -> Expectation:
        """Return the expectation for a server; None: it is not known yet."""
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
