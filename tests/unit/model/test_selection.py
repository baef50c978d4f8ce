"""Which servers are watched, which must have backups, and who watches which."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.entities import Server
from exporter.model.selection import Filter, Selection, Shard

SERVER = Server(
    id=7,
    identifier="azbygzz6zjui4k",
    label="web-1",
    hostname="web-1.example.com",
    user_id=42,
    hypervisor_id=1,
    suspended=False,
    created_at=None,
)
VM_IDS = range(1, 2001)
OWNERS = [0, 0, 2, 0, 1, 0, 0, 2, 2, 1, 1, 0]
"""Which of three shards owns the first twelve servers of lon1."""


def a_filter(*, user_id: tuple[int, ...] | None = None, **patterns: str) -> Filter:
    """Return a filter of patterns."""
    made: dict[str, Any] = {key: re.compile(text) for key, text in patterns.items()}
    return Filter(user_id=user_id, **made)


# Filters.


@pytest.mark.parametrize(
    ("patterns", "matches"),
    [
        (a_filter(label="web-1"), True),
        (a_filter(label="web-"), False),
        (a_filter(label="eb-1"), False),
        (a_filter(label="web-.*"), True),
        (a_filter(label="WEB-.*"), False),
        (a_filter(label="(?i)WEB-.*"), True),
        (a_filter(label="db|web-1"), True),
        (a_filter(label="web-1|db"), True),
        (a_filter(label="web|web-1"), True),
        (a_filter(label=""), False),
        (a_filter(hostname=r".*\.example\.com"), True),
        (a_filter(identifier="[a-z0-9]{14}"), True),
        (a_filter(identifier="[a-z0-9]{13}"), False),
        (a_filter(user_id=(7, 42)), True),
        (a_filter(user_id=(7,)), False),
    ],
)
def test_a_pattern_matches_the_whole_value(patterns: Filter, *, matches: bool) -> None:
    """As Prometheus' matchers do: ``web-`` is not ``web-.*``."""
    assert patterns.matches_all(SERVER) is matches
    assert patterns.matches_any(SERVER) is matches


def test_a_value_that_ends_a_line_is_matched_to_its_end() -> None:
    """A line end is part of the value, not something before the end."""
    server = msgspec.structs.replace(SERVER, label="web-1\n")

    assert not a_filter(label="web-1").matches_all(server)
    assert not a_filter(label="web-1$").matches_all(server)


def test_a_server_without_an_owner_matches_no_owner() -> None:
    """What is not known is not one of those listed."""
    server = msgspec.structs.replace(SERVER, user_id=None)

    assert not a_filter(user_id=(42,)).matches_all(server)


# Expectations.

OWN, FALLBACK = 3600.0, 86_400.0


@pytest.mark.parametrize(
    ("selection", "own", "required"),
    [
        (Selection(), None, None),
        (Selection(), OWN, True),
        (Selection(fallback_interval_seconds=FALLBACK), None, True),
        (Selection(required=a_filter(label="web-.*")), None, True),
        (Selection(required=a_filter(label="db-.*")), OWN, False),
        (Selection(required=a_filter(label="web-.*", user_id=(7,))), None, False),
        (Selection(not_required=a_filter(label="web-.*")), OWN, False),
        (Selection(not_required=a_filter(label="web-.*", user_id=(7,))), OWN, False),
        (Selection(not_required=a_filter(label="db-.*")), OWN, True),
        (Selection(not_required=a_filter(label="db-.*")), None, None),
        (
            Selection(
                required=a_filter(label="web-.*"), not_required=a_filter(user_id=(42,))
            ),
            OWN,
            False,
        ),
    ],
)
def test_exclude_goes_before_include_and_include_before_intervals(
    selection: Selection, own: float | None, *, required: bool | None
) -> None:
    """None: the configuration has nothing to say, and what the panel tells counts."""
    assert selection.expectation(SERVER, own).backup_required is required


@pytest.mark.parametrize(
    ("selection", "required"),
    [
        (Selection(), True),
        (Selection(required=a_filter(label="db-.*")), None),
        (Selection(not_required=a_filter(label="web-.*")), None),
    ],
)
def test_nothing_is_demanded_of_a_server_that_filters_cannot_judge_yet(
    selection: Selection, *, required: bool | None
) -> None:
    """A configured server is watched before the panel has described it."""
    assert selection.expectation(None, OWN).backup_required is required


# Shards.


def owner(total: int, panel: str, vm_id: int | str) -> list[int]:
    """Return every shard that owns a server."""
    return [n for n in range(total) if Shard(n, total).owns(panel, vm_id)]


@given(
    total=st.integers(1, 12),
    panel=st.text(max_size=10),
    vm_id=st.integers(0, 10**9) | st.text(max_size=14),
)
def test_every_server_has_one_owner(total: int, panel: str, vm_id: int | str) -> None:
    """The shards together are the whole, and no two of them overlap."""
    assert len(owner(total, panel, vm_id)) == 1


def test_the_only_shard_owns_everything() -> None:
    """Without shards nothing is left out."""
    assert all(Shard().owns("lon1", vm_id) for vm_id in VM_IDS)


@pytest.mark.parametrize("total", [2, 3, 5, 8])
def test_each_shard_has_its_fair_share(total: int) -> None:
    """About as many servers for one as for another."""
    fair = len(VM_IDS) / total
    shares = [
        sum(Shard(number, total).owns("lon1", vm_id) for vm_id in VM_IDS)
        for number in range(total)
    ]

    assert sum(shares) == len(VM_IDS)
    assert all(0.8 * fair < share < 1.2 * fair for share in shares)


@pytest.mark.parametrize("total", [1, 2, 4, 7])
def test_one_shard_more_takes_servers_over_and_moves_no_others(total: int) -> None:
    """About one in N + 1 moves, and only to the new shard."""
    moved = [
        vm_id
        for vm_id in VM_IDS
        if owner(total, "lon1", vm_id) != owner(total + 1, "lon1", vm_id)
    ]
    fair = len(VM_IDS) / (total + 1)

    assert all(Shard(total, total + 1).owns("lon1", vm_id) for vm_id in moved)
    assert 0.8 * fair < len(moved) < 1.2 * fair


def test_the_owner_is_the_same_in_every_release() -> None:
    """Shards are restarted one after the other; they must agree meanwhile."""
    assert [owner(3, "lon1", vm_id)[0] for vm_id in range(1, 13)] == OWNERS
    assert owner(3, "lon1", "azbygzz6zjui4k") == [1]


def test_panels_are_split_independently() -> None:
    """The same number on two panels is two servers."""
    numbers = range(1, 101)
    here = [owner(4, "lon1", vm_id) for vm_id in numbers]
    there = [owner(4, "ams1", vm_id) for vm_id in numbers]

    assert here != there
