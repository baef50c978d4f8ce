"""Whatever shape an answer comes in: what /metrics then says, and what the log."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import faults
import pytest
from aiohttp import web
from builders import (
    DAY,
    a_backup_row,
    a_cloud,
    answer_backups,
    answer_servers,
    answer_with,
    in_both_formats,
    list_body,
    sample_labels,
    sample_lines,
)
from faulty_panel import Panel
from harness import BACKUPS_ONLY, NOW, MonitoredCloud
from harness import monitored as monitored_with
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from exporter.demo.panel.encoding import Fields

monitored = partial(monitored_with, collectors=BACKUPS_ONLY)

Log = list[Any]
SECRETS = ("root-secret-of-", "remote-secret-of-", "demo-api-key")


@pytest.fixture
def log() -> Iterator[Log]:
    """Collect what is logged."""
    with capture_logs() as entries:
        yield entries


def output(log: Log, event: str) -> list[dict[str, Any]]:
    """Return what was logged under a title, without title and level."""
    return [
        {key: entry[key] for key in entry.keys() - {"event", "log_level"}}
        for entry in log
        if entry["event"] == event
    ]


async def numbers(cloud: MonitoredCloud) -> set[str]:
    """Return the ids of the backups that are shown."""
    built = await cloud.series("onapp_backup_built", panel="cp", vm_id=1)
    return {key.removeprefix("backup_id=") for key in built}


async def skipped(cloud: MonitoredCloud, resource: str = "backups") -> float | None:
    """Return how many rows were skipped."""
    return await cloud.value("onapp_api_rows_skipped_total", resource=resource)


async def errors(cloud: MonitoredCloud, resource: str = "backups") -> dict[str, float]:
    """Return the errors that were counted, without those that never happened."""
    counted = await cloud.series(
        "onapp_api_errors_total", panel="cp", resource=resource
    )
    return {reason: count for reason, count in counted.items() if count}


LISTS_OF_BACKUP_7 = [
    ("json", '[{"backup": {"id": 7, "built": true}}]'),
    ("json", '[{"id": 7, "built": true}]'),
    ("json", '{"backup": {"id": 7, "built": true}}'),
    ("json", '{"backups": [{"backup": {"id": 7, "built": true}}]}'),
    ("json", '[{"backup": {"id": "7", "built": "true"}}]'),
    ("json", ' \r\n[ {"backup" : {"x": {"id": 9}, "id": 7, "built": 1} } ] \n'),
    ("json", '[{"backup": {"id": 7, "built": true, "new": {"deep": [{"id": 1}]}}}]'),
    (
        "xml",
        (
            '<backups type="array"><backup><id type="integer">7</id>'
            '<built type="boolean">true</built></backup></backups>'
        ),
    ),
    ("xml", "<backup><id>7</id><built>true</built></backup>"),
    ("xml", '<backups type="array"><id>7</id><built>true</built></backups>'),
    ("xml", "<backups><backup><id>7</id><built>1</built></backup></backups>"),
    (
        "xml",
        (
            '<?xml version="1.0" encoding="UTF-8"?>\n<!-- a list -->\n'
            '<backups type="array">\n  <backup>\n'
            '    <id type="Integer"> 7 </id>\n'
            '    <built type="BOOLEAN">\ntrue</built>\n'
            "  </backup>\n</backups>\n"
        ),
    ),
    (
        "xml",
        (
            '<backups type="array"><backup><id>7</id><built>true</built>'
            '<new type="array"><id>1</id><id>2</id></new></backup></backups>'
        ),
    ),
]


@pytest.mark.parametrize(("form", "body"), LISTS_OF_BACKUP_7)
async def test_a_list_is_read_in_every_shape(
    form: str, body: str, tmp_path: Path
) -> None:
    """Wrapped, bare, alone, flattened, with types or without, with fields to come."""
    panel = a_cloud()
    answer_with(panel, form, body)
    async with monitored(panel, tmp_path, format=form) as cloud:
        built = await cloud.series("onapp_backup_built", panel="cp", vm_id=1)

        assert built == {"backup_id=7": 1.0}
        assert await skipped(cloud) == 0.0


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("json", "[]"),
        ("json", " [ ]\n"),
        ("json", '{"backups": []}'),
        ("xml", '<backups type="array"/>'),
        ("xml", '<backups type="array"></backups>'),
        ("xml", '<backups type="array">\n</backups>'),
        ("xml", "<backups/>"),
        ("xml", '<nil-classes type="array"/>'),
        ("xml", '<nil_classes type="array"></nil_classes>'),
        ("xml", '<?xml version="1.0" encoding="UTF-8"?>\n<nil-classes type="array"/>'),
    ],
)
async def test_an_empty_list_is_read_in_every_shape(
    form: str, body: str, tmp_path: Path
) -> None:
    """A server without backups is a fact, and no error."""
    panel = a_cloud()
    answer_with(panel, form, body)
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await cloud.value("onapp_vm_poll_success") == 1.0
        assert await cloud.value("onapp_vm_backups", state="built") == 0.0
        assert await errors(cloud) == {}


async def test_an_empty_inventory_is_a_panel_without_servers(tmp_path: Path) -> None:
    """A fresh panel is healthy."""
    panel = a_cloud(0)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.value("onapp_up") == 1.0
        assert await cloud.value("onapp_panel_virtual_machines") == 0.0
        assert await sample_lines(cloud, "onapp_vm_") == []


@in_both_formats
async def test_a_bad_row_costs_only_itself(form: str, log: Log, tmp_path: Path) -> None:
    """It is counted, and logged by server and row; the read is a success."""
    panel = a_cloud()
    bad = a_backup_row(
        id=1002, created_at="the day before yesterday", identifier="s3cret"
    )
    answer_backups(panel, form, a_backup_row(id=1001), bad, a_backup_row(id=1003))
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await numbers(cloud) == {"1001", "1003"}
        assert await cloud.value("onapp_vm_poll_success") == 1.0
        assert await cloud.value("onapp_vm_backups", state="built") == 2.0
        assert await skipped(cloud) == 1.0
        assert await errors(cloud) == {}

    (entry,) = output(log, "row skipped")
    assert {key: entry[key] for key in ("panel", "resource", "vm_id", "row_id")} == {
        "panel": "cp",
        "resource": "backups",
        "vm_id": 1,
        "row_id": "1002",
    }
    assert "created_at" in entry["why"]
    assert "yesterday" not in repr(log)
    assert "s3cret" not in repr(log)


@in_both_formats
async def test_an_empty_id_is_none(form: str, tmp_path: Path) -> None:
    """Nothing can be said of such a row."""
    panel = a_cloud()
    answer_backups(panel, form, a_backup_row(id=""), a_backup_row(id=1002))
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await numbers(cloud) == {"1002"}
        assert await skipped(cloud, "backups") == 1


@in_both_formats
@pytest.mark.parametrize(
    ("changes", "row_id"),
    [
        ({"id": None}, "?"),
        ({"id": "not a number"}, "?"),
        ({"id": {}}, "?"),
        ({"marked_for_delete": "perhaps"}, "1002"),
        ({"built": "perhaps"}, "1002"),
        ({"built_at": "2027-01-15T07:00:00"}, "1002"),
        ({"target_id": "one"}, "1002"),
        ({"disk_id": 2**64}, "1002"),
        ({"id": 2**64}, str(2**64)),
        ({"id": "1002", "disk_id": "x"}, "1002"),
    ],
)
async def test_every_kind_of_bad_row_is_named_as_well_as_can_be(
    form: str, changes: Fields, row_id: str, log: Log, tmp_path: Path
) -> None:
    """A moment without an offset, say, could be any hour: it is not guessed."""
    panel = a_cloud()
    answer_backups(panel, form, a_backup_row(), a_backup_row(**{"id": 1002, **changes}))
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await numbers(cloud) == {"1001"}
        assert await skipped(cloud) == 1.0

    assert [entry["row_id"] for entry in output(log, "row skipped")] == [row_id]


@pytest.mark.parametrize(
    ("row", "row_id"),
    [
        (b"null", "?"),
        (b"[]", "?"),
        (b'"backup"', "?"),
        (b"1002", "?"),
        (b"{}", "?"),
        (b'{"backup": null}', "?"),
        (b'{"backup": [1002]}', "?"),
        (b'{"error": "oops"}', "?"),
    ],
)
async def test_a_json_list_may_hold_anything_beside_good_rows(
    row: bytes, row_id: str, log: Log, tmp_path: Path
) -> None:
    """What is no row costs only itself."""
    panel = a_cloud()
    answer_with(panel, "json", b'[{"backup": {"id": 1001}}, ' + row + b"]")
    async with monitored(panel, tmp_path) as cloud:
        assert await numbers(cloud) == {"1001"}
        assert await skipped(cloud) == 1.0

    assert [entry["row_id"] for entry in output(log, "row skipped")] == [row_id]
    assert output(log, "bug in the exporter") == []


@pytest.mark.parametrize(
    "row",
    [
        "<backup/>",
        "<backup>text</backup>",
        "<backup><id>8</id><id>9</id></backup>",
        "<backup><built>true</built></backup>",
    ],
)
async def test_an_xml_list_may_hold_anything_beside_good_rows(
    row: str, tmp_path: Path
) -> None:
    """An element that is no row costs only itself."""
    panel = a_cloud()
    answer_with(panel, "xml", f"<backups><backup><id>7</id></backup>{row}</backups>")
    async with monitored(panel, tmp_path, format="xml") as cloud:
        assert await numbers(cloud) == {"7"}
        assert await skipped(cloud) == 1.0


@in_both_formats
async def test_a_list_without_a_readable_row_is_refused(
    form: str, log: Log, tmp_path: Path
) -> None:
    """Taken as an empty one it would claim that there is nothing: data stay."""
    panel = a_cloud()
    panel.cloud.add_backup(1, number=7)
    async with monitored(panel, tmp_path, format=form) as cloud:
        answer_backups(panel, form, a_backup_row(id=8, created_at="soon"))
        await cloud.advance(900.0)

        assert await numbers(cloud) == {"7"}
        assert await cloud.value("onapp_vm_poll_success") == 0.0
        assert await cloud.value("onapp_up") == 1.0
        assert set(await errors(cloud)) == {"reason=decode"}
        assert await skipped(cloud) not in (None, 0.0)

    assert "id 8" in output(log, "reading the backups of a server failed")[0]["error"]
    assert "soon" not in repr(log)


@pytest.mark.parametrize("xml_nil", ["short", "long"])
@pytest.mark.parametrize("xml_moment", ["datetime", "dateTime"])
@pytest.mark.parametrize("flat_xml", [False, True])
async def test_every_way_of_writing_xml_means_the_same(
    xml_nil: Any, xml_moment: Any, *, flat_xml: bool, tmp_path: Path
) -> None:
    """Nil with a closing tag or without, moments in two spellings, a list of one."""
    panel = a_cloud(xml_nil=xml_nil, xml_timestamp_type=xml_moment, flat_xml=flat_xml)
    panel.cloud.add_backup(1, number=7, built=False, created_at=NOW - DAY)
    async with monitored(panel, tmp_path, format="xml") as cloud:
        backup = 'panel="cp",vm_id="1",backup_id="7"'
        identifier = panel.cloud.backups[7].identifier

        assert await sample_lines(cloud, "onapp_backup_") == [
            f"onapp_backup_built{{{backup}}} 0",
            f"onapp_backup_locked{{{backup}}} 0",
            f"onapp_backup_marked_for_delete{{{backup}}} 0",
            f"onapp_backup_created_timestamp_seconds{{{backup}}} 1799913600",
            (
                f'onapp_backup_info{{{backup},identifier="{identifier}",'
                'backup_type="normal",initiated="days",target_type="Disk",'
                'target_id="101",backup_server_id="none"} 1'
            ),
        ]


@pytest.mark.parametrize(
    "nil",
    [
        "<built_at nil='true'/>",
        '<built_at type="datetime" nil="true"></built_at>',
        '<built_at nil="TRUE" type="dateTime"/>',
        '<built_at type="datetime"/>',
        "<built_at></built_at>",
        '<built_at type="datetime"> </built_at>',
        "",
    ],
)
async def test_nothing_is_written_in_many_ways(nil: str, tmp_path: Path) -> None:
    """Whatever stands for nothing is null, and never a bad row."""
    panel = a_cloud()
    row = f"<backup><id>7</id><built>true</built>{nil}</backup>"
    answer_with(panel, "xml", f'<backups type="array">{row}</backups>')
    async with monitored(panel, tmp_path, format="xml") as cloud:
        assert await numbers(cloud) == {"7"}
        assert await cloud.series("onapp_backup_built_timestamp_seconds") == {}


async def test_xml_in_another_encoding_is_read_as_it_declares(tmp_path: Path) -> None:
    """The declaration says how bytes are to be read."""
    panel = a_cloud()
    body = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>'
        "<backups><backup><id>7</id><identifier>é</identifier></backup></backups>"
    )
    answer_with(panel, "xml", body.encode("latin-1"))
    async with monitored(panel, tmp_path, format="xml") as cloud:
        assert (await sample_labels(cloud, "onapp_backup_info"))["identifier"] == "é"


@pytest.mark.parametrize(
    ("form", "written", "shown"),
    [
        ("json", rb"\ud83d", "\ufffd"),
        ("json", rb"\udc00\ud83d", "\ufffd\ufffd"),
        ("json", rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        ("json", rb"\ud83d\u0041", "\ufffdA"),
        ("json", b"\t", "\t"),
        ("json", b"\n", "\n"),
        ("json", rb"\x1b", "\ufffdx1b"),
        ("json", rb"\u12", "\ufffdu12"),
        ("json", rb"\\ud83d\"" + b"\x00", '\\ud83d"\x00'),
        ("json", b"caf\xe9", "caf\ufffd"),
        ("json", b"\xed\xa0\xbd", "\ufffd\ufffd\ufffd"),
        ("xml", b"\x01", "\ufffd"),
        ("xml", b"&#xD83D;", "\ufffd"),
        ("xml", b"&#0055357;&#0;&#65;", "\ufffd\ufffdA"),
        ("xml", b"&#x" + b"9" * 99 + b";", "\ufffd"),
        ("xml", b"caf\xe9", "caf\ufffd"),
        ("xml", b"R&D &lt;", "R&D <"),
    ],
)
async def test_what_is_no_character_costs_only_its_text(
    form: str, written: bytes, shown: str, log: Log, tmp_path: Path
) -> None:
    """In a field that is used, and in one that is not; every row counts."""
    panel = a_cloud(2)
    for name, path in (
        ("virtual_machine", "/virtual_machines"),
        ("backup", "/virtual_machines/1/backups"),
    ):
        rows = (
            {"id": number, "built": True, "label": "HERE", "identifier": "HERE"}
            for number in (1, 2)
        )
        body = list_body(form, *rows, name=name).replace(b"HERE", written)
        answer_with(panel, form, body, resource=None, path=path)
    async with monitored(panel, tmp_path, format=form) as cloud:
        labels = {
            sample.labels["vm_id"]: sample.labels["label"]
            for family in text_string_to_metric_families(await cloud.metrics())
            for sample in family.samples
            if sample.name == "onapp_vm_info"
        }

        assert labels == {"1": shown, "2": shown}
        assert await numbers(cloud) == {"1", "2"}
        assert await skipped(cloud) == await skipped(cloud, "virtual_machines") == 0.0
    assert output(log, "bug in the exporter") == []


async def test_a_version_with_what_is_no_character_is_a_sign_of_life(
    tmp_path: Path,
) -> None:
    """The panel answers, whatever it is called."""
    panel = a_cloud()
    body = rb'{"version": "6.10\ud83d"}'
    answer_with(panel, "json", body, resource=None, path="/version")
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.value("onapp_up") == 1.0
        info = await sample_labels(cloud, "onapp_panel_info", panel="cp")
        assert info["version"] == "6.10\ufffd"


BROKEN = [
    ("json", b""),
    ("json", b"null"),
    ("json", b'"backups"'),
    ("json", b"{}"),
    ("json", b'{"errors": ["no such thing"]}'),
    ("json", b'[{"backup": {"id": 7'),
    ("json", b'[{"backup": {"id": 7}}] trailing'),
    ("json", b'{"\xff": 1}'),
    ("json", b"[" * 100_000),
    ("json", b"<html><body>Sign in</body></html>"),
    ("xml", b""),
    ("xml", b"<backups><backup>"),
    ("xml", b"<html><body>Sign in</body></html>"),
    ("xml", b"<virtual_machines/>"),
    ("xml", b"[]"),
    ("xml", b'<?xml version="1.0" encoding="klingon"?><backups/>'),
    ("xml", b"<backups>\xff\xfe</backups>"),
    (
        "xml",
        (
            b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
            b"<backups><backup><id>7</id><identifier>&b;</identifier></backup></backups>"
        ),
    ),
]


@pytest.mark.parametrize(("form", "body"), BROKEN)
async def test_an_answer_that_is_no_list_is_refused_whole(
    form: str, body: bytes, log: Log, tmp_path: Path
) -> None:
    """Last good data stay; the panel is up, only this server was not read."""
    panel = a_cloud(2)
    panel.cloud.add_backup(1, number=7)
    async with monitored(panel, tmp_path, format=form) as cloud:
        answer_with(panel, form, body, path="/virtual_machines/1/backups")
        await cloud.advance(900.0)

        assert await numbers(cloud) == {"7"}
        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {
            "vm_id=1": 0.0,
            "vm_id=2": 1.0,
        }
        assert await cloud.value("onapp_up") == 1.0
        assert set(await errors(cloud)) == {"reason=decode"}

    assert output(log, "bug in the exporter") == []
    (entry,) = output(log, "reading the backups of a server failed")
    assert entry["error"].startswith(f"GET /virtual_machines/1/backups.{form}: ")
    assert len(entry["error"]) < 300


@in_both_formats
@pytest.mark.parametrize(
    "content_type",
    ["text/html; charset=utf-8", "text/plain", "application/octet-stream", "x" * 2000],
)
async def test_a_wrong_content_type_is_refused_before_decoding(
    form: str, content_type: str, log: Log, tmp_path: Path
) -> None:
    """Also when the body would be a good one: a sign-in page answers 200."""
    panel = a_cloud()
    answer_with(
        panel,
        form,
        list_body(form, a_backup_row()),
        headers={"Content-Type": content_type},
    )
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await cloud.value("onapp_vm_poll_success") == 0.0
        assert await errors(cloud) == {"reason=decode": 1.0}

    assert len(output(log, "reading the backups of a server failed")[0]["error"]) < 400


@pytest.mark.parametrize(
    ("form", "content_type"),
    [
        ("json", "application/json"),
        ("json", "application/json; charset=utf-8"),
        ("json", "Application/JSON"),
        ("json", "text/json"),
        ("xml", "application/xml"),
        ("xml", "text/xml; charset=utf-8"),
    ],
)
async def test_every_right_content_type_is_accepted(
    form: str, content_type: str, tmp_path: Path
) -> None:
    """With parameters or without, in any case."""
    panel = a_cloud()
    answer_with(
        panel,
        form,
        list_body(form, a_backup_row()),
        headers={"Content-Type": content_type},
    )
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await numbers(cloud) == {"1001"}


@pytest.mark.parametrize(
    ("form", "body", "words"),
    [
        ("json", '{"error": "Resource not found"}', "Resource not found"),
        ("json", '{"errors": ["Not found", "Gone"]}', "Not found; Gone"),
        ("json", '{"errors": {"base": ["Locked"], "id": ["No"]}}', "Locked; No"),
        ("json", '{"errors": null, "error": "Sorry"}', "Sorry"),
        ("json", '{"error": "two\\nlines\\u0000\\u001b[31m"}', "two lines  [31m"),
        ("json", '["whatever"]', None),
        ("json", "<html><body>500</body></html>", None),
        ("json", '{"error": "half \\ud800"}', "half \ufffd"),
        ("json", "", None),
        ("xml", "<errors><error>Gone</error><error>No</error></errors>", "Gone; No"),
        ("xml", "<error>Gone</error>", "Gone"),
        ("xml", '<hash><error type="string">Gone</error></hash>', "Gone"),
        ("xml", "<html><body>500</body></html>", None),
        ("xml", "no XML", None),
    ],
)
async def test_what_a_panel_says_when_it_refuses_is_logged(
    form: str, body: str, words: str | None, log: Log, tmp_path: Path
) -> None:
    """In three shapes of JSON and as XML; anything else is no refusal of the API."""
    reason = "decode" if words is None else "not_found"
    panel = a_cloud()
    answer_with(panel, form, body, status=404)
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await errors(cloud) == {f"reason={reason}": 1.0}

    where = f"GET /virtual_machines/1/backups.{form}: HTTP 404"
    assert [
        entry["error"]
        for entry in output(log, "reading the backups of a server failed")
    ] == [
        f"{where}, without the API's error message"
        if words is None
        else f"{where}: {words}"
    ]


@in_both_formats
@pytest.mark.parametrize("length", [1000, 1_000_000])
async def test_a_long_refusal_is_cut_short(
    form: str, length: int, log: Log, tmp_path: Path
) -> None:
    """Never more than one short line of the log, nor much of the body read."""
    panel = a_cloud()
    text = "word " * (length // 5)
    body = (
        json.dumps({"error": text})
        if form == "json"
        else f"<errors><error>{text}</error></errors>"
    )
    answer_with(panel, form, body, status=500)
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await errors(cloud) == {"reason=status": 1.0}

    (entry,) = output(log, "reading the backups of a server failed")
    assert len(entry["error"]) < 260
    assert "\n" not in entry["error"]


@in_both_formats
@pytest.mark.parametrize("before", ["", "x" * 195])
async def test_a_refusal_that_repeats_the_secret_hides_it(
    form: str, before: str, log: Log, tmp_path: Path
) -> None:
    """Also where the line ends in the middle of it."""
    panel = a_cloud()
    text = f"{before} wrong key demo-api-key"
    body = (
        json.dumps({"error": text})
        if form == "json"
        else f"<errors><error>{text}</error></errors>"
    )
    answer_with(panel, form, body, status=404)
    async with monitored(panel, tmp_path, format=form):
        pass

    assert len(output(log, "reading the backups of a server failed")) == 1
    assert (
        "demo" not in output(log, "reading the backups of a server failed")[0]["error"]
    )


async def test_what_a_panel_says_of_the_credentials_is_not_logged(
    log: Log, tmp_path: Path
) -> None:
    """A refusal of the credentials may repeat them, in whatever form."""
    panel = a_cloud()
    login = b64encode(b"demo@example.com:demo-api-key").decode()
    answer_with(panel, "json", json.dumps({"error": f"bad Basic {login}"}), status=401)
    async with monitored(panel, tmp_path):
        pass

    assert len(output(log, "panel refuses the credentials")) == 1
    assert "Basic" not in repr(log)


@in_both_formats
async def test_passwords_in_the_inventory_appear_nowhere(
    form: str, log: Log, tmp_path: Path
) -> None:
    """Neither in good times nor when rows, lists and bodies are broken."""
    panel = a_cloud(3)
    pages: list[str] = []
    async with monitored(
        panel, tmp_path, format=form, discovery={"interval": "1m"}
    ) as cloud:
        for fault in (
            None,
            faults.bad_rows(0.5),
            faults.bad_rows(),
            faults.cut(),
            faults.html_error(),
        ):
            if fault is not None:
                panel.faults.add(fault, resource="virtual_machines")
            await cloud.advance(60.0)
            pages += [
                (await cloud.get(path))[1] for path in ("/metrics", "/", "/config")
            ]
            panel.faults.clear()

    shown = "".join(pages) + repr(log)
    assert [secret for secret in SECRETS if secret in shown] == []


ODD_VALUES = ("soon", "2027-01-15T07:00:00", {"a": 1}, -7.5, "1e400")


@in_both_formats
@pytest.mark.parametrize("odd", ODD_VALUES)
async def test_a_server_with_odd_fields_is_watched_without_them(
    form: str, odd: Any, log: Log, tmp_path: Path
) -> None:
    """Also one that is new; nothing but its number is needed."""
    panel = a_cloud(2)
    names = ("user_id", "hypervisor_id", "suspended", "created_at")
    row = {"id": 2, "label": "web-2", **dict.fromkeys(names, odd)}
    answer_servers(panel, form, {"id": 1}, row)
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await cloud.value("onapp_vm_poll_success", vm_id=2) == 1.0
        assert await cloud.value("onapp_panel_virtual_machines") == 2.0
        assert await skipped(cloud, "virtual_machines") == 0.0
        assert await cloud.value("onapp_vm_created_timestamp_seconds", vm_id=2) is None
        info = await sample_labels(cloud, "onapp_vm_info", vm_id=2)
        assert (info["label"], info.get("user_id", "")) == ("web-2", "")
    assert output(log, "row skipped") == []


@in_both_formats
@pytest.mark.parametrize("field", ["label", "hostname", "identifier"])
async def test_a_text_that_is_none_costs_only_that_text(
    field: str, form: str, tmp_path: Path
) -> None:
    """A number, a list or an object in its place."""
    values: tuple[Any, ...] = (7, [], {"a": "b"}, True)
    for odd in values:
        panel = a_cloud(2)
        answer_servers(panel, form, {"id": 1}, {"id": 2, "user_id": 9, field: odd})
        async with monitored(panel, tmp_path, format=form) as cloud:
            info = await sample_labels(cloud, "onapp_vm_info", vm_id=2)
            assert info["user_id"] == "9"
            assert form == "xml" or info.get(field, "") == ""


async def test_a_number_that_is_too_large_costs_only_its_field(tmp_path: Path) -> None:
    """Also where it stands in a field that is not used."""
    panel = a_cloud()
    body = b'[{"backup": {"id": 7, "built": true, "backup_size": 1e999, "x": -1e999}}]'
    answer_with(panel, "json", body)
    async with monitored(panel, tmp_path) as cloud:
        assert await numbers(cloud) == {"7"}


async def test_a_bad_server_row_without_a_number_removes_no_server(
    tmp_path: Path,
) -> None:
    """It may be any of those that are not listed."""
    panel = a_cloud(3)
    async with monitored(panel, tmp_path) as cloud:
        answer_servers(panel, "json", {"id": 1}, {"id": "x"})
        await cloud.advance(600.0)

        assert await servers(cloud) == {1, 2, 3}
        assert await cloud.value("onapp_panel_virtual_machines") == 3.0


async def servers(cloud: MonitoredCloud) -> set[int]:
    """Return the numbers of the servers that are described."""
    return {
        int(line.partition('vm_id="')[2].partition('"')[0])
        for line in await sample_lines(cloud, "onapp_vm_info")
    }


@pytest.mark.parametrize("cap", [1, 7, 10, 100])
async def test_an_inventory_is_read_page_by_page(cap: int, tmp_path: Path) -> None:
    """However few rows a panel gives at once."""
    panel = a_cloud(20, per_page_cap=cap)
    async with monitored(panel, tmp_path) as cloud:
        asked = panel.request_log.requests_for("virtual_machines")

        assert await servers(cloud) == set(range(1, 21))
        assert await cloud.value("onapp_panel_virtual_machines") == 20.0
        assert len(asked) == -(-20 // cap)
        assert asked[0].query == {"page": "1", "per_page": "100"}


@pytest.mark.parametrize(("number", "requests"), [(99, 1), (100, 2), (150, 1)])
async def test_a_list_as_long_as_a_page_is_asked_for_more(
    number: int, requests: int, tmp_path: Path
) -> None:
    """Without headers it may be all, or the first page of a panel that tells less."""
    panel = a_cloud(number, paging=False)
    async with monitored(panel, tmp_path) as cloud:
        assert await servers(cloud) == set(range(1, number + 1))
        assert len(panel.request_log.requests_for("virtual_machines")) == requests


async def test_pages_without_headers_are_read_to_the_end(tmp_path: Path) -> None:
    """A panel that pages but does not say so must not lose its other servers."""
    panel = a_cloud()
    for page in (range(1, 101), range(101, 131)):
        rows = [{"id": number} for number in page]
        body = list_body("json", *rows, name="virtual_machine")
        answer_with(panel, "json", body, resource="virtual_machines", times=1)
    async with monitored(panel, tmp_path) as cloud:
        assert await servers(cloud) == set(range(1, 131))


@pytest.mark.parametrize("x_limit", [0, 1, 10, 100])
async def test_a_wrong_x_limit_does_not_mislead(x_limit: int, tmp_path: Path) -> None:
    """0 has been seen; a panel may also repeat what was asked, and give less."""
    panel = a_cloud(25, per_page_cap=10, x_limit=x_limit)
    async with monitored(panel, tmp_path) as cloud:
        assert await servers(cloud) == set(range(1, 26))
        assert await cloud.value("onapp_collector_success", collector="inventory") == 1


def paged(panel: Panel, form: str, *pages: list[int], **headers: str) -> None:
    """Let the inventory come in just these pages, with these headers."""
    for page in pages:
        body = list_body(form, *({"id": n} for n in page), name="virtual_machine")
        answer_with(
            panel,
            form,
            body,
            resource=None,
            path="/virtual_machines",
            headers={key.replace("_", "-"): value for key, value in headers.items()},
            times=1,
        )


@pytest.mark.parametrize(
    ("pages", "headers", "whole"),
    [
        ([[1, 2], [3]], {"X_Limit": "2"}, 1.0),
        ([[1, 2], [3], []], {"X_Page": "1"}, 1.0),
        ([[1, 2], [1, 2]], {"X_Page": "1"}, 1.0),
        ([[1, 2], [3, 4], [3, 4]], {"X_Limit": "0"}, 1.0),
        ([[1, 2], [3]], {"X_Limit": "2", "X_Total": "1"}, 1.0),
        ([[1, 2], [3]], {"X_Limit": "-2", "X_Total": "3"}, 1.0),
        ([[1, 2], [3], []], {"X_Limit": "two", "X_Total": "many"}, 1.0),
        ([[1, 1, 2], [3, 4]], {"X_Limit": "3"}, 1.0),
        ([[1, 2], [3], []], {"X_Limit": "2", "X_Total": "9"}, 0.0),
        ([[1, 2], [1, 2]], {"X_Limit": "2", "X_Total": "4"}, 0.0),
        ([[]], {"X_Limit": "2", "X_Total": "4"}, 0.0),
        ([[]], {"X_Limit": "2", "X_Total": "0"}, 1.0),
    ],
)
async def test_paging_headers_are_believed_only_as_far_as_they_hold(
    pages: list[list[int]],
    headers: dict[str, str],
    whole: float,
    tmp_path: Path,
) -> None:
    """Reading ends; what was counted and never listed makes the inventory cut short."""
    panel = a_cloud(0)
    paged(panel, "json", *pages, **headers)
    async with monitored(panel, tmp_path) as cloud:
        assert await servers(cloud) == {number for page in pages for number in page}
        assert await cloud.value("onapp_collector_success", collector="inventory") == (
            whole
        )
        assert len(panel.request_log.requests_for("virtual_machines")) == len(pages)


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(503),
        faults.status(403),
        faults.html(),
        faults.cut(),
        faults.bad_rows(),
        faults.reset(),
    ],
)
async def test_a_failed_inventory_removes_nothing(
    fault: faults.Fault, tmp_path: Path
) -> None:
    """Whatever went wrong: what was known stays, and the collector says so."""
    panel = a_cloud(2)
    async with monitored(panel, tmp_path) as cloud:
        panel.cloud.remove_server(2)
        panel.faults.add(fault, path="/virtual_machines")
        await cloud.advance(600.0)

        assert await servers(cloud) == {1, 2}
        assert await cloud.value("onapp_panel_virtual_machines") == 2.0
        assert await cloud.value("onapp_collector_success", collector="inventory") == 0
        assert await cloud.value("onapp_inventory_last_success_timestamp_seconds") == (
            NOW
        )


async def test_an_inventory_cut_short_removes_nothing(tmp_path: Path) -> None:
    """The panel counts more servers than it lists; new ones are taken in."""
    panel = a_cloud(3)
    async with monitored(panel, tmp_path) as cloud:
        paged(panel, "json", [1, 4], [], X_Limit="100", X_Total="3")
        await cloud.advance(600.0)

        assert await servers(cloud) == {1, 2, 3, 4}
        assert await cloud.value("onapp_panel_virtual_machines") == 3.0
        assert await cloud.value("onapp_collector_success", collector="inventory") == 0
        assert await cloud.value("onapp_inventory_last_success_timestamp_seconds") == (
            NOW
        )


def endless(scene: faults.FaultContext) -> web.Response:
    """Answer each page of the inventory with two servers that nobody knows."""
    first = 100 * int(scene.request.query["page"])
    rows = ({"id": number} for number in (first, first + 1))
    body = list_body("json", *rows, name="virtual_machine")
    headers = {"Content-Type": "application/json", "X-Page": "1"}
    return web.Response(body=body, headers=headers)


async def test_an_inventory_without_an_end_is_given_up_and_removes_nothing(
    tmp_path: Path,
) -> None:
    """Each page brings new servers: what was read by then is not all that there is."""

    async def act(
        scene: faults.FaultContext,
        _placed: faults.ActiveFault,
        _proceed: faults.Proceed,
    ) -> web.StreamResponse:
        return endless(scene)

    panel = a_cloud(3)
    async with monitored(panel, tmp_path) as cloud:
        cloud.exporter.manager.panel_tasks["cp"].poller.api.max_pages = 5
        panel.faults.add(faults.Fault(act), path="/virtual_machines")
        panel.requests.clear()
        await cloud.advance(600.0)
        pages = [a for a in panel.requests if a.query.get("page")]

        assert await servers(cloud) >= {1, 2, 3, 100, 500}
        assert await cloud.value("onapp_collector_success", collector="inventory") == 0

    assert len(pages) == 5


async def test_a_bad_row_on_a_page_that_repeats_others_removes_no_server(
    tmp_path: Path,
) -> None:
    """Nothing new can be read there, but something is."""
    panel = a_cloud(3)
    async with monitored(panel, tmp_path) as cloud:
        for rows in (({"id": 1}, {"id": 2}), ({"id": 2}, {"id": "x"})):
            answer_servers(panel, "json", *rows, headers={"X-Page": "1"}).times = 1
        await cloud.advance(600.0)

        assert await servers(cloud) == {1, 2, 3}


async def test_a_page_that_fails_makes_the_whole_inventory_fail(tmp_path: Path) -> None:
    """Half of a list is no list."""
    panel = a_cloud(20, per_page_cap=10)
    async with monitored(panel, tmp_path) as cloud:
        panel.cloud.remove_server(20)
        paged(panel, "json", list(range(1, 11)), X_Limit="10", X_Total="19")
        panel.faults.add(faults.status(503), path="/virtual_machines", times=1)
        await cloud.advance(600.0)

        assert await servers(cloud) == set(range(1, 21))


async def test_a_server_that_is_added_between_pages_is_found(tmp_path: Path) -> None:
    """The last page says how many there are by then."""
    panel = a_cloud(0)
    paged(panel, "json", [1, 2], X_Limit="2", X_Total="4")
    paged(panel, "json", [3, 4], [5], X_Limit="2", X_Total="5")
    async with monitored(panel, tmp_path) as cloud:
        assert await servers(cloud) == {1, 2, 3, 4, 5}
        assert await cloud.value("onapp_collector_success", collector="inventory") == 1


@pytest.mark.parametrize("count", [4, 5])
async def test_a_server_that_is_added_after_unchanged_pages_is_found(
    count: int, tmp_path: Path
) -> None:
    """304 says that a page is as it was, not that no other follows it now."""
    panel = a_cloud(count, per_page_cap=2)
    async with monitored(panel, tmp_path) as cloud:
        panel.cloud.add_server()
        await cloud.advance(600.0)
        asked = panel.request_log.requests_for("virtual_machines")

        assert await servers(cloud) == set(range(1, count + 2))
        assert [request.status for request in asked[-3:]] == [304, 304, 200]


def backups_in_pages(panel: Panel, form: str, *pages: list[int], total: int) -> None:
    """Let a server's backups come in these pages, the first to a request for all."""
    for page in (pages[0], *pages):
        answer_with(
            panel,
            form,
            list_body(form, *(a_backup_row(id=number) for number in page)),
            headers={"X-Limit": "2", "X-Total": str(total)},
            times=1,
        )


