"""The bookkeeping over a log of transactions: what is kept, and how much of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exporter.model.entities import Transaction
from exporter.model.transaction_log import LogExcerpt, TransactionLog

BURST = 1_200
KEPT = 1_000


def a_transaction(
    number: int, status: str, vm_id: int = 2, created_at: float | None = None
) -> Transaction:
    """Return a transaction that takes a backup."""
    return Transaction(
        id=number,
        action="take_backup",
        status=status,
        backup_id=None,
        vm_id=vm_id,
        created_at=float(number) if created_at is None else created_at,
        updated_at=None,
    )


def owning(*servers: int) -> Callable[[int | None], bool]:
    """Return a judgement by which the transactions of these servers count."""
    return lambda vm_id: vm_id in servers


def read(log: TransactionLog, *rows: Transaction, own: tuple[int, ...]) -> None:
    """Let a journal read the head of a log."""
    head = {row.id: row for row in rows}
    log.update(LogExcerpt(head), owning(*own), time=0.0, now=0.0, expires_at=1.0)


def test_open_ones_of_servers_not_watched_are_bounded() -> None:
    """A cloud of others costs no more than a thousand rows; the newest are kept."""
    log = TransactionLog()
    read(log, own=(1,))

    read(log, *(a_transaction(n, "running") for n in range(BURST)), own=(1,))

    assert sorted(log.open_ids) == list(range(BURST - KEPT, BURST))


def test_ended_ones_of_servers_not_watched_are_bounded() -> None:
    """The newest thousand wait for their server to be found."""
    log = TransactionLog()
    read(log, own=(1,))

    read(log, *(a_transaction(n, "failed") for n in range(BURST)), own=(1,))
    read(log, own=(1, 2))
    read(log, own=(1, 2))

    assert log.counts["take_backup", "failed"] == KEPT


def test_own_ones_are_kept_over_those_of_others() -> None:
    """However many others there are."""
    log = TransactionLog()
    read(log, own=(1,))

    own = a_transaction(1, "running", vm_id=1)
    others = (a_transaction(n, "running") for n in range(2, BURST))
    read(log, own, *others, own=(1,))

    assert 1 in log.open_ids


@pytest.mark.parametrize("found", [None, a_transaction(5, "failed", created_at=9.0)])
def test_one_that_cannot_be_looked_up_ends_uncounted(found: Transaction | None) -> None:
    """Nobody knows how; nor does another that has its number now tell."""
    log = TransactionLog()
    read(log, a_transaction(5, "running"), own=(2,))

    excerpt = LogExcerpt({}, {5: found})
    log.update(excerpt, owning(2), time=0.0, now=0.0, expires_at=1.0)

    assert not log.open_ids
    assert not any(log.counts.values())


def test_those_that_count_and_were_not_seen_for_longest_come_first() -> None:
    """One that cannot be read does not keep the others waiting."""
    log = TransactionLog()
    read(log, *(a_transaction(n, "running", vm_id=n % 2) for n in range(6)), own=(1,))
    read(log, a_transaction(1, "running", vm_id=1), own=(1,))

    before = log.unlisted({4})
    log.postpone(3)

    assert before == [3, 5, 1, 0, 2]
    assert log.unlisted(()) == [5, 1, 3, 0, 2, 4]


def test_an_older_one_of_the_same_number_is_another() -> None:
    """A log that was restored from long ago ends nothing that is open now."""
    log = TransactionLog()
    read(log, a_transaction(5, "running", vm_id=1), own=(1,))

    read(log, a_transaction(5, "failed", vm_id=1, created_at=1.0), own=(1,))

    assert log.counts["take_backup", "failed"] == 0


def test_a_copy_stays_as_it_is_whatever_is_watched_later() -> None:
    """A scrape is written by a thread while servers come and go."""
    watched: set[int | None] = {1}
    log = TransactionLog()
    rows = {5: a_transaction(5, "running", vm_id=1)}
    log.update(
        LogExcerpt(rows),
        watched.__contains__,
        time=0.0,
        now=0.0,
        expires_at=1.0,
    )
    frozen = log.copy()
    before = frozen.pending(0.0)["take_backup"]

    watched.clear()
    after = frozen.pending(0.0)["take_backup"]
    log.update(
        LogExcerpt(rows),
        watched.__contains__,
        time=0.0,
        now=0.0,
        expires_at=1.0,
    )
    read_again = frozen.pending(0.0)["take_backup"]

    assert [before, after, read_again] == [[rows[5]]] * 3
    assert log.pending(0.0)["take_backup"] == []
