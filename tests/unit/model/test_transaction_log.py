"""The bookkeeping over a log of transactions: what is kept, and how much of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from exporter.model.entities import Transaction
from exporter.model.transaction_log import LogExcerpt, TransactionLog

BURST = 1_200
KEPT = 1_000


def a_transaction(number: int, status: str, vm_id: int = 2) -> Transaction:
    """Return a transaction that takes a backup."""
    return Transaction(
        id=number,
        action="take_backup",
        status=status,
        backup_id=None,
        vm_id=vm_id,
        created_at=float(number),
        updated_at=None,
    )


def owning(*servers: int) -> Callable[[int | None], bool]:
    """Return a judgement by which the transactions of these servers count."""
    return lambda vm_id: vm_id in servers


def read(log: TransactionLog, *rows: Transaction, own: tuple[int, ...]) -> None:
    """Let a journal read the head of a log."""
    head = {row.id: row for row in rows}
    log.update(
        LogExcerpt(head, {}, set()), owning(*own), time=0.0, now=0.0, expires_at=1.0
    )


def test_open_ones_of_servers_not_watched_are_bounded() -> None:
    """A cloud of others costs no more than a thousand rows; the newest are kept."""
    log = TransactionLog()
    read(log, own=(1,))

    read(log, *(a_transaction(n, "running") for n in range(BURST)), own=(1,))

    assert sorted(log.open_transactions) == list(range(BURST - KEPT, BURST))


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

    assert 1 in log.open_transactions


def test_one_that_is_absent_once_may_have_slipped_between_two_pages() -> None:
    """It is followed until it was looked for in vain twice in a row."""
    log = TransactionLog()
    own = owning(1)
    read(log, a_transaction(5, "running", vm_id=1), own=(1,))

    for absent, rows in (({5}, {}), (set(), {5: a_transaction(5, "running", vm_id=1)})):
        log.update(LogExcerpt(rows, {}, absent), own, time=0.0, now=0.0, expires_at=1.0)
    log.update(LogExcerpt({}, {}, {5}), own, time=0.0, now=0.0, expires_at=1.0)
    followed = 5 in log.open_transactions
    log.update(LogExcerpt({}, {}, {5}), own, time=0.0, now=0.0, expires_at=1.0)

    assert followed
    assert 5 not in log.open_transactions


def test_an_older_one_of_the_same_number_is_another() -> None:
    """A log that was restored from long ago ends nothing that is open now."""
    log = TransactionLog()
    read(log, a_transaction(5, "running", vm_id=1), own=(1,))

    older = msgspec.structs.replace(a_transaction(5, "failed", vm_id=1), created_at=1.0)
    read(log, older, own=(1,))

    assert log.counts["take_backup", "failed"] == 0


def test_a_copy_stays_as_it_is_whatever_is_watched_later() -> None:
    """A scrape is written by a thread while servers come and go."""
    watched: set[int | None] = {1}
    log = TransactionLog()
    rows = {5: a_transaction(5, "running", vm_id=1)}
    log.update(
        LogExcerpt(rows, {}, set()),
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
        LogExcerpt(rows, {}, set()),
        watched.__contains__,
        time=0.0,
        now=0.0,
        expires_at=1.0,
    )
    read_again = frozen.pending(0.0)["take_backup"]

    assert [before, after, read_again] == [[rows[5]]] * 3
    assert log.pending(0.0)["take_backup"] == []