async def test_backups_that_come_in_pages_are_read_to_the_end(tmp_path: Path) -> None:
    """Unseen of real panels; the newest backup may be on the last page."""
    panel = a_cloud()
    backups_in_pages(panel, "json", [7, 8], [9], total=3)
    async with monitored(panel, tmp_path) as cloud:
        assert await numbers(cloud) == {"7", "8", "9"}
        assert await cloud.value("onapp_vm_poll_success", panel="cp", vm_id=1) == 1.0


async def test_backups_that_are_counted_and_not_listed_are_no_answer(
    log: Log, tmp_path: Path
) -> None:
    """What was known before stays; what is missing may be the newest of all."""
    panel = a_cloud()
    panel.cloud.add_backup(1, number=5)
    async with monitored(panel, tmp_path) as cloud:
        two = list_body("json", a_backup_row(id=7), a_backup_row(id=8))
        answer_with(panel, "json", two, headers={"X-Limit": "2", "X-Total": "3"})
        await cloud.advance(900.0)

        assert await numbers(cloud) == {"5"}
        assert await cloud.value("onapp_vm_poll_success", panel="cp", vm_id=1) == 0.0
        assert "the panel has more rows than it lists" in str(log)


async def test_backups_that_move_between_pages_are_read_again(
    log: Log, tmp_path: Path
) -> None:
    """One that is deleted meanwhile lets another slip to the page just read."""
    panel = a_cloud()
    panel.cloud.add_backup(1, number=5)
    async with monitored(panel, tmp_path) as cloud:
        backups_in_pages(panel, "json", [7, 8], total=4)
        backups_in_pages(panel, "json", [10], total=3)
        await cloud.advance(900.0)

        assert "the list has changed while its pages were read" in str(log)
        assert await numbers(cloud) == {"5"}


