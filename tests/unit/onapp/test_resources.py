"""Rows of schedules, disks, transactions, backup servers and recovery points."""

from __future__ import annotations

import pytest

from exporter.config.schema import BodyFormat
from exporter.model.entities import (
    BackupServer,
    Disk,
    RecoveryPoint,
    Schedule,
    Target,
    Transaction,
)
from exporter.onapp import resources

RECORDED_SCHEDULE = b"""[{"schedule":{"target_id":78,"action":"autobackup",
"updated_at":"2013-02-03T22:33:42Z","schedule_logs":[{"schedule_log":{"status":
"failed","log_output":"","created_at":"2013-02-03T22:31:41Z","id":68}},
{"schedule_log":{"status":"running","created_at":"2013-02-03T23:31:41Z","id":69}}],"duration":1,"start_at":
"2013-02-04T22:31:36Z","user_id":17,"period":"days","failure_count":0,"status":
"disabled","target_type":"Disk","created_at":"2013-02-03T22:31:36Z","id":13,
"params":null}}]"""


def test_a_recorded_schedule_is_read() -> None:
    """As OnApp 2.3 sent it; of its runs when they failed, without their output."""
    (schedule,) = resources.decode_schedules(RECORDED_SCHEDULE, "json").values

    assert schedule == Schedule(
        id=13,
        action="autobackup",
        target=Target("Disk", 78),
        period="days",
        duration=1,
        status="disabled",
        next_start_at=1360017096.0,
        failure_count=0,
        created_at=1359930696,
        updated_at=1359930822,
        ran=True,
        failed_runs=(1359930701,),
    )
    assert schedule.interval_seconds == 86_400


@pytest.mark.parametrize("form", ["json", "xml"])
def test_what_a_row_does_not_say_is_unknown(form: BodyFormat) -> None:
    """An id is enough; null and missing are the same."""
    bodies = {
        "json": b'[{"%s": {"id": 1, "created_at": null, "size": null}}]',
        "xml": b'<%ss type="array"><%s><id type="integer">1</id>'
        b'<created_at type="datetime" nil="true"/><size nil="true"/></%s></%ss>',
    }

    def row(name: bytes) -> bytes:
        body = bodies[form]
        return body % ((name,) * body.count(b"%s"))

    assert resources.decode_schedules(row(b"schedule"), form).values == (
        Schedule(1, "autobackup", Target("Disk", 0), "", None, "", None, None),
    )
    assert resources.decode_disks(row(b"disk"), form).values == (
        Disk(1, None, is_swap=False, has_autobackups=False),
    )
    assert resources.decode_transactions(row(b"transaction"), form).values == (
        Transaction(1, "", "", None, None, None, None),
    )
    assert resources.decode_backup_servers(row(b"backup_server"), form).values == (
        BackupServer(1, "", None, None),
    )
    found = resources.decode_recovery_points(row(b"recovery_point"), form)
    assert found.values == (RecoveryPoint(1, None, built=False, created_at=None),)


@pytest.mark.parametrize("period", ["fortnights", "", None])
def test_an_unknown_period_has_no_interval(period: str | None) -> None:
    """It is not guessed."""
    schedule = Schedule(
        1, "autobackup", Target("Disk", 1), period or "", 1, "enabled", None, None
    )

    assert schedule.interval_seconds is None


@pytest.mark.parametrize(
    ("fields", "vm_id", "backup_id"),
    [
        (b'"parent_type": "Backup", "parent_id": 9', None, 9),
        (b'"parent_type": "VirtualMachine", "parent_id": 4', 4, None),
        (
            (
                b'"parent_type": "Backup", "parent_id": "9", "associated_object_type":'
                b' "VirtualMachine", "associated_object_id": "4"'
            ),
            4,
            9,
        ),
        (
            (
                b'"parent_type": "Disk", "parent_id": 9, "associated_object_type":'
                b' "Hypervisor", "associated_object_id": 4'
            ),
            None,
            None,
        ),
    ],
)
def test_a_transaction_knows_its_server_and_its_backup(
    fields: bytes, vm_id: int | None, backup_id: int | None
) -> None:
    """Old panels name one parent, newer ones an associated object too."""
    body = b'[{"transaction": {"id": 1, "log_output": "10.1.2.3", %s}}]' % fields
    (found,) = resources.decode_transactions(body, "json").values

    assert (found.vm_id, found.backup_id) == (vm_id, backup_id)
    assert "10.1.2.3" not in repr(found)


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        (b"100", 100 * 1024**3),
        (b'"100"', 100 * 1024**3),
        (b"0.5", 1024**3 // 2),
        (b"0", 0),
        (b"-1", None),
    ],
)
def test_capacity_is_in_gib(capacity: bytes, expected: int | None) -> None:
    """The panel says GB and counts in 1024."""
    body = b'[{"backup_server": {"id": 1, "capacity": %s}}]' % capacity
    (server,) = resources.decode_backup_servers(body, "json").values

    assert server.capacity_bytes == expected
