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
"""Hint for a panel that lists no servers, which is rarely intended."""


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
        """Return whether any pattern is set."""
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
    """A server that the configuration names."""

    id: int | str
    """Its numeric ID or its identifier."""
    expected_interval_seconds: float | None = None


class Policy(msgspec.Struct, frozen=True):
    """Required backup interval of the servers that match."""

    match: Filter
    expected_interval_seconds: float


class Expectation(msgspec.Struct, frozen=True, gc=False):
    """What the configuration expects of a server's backups; None: not set."""

    own_interval_seconds: float | None = None
    fallback_interval_seconds: float | None = None
    backup_required: bool | None = None

    def is_shorter_than(
        self, other: Expectation, scheduled_seconds: float | None
    ) -> bool:
        """Return whether the interval is shorter than in another expectation, or new.

        A server's own interval overrides that of its schedules, which overrides the
        fallback.
        """
        own = self.own_interval_seconds
        new = _first_known(own, self.fallback_interval_seconds)
        old = _first_known(
            other.own_interval_seconds,
            None if own is None else scheduled_seconds,
            other.fallback_interval_seconds,
        )
        return new is not None and (old is None or new < old)


def _first_known(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


@dataclass(frozen=True, slots=True)
class Shard:
    """One exporter's share of all servers.

    Rendezvous hashing: when a shard is added, only the servers that it gets are moved.
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
    policies: tuple[Policy, ...] = ()
    """The first that matches applies to a server without an interval of its own."""
    fallback_interval_seconds: float | None = None

    @property
    def partial(self) -> bool:
        """Whether only some of the panel's servers may be selected."""
        return bool(self.configured or self.include or self.exclude)

    def selects(self, server: Server) -> bool:
        """Return whether a discovered server is monitored."""
        if self.include and not self.include.matches_all(server):
            return False
        return not (self.exclude and self.exclude.matches_any(server))

    def expectation(
        self, server: Server | None, own_interval_seconds: float | None = None
    ) -> Expectation:
        """Return the expectation for a server; ``server`` is None until it is known."""
        policy = None if server is None else self.policy(server)
        seconds = _first_known(
            own_interval_seconds,
            None if policy is None else policy.expected_interval_seconds,
        )
        # A policy may apply once the server is known.
        undecided = seconds is None and server is None and bool(self.policies)
        return Expectation(
            own_interval_seconds=seconds,
            fallback_interval_seconds=None
            if undecided
            else self.fallback_interval_seconds,
            backup_required=self._backup_required(server, seconds),
        )

    def policy(self, server: Server) -> Policy | None:
        """Return the first policy that matches a server."""
        matching = (each for each in self.policies if each.match.matches_all(server))
        return next(matching, None)

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