async def test_unchanged_backups_are_not_sent_again(tmp_path: Path) -> None:
    """The ETag goes back as it came; 304 is a good read."""
    panel = a_cloud()
    panel.cloud.add_backup(1)
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(900.0)
        first, second = panel.request_log.requests_for("backups")

        assert (first.if_none_match, first.status, second.status) == (None, 200, 304)
        assert (second.if_none_match or "").startswith('W/"')
        assert await cloud.value("onapp_backup_built") == 1.0
        assert await cloud.value("onapp_vm_poll_success") == 1.0
        assert await cloud.value("onapp_vm_last_poll_success_timestamp_seconds") == (
            NOW + (second.at - NOW)
        )


async def test_a_changed_list_is_sent_in_spite_of_the_etag(tmp_path: Path) -> None:
    """And its new ETag replaces the old one."""
    panel = a_cloud()
    panel.cloud.add_backup(1)
    async with monitored(panel, tmp_path) as cloud:
        panel.cloud.add_backup(1)
        await cloud.advance(1800.0)
        asked = panel.request_log.requests_for("backups")

        assert [request.status for request in asked] == [200, 200, 304]
        assert asked[1].if_none_match != asked[2].if_none_match
        assert await numbers(cloud) == {"1001", "1002"}


@pytest.mark.parametrize("headers", [None, {"ETag": ""}])
async def test_without_an_etag_none_is_sent(
    headers: dict[str, str] | None, tmp_path: Path
) -> None:
    """A panel may have none, or an empty one."""
    panel = a_cloud()
    answer_with(panel, "json", list_body("json", a_backup_row()), headers=headers)
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(900.0)
        asked = panel.request_log.requests_for("backups")

        assert [request.if_none_match for request in asked] == [None, None]
        assert await numbers(cloud) == {"1001"}


async def test_304_to_a_request_without_an_etag_is_an_error(
    log: Log, tmp_path: Path
) -> None:
    """Nothing is known that it could confirm."""
    panel = a_cloud()
    answer_with(panel, "json", b"", status=304)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.value("onapp_vm_poll_success") == 0.0
        assert await cloud.series("onapp_vm_backups") == {}
        assert await errors(cloud) == {"reason=status": 1.0}

    assert "304" in output(log, "reading the backups of a server failed")[0]["error"]


async def test_304_without_an_etag_of_its_own_keeps_the_known_one(
    tmp_path: Path,
) -> None:
    """The next request asks with the same again."""
    panel = a_cloud()
    answer_with(
        panel,
        "json",
        list_body("json", a_backup_row()),
        headers={"ETag": '"x"'},
        times=1,
    )
    answer_with(panel, "json", b"", status=304)
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(1800.0)
        asked = panel.request_log.requests_for("backups")

        assert [r.if_none_match for r in asked] == [None, '"x"', '"x"']
        assert await numbers(cloud) == {"1001"}
        assert await cloud.value("onapp_vm_poll_success") == 1.0


async def test_after_a_failure_the_list_is_read_whole_again(
    tmp_path: Path,
) -> None:
    """Perhaps the ETag was what failed: it is not sent again."""
    panel = a_cloud()
    panel.cloud.add_backup(1)
    async with monitored(panel, tmp_path) as cloud:
        panel.faults.add(faults.status(404), resource="backups", times=1)
        await cloud.advance(1800.0)
        statuses = [
            request.status for request in panel.request_log.requests_for("backups")
        ]

        assert statuses[:3] == [200, 404, 200]
        assert await numbers(cloud) == {"1001"}


async def test_skipped_rows_are_counted_once_a_body(log: Log, tmp_path: Path) -> None:
    """A list that did not change is not read again, nor complained about."""
    panel = a_cloud()
    body = list_body("json", a_backup_row(), a_backup_row(id=2, created_at="soon"))
    answer_with(panel, "json", body, headers={"ETag": '"x"'}, times=1)
    answer_with(panel, "json", b"", status=304, headers={"ETag": '"x"'})
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(1800.0)

        assert await skipped(cloud) == 1.0

    assert len(output(log, "row skipped")) == 1


@pytest.mark.parametrize(
    ("form", "body", "version"),
    [
        ("json", '{"version": "6.10.0"}', "6.10.0"),
        ("json", '{"version": "6.10.0", "build": {"x": 1}}', "6.10.0"),
        ("json", '{"version": 6.2}', "6.2"),
        ("json", '{"version": " 6.10.0-edge "}', "6.10.0-edge"),
        ("xml", "<version>6.10.0</version>", "6.10.0"),
        ("xml", "<hash><version>6.10.0</version></hash>", "6.10.0"),
        ("xml", '<version type="string">\n6.10.0\n</version>', "6.10.0"),
    ],
)
async def test_the_version_is_read_in_every_shape(
    form: str, body: str, version: str, tmp_path: Path
) -> None:
    """Alone or among other things."""
    panel = a_cloud()
    answer_with(panel, form, body, resource="version")
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert (await sample_labels(cloud, "onapp_panel_info"))["version"] == version


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("json", "{}"),
        ("json", '{"version": null}'),
        ("json", '{"version": ""}'),
        ("json", '{"version": "\\ud800"}'),
        ("json", "[]"),
        ("json", "6.10"),
        ("json", b'{"version": "\xff"}'),
        ("xml", "<hash/>"),
        ("xml", "<version/>"),
        ("xml", "<html><body>Sign in</body></html>"),
    ],
)
async def test_an_answer_without_a_version_is_no_sign_of_life(
    form: str, body: bytes | str, log: Log, tmp_path: Path
) -> None:
    """Something answers there, but it does not behave like a panel."""
    panel = a_cloud()
    answer_with(panel, form, body, resource="version")
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await cloud.value("onapp_up") == 0.0
        assert await errors(cloud, "version") == {"reason=decode": 1.0}

    assert output(log, "bug in the exporter") == []
