"""The simulated panel speaks OnApp's API, and misbehaves when it is told to."""

import asyncio
import gc
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.etree import ElementTree as ET

import aiohttp
import faults
import pytest
from faulty_panel import Panel
from multidict import CIMultiDictProxy

from exporter.demo.cloud.rows import Backup
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.panel.responses import ResponseContent
from exporter.demo.panel.server import demo_panel

START = 1_700_000_000.0
DAY = 86_400.0
_LONGEST_REAL_WAIT_SECONDS = 60.0
GOOD = {
    "Authorization": f"Basic {b64encode(b'demo@example.com:demo-api-key').decode()}"
}
BAD = {"Authorization": f"Basic {b64encode(b'demo@example.com:guess').decode()}"}
HTML_LABEL = '<b>"a" & b\\c é日</b>'


@dataclass
class HandSet:
    """A clock that stands still until it is moved."""

    now: float

    def __call__(self) -> float:
        """Tell the time that was set."""
        return self.now

    def move(self, seconds: float) -> None:
        """Put the clock forward."""
        self.now += seconds


@dataclass
class Got:
    """An answer as it came over the wire."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of a list in JSON."""
        return [row for wrapped in json.loads(self.body) for row in wrapped.values()]

    @property
    def elements(self) -> list[ET.Element]:
        """The rows of a list in XML."""
        return list(ET.fromstring(self.body))  # noqa: S314  our own panel wrote it


Ask = Callable[..., Coroutine[Any, Any, Got]]


def a_world() -> SimulatedCloud:
    """Return two servers with two disks each, their backups and all the rest."""
    world = SimulatedCloud(START - 3 * DAY)
    world.add_backup_server("store", 500)
    for label in (HTML_LABEL, "second"):
        server = world.add_server(label=label, user_id=7, disks=2, swap=True)
        world.add_schedule("VirtualMachine", server.id)
        for disk in world.disks_of(server.id)[:2]:
            world.add_schedule("Disk", disk.id)
        world.add_recovery_point(server.id)
    world.inject_failure("fail", server_id=2)
    world.advance(START)
    return world


@pytest.fixture
async def panel() -> AsyncIterator[Panel]:
    """Serve that world."""
    async with Panel(a_world()) as served:
        yield served


@pytest.fixture
async def ask(panel: Panel) -> AsyncIterator[Ask]:
    """Ask the panel as its rightful user, without keeping cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def asked(path: str, **headers: str) -> Got:
            all_headers = {**GOOD, **headers}
            async with session.get(
                panel.url + path, headers=all_headers, allow_redirects=False
            ) as response:
                body = await response.read()
                return Got(response.status, response.headers, body)

        yield asked


async def until(fact: Callable[[], bool]) -> None:
    """Wait for something to happen in the panel."""
    while not fact():  # noqa: ASYNC110  the panel does not tell when it happens
        await asyncio.sleep(0.001)


def seconds(text: str | None) -> float | None:
    """Return a date of the panel in Unix seconds."""
    return None if text is None else datetime.fromisoformat(text).timestamp()


def value(element: ET.Element | None) -> object:
    """Return what an XML element holds, by its own declaration."""
    assert element is not None
    if element.get("nil") == "true":
        return None
    text = element.text or ""
    kind = element.get("type")
    if kind == "integer":
        return int(text)
    return text == "true" if kind == "boolean" else text


def truth(backup: Backup) -> dict[str, object]:
    """Return what the panel must say about a backup, dates apart."""
    return {
        "id": backup.id,
        "identifier": backup.identifier,
        "backup_size": backup.size_kib,
        "backup_type": backup.backup_type,
        "backup_server_id": backup.backup_server_id,
        "built": backup.built,
        "disk_id": backup.disk_id,
        "initiated": backup.initiated,
        "locked": backup.locked,
        "marked_for_delete": backup.marked_for_delete,
        "target_id": backup.target_id,
        "target_type": backup.target_type,
    }


DATES = ("built_at", "created_at", "updated_at")

LISTS = {
    "/virtual_machines": lambda world: list(world.servers),
    "/virtual_machines/status": lambda world: list(world.servers),
    "/virtual_machines/1/backups": lambda world: [b.id for b in world.backups_of(1)],
    "/virtual_machines/1/backups/images": lambda world: [
        b.id for b in world.backups_of(1) if b.backup_type == "normal"
    ],
    "/virtual_machines/1/backups/files": lambda world: [
        b.id for b in world.backups_of(1) if b.backup_type == "incremental"
    ],
    "/virtual_machines/1/disks/101/backups": lambda world: [
        b.id for b in world.backups_of(1) if b.disk_id == 101
    ],
    "/virtual_machines/1/backups/recovery_points": lambda world: [
        p.id for p in world.recovery_points_of(1)
    ],
    "/virtual_machines/1/disks": lambda world: [d.id for d in world.disks_of(1)],
    "/virtual_machines/1/schedules": lambda world: [
        s.id for s in world.schedules_of(1)
    ],
    "/settings/disks": lambda world: list(world.disks),
    "/settings/schedules": lambda world: list(world.schedules),
    "/settings/disks/101/schedules": lambda world: [
        s.id for s in world.schedules.values() if s.target == ("Disk", 101)
    ],
    "/transactions": lambda world: sorted(world.transactions, reverse=True)[:10],
    "/virtual_machines/1/transactions": lambda world: sorted(
        (t.id for t in world.transactions.values() if t.associated_object_id == 1),
        reverse=True,
    )[:10],
    "/settings/backup_servers": lambda world: list(world.backup_servers),
}


@pytest.mark.parametrize("path", LISTS)
async def test_every_list_has_the_same_rows_in_both_formats(
    panel: Panel, ask: Ask, path: str
) -> None:
    """JSON and XML agree with the world, row by row."""
    in_json = await ask(f"{path}.json")
    in_xml = await ask(f"{path}.xml")
    expected = LISTS[path](panel.cloud)

    assert expected
    assert [row["id"] for row in in_json.rows] == expected
    assert [value(row.find("id")) for row in in_xml.elements] == expected
    assert in_json.headers["Content-Type"] == "application/json; charset=utf-8"
    assert in_xml.headers["Content-Type"] == "application/xml; charset=utf-8"


@pytest.mark.parametrize("path", LISTS)
async def test_json_and_xml_have_the_same_fields(ask: Ask, path: str) -> None:
    """A field that one format has, the other has with the same value."""
    in_json = (await ask(f"{path}.json")).rows
    in_xml = (await ask(f"{path}.xml")).elements
    flat = [
        {name: field for name, field in row.items() if not isinstance(field, list)}
        for row in in_json
    ]

    assert [
        {child.tag: value(child) for child in row if child.get("type") != "array"}
        for row in in_xml
    ] == flat


async def test_backups_are_shown_as_they_are(panel: Panel, ask: Ask) -> None:
    """Every field of a backup is the world's."""
    rows = (await ask("/virtual_machines/2/backups.json")).rows
    backups = panel.cloud.backups_of(2)

    assert [{name: row[name] for name in truth(backups[0])} for row in rows] == [
        truth(backup) for backup in backups
    ]
    assert [[seconds(row[name]) for name in DATES] for row in rows] == [
        [getattr(backup, name) for name in DATES] for backup in backups
    ]
    assert {backup.built for backup in backups} == {True, False}


async def test_a_server_is_found_by_its_identifier(panel: Panel, ask: Ask) -> None:
    """The address takes the number or the 14 characters."""
    identifier = panel.cloud.servers[2].identifier
    by_name = await ask(f"/virtual_machines/{identifier}/backups.json")
    by_number = await ask("/virtual_machines/2/backups.json")

    assert by_name.rows == by_number.rows
    assert [asked.server_id for asked in panel.requests] == [2, 2]


async def test_one_row_comes_in_its_own_name(panel: Panel, ask: Ask) -> None:
    """A single server, backup or transaction is no list."""
    server = json.loads((await ask("/virtual_machines/1.json")).body)
    backup = panel.cloud.backups_of(1)[0]
    one = json.loads((await ask(f"/backups/{backup.id}.json")).body)
    in_xml = ET.fromstring((await ask(f"/backups/{backup.id}.xml")).body)  # noqa: S314  our own panel wrote it
    task = min(panel.cloud.transactions)
    listed = await ask("/virtual_machines/1/transactions.json?page=1&per_page=100")
    alone = json.loads((await ask(f"/transactions/{task}.json")).body)

    assert server["virtual_machine"]["label"] == HTML_LABEL
    assert one["backup"]["identifier"] == backup.identifier
    assert (in_xml.tag, value(in_xml.find("id"))) == ("backup", backup.id)
    assert alone["transaction"] == listed.rows[-1]


async def test_the_list_of_servers_carries_passwords_and_the_light_one_not(
    ask: Ask,
) -> None:
    """As the real one does, so that a client can be caught keeping them."""
    full = await ask("/virtual_machines.json")
    light = await ask("/virtual_machines/status.json")

    assert full.rows[0]["initial_root_password"] == "root-secret-of-1"
    assert full.rows[0]["remote_access_password"] == "remote-secret-of-1"
    assert b"secret" not in light.body
    assert "label" not in light.rows[0]


async def test_nested_lists_are_arrays_in_xml(panel: Panel, ask: Ask) -> None:
    """A schedule's logs are rows within the row."""
    schedule = next(iter(panel.cloud.schedules.values()))
    element = (await ask("/settings/schedules.xml")).elements[0]
    logs = element.find("schedule_logs")

    assert logs is not None
    assert logs.get("type") == "array"
    assert [value(log.find("id")) for log in logs] == [log.id for log in schedule.logs]


async def test_the_version_is_told(ask: Ask) -> None:
    """In both formats."""
    in_json = await ask("/version.json")
    in_xml = await ask("/version.xml")

    assert json.loads(in_json.body) == {"version": "6.10.0"}
    assert ET.fromstring(in_xml.body).text == "6.10.0"  # noqa: S314  our own panel wrote it


@pytest.mark.parametrize(
    ("empty", "expected"),
    [
        ("root", b'<backups type="array"/>'),
        ("nil-classes", b'<nil-classes type="array"/>'),
        ("nil_classes", b'<nil_classes type="array"/>'),
    ],
)
async def test_an_empty_list_has_many_faces(
    panel: Panel, ask: Ask, empty: Any, expected: bytes
) -> None:
    """In JSON it is an empty array."""
    panel.cloud.add_server()
    panel.empty_xml = empty
    in_xml = await ask("/virtual_machines/3/backups.xml")
    in_json = await ask("/virtual_machines/3/backups.json")

    assert expected in in_xml.body
    assert in_json.body == b"[]"


async def test_a_list_of_one_may_be_flat(panel: Panel, ask: Ask) -> None:
    """As the vendor prints it: the fields right under the root."""
    panel.flat_xml = True
    panel.cloud.add_backup(panel.cloud.add_server().id, number=77)
    root = ET.fromstring((await ask("/virtual_machines/3/backups.xml")).body)  # noqa: S314  our own panel wrote it

    assert root.get("type") == "array"
    assert value(root.find("id")) == 77


async def test_xml_may_write_nil_and_dates_in_another_way(
    panel: Panel, ask: Ask
) -> None:
    """With a closing tag, and in another case."""
    panel.xml_nil = "long"
    panel.xml_timestamp_type = "dateTime"
    body = (await ask("/virtual_machines/1/backups.xml")).body

    assert b'<note nil="true"></note>' in body
    assert b'<created_at type="dateTime">' in body


@pytest.mark.parametrize(
    ("offset", "fractions", "text"),
    [
        ("Z", False, "2023-11-14T22:13:20Z"),
        ("Z", True, "2023-11-14T22:13:20.250Z"),
        ("+03:00", False, "2023-11-15T01:13:20+03:00"),
        ("+07:00", True, "2023-11-15T05:13:20.250+07:00"),
        ("-03:30", False, "2023-11-14T18:43:20-03:30"),
    ],
)
async def test_dates_are_in_the_panels_zone(
    panel: Panel,
    ask: Ask,
    offset: str,
    fractions: bool,  # noqa: FBT001  a parameter of the table
    text: str,
) -> None:
    """Any offset, with and without fractions."""
    panel.utc_offset, panel.fractions = offset, fractions
    panel.cloud.add_backup(panel.cloud.add_server().id, created_at=START + 0.25)
    row = (await ask("/virtual_machines/3/backups.json")).rows[0]

    assert row["created_at"] == text


async def test_an_old_panel_has_old_fields(panel: Panel, ask: Ask) -> None:
    """Sizes are strings, the type holds the period, targets are not told."""
    panel.api_generation = "2"
    rows = (await ask("/virtual_machines/1/backups.json")).rows
    backups = panel.cloud.backups_of(1)
    element = (await ask("/virtual_machines/1/backups.xml")).elements[0]
    size = element.find("backup_size")

    assert [row["backup_size"] for row in rows] == [str(b.size_kib) for b in backups]
    assert {row["backup_type"] for row in rows} == {"days-autobackup"}
    assert not {"initiated", "target_type", "target_id"} & set(rows[0])
    assert size is not None
    assert "type" not in size.attrib


async def test_a_version_may_lack_fields(panel: Panel, ask: Ask) -> None:
    """Whichever the test names."""
    panel.omitted_fields = frozenset({"marked_for_delete", "suspended"})
    backups = await ask("/virtual_machines/1/backups.json")
    server = await ask("/virtual_machines/1.json")

    assert b"marked_for_delete" not in backups.body
    assert b"suspended" not in server.body


async def test_pages_are_told_in_headers(panel: Panel, ask: Ask) -> None:
    """Only when a page is asked for; the panel caps their size."""
    panel.per_page_cap = 4
    whole = await ask("/settings/schedules.json")
    second = await ask("/settings/schedules.json?page=2&per_page=50")
    beyond = await ask("/settings/schedules.json?page=3&per_page=4")

    assert "X-Total" not in whole.headers
    assert [row["id"] for row in second.rows] == [505, 506]
    assert (
        second.headers["X-Page"],
        second.headers["X-Limit"],
        second.headers["X-Total"],
    ) == ("2", "4", "6")
    assert beyond.rows == []


async def test_a_panel_may_say_nonsense_about_its_limit(panel: Panel, ask: Ask) -> None:
    """A limit of 0 was seen in the wild."""
    panel.x_limit = 0

    assert (await ask("/virtual_machines.json?page=1")).headers["X-Limit"] == "0"


async def test_old_panels_ignore_pages(panel: Panel, ask: Ask) -> None:
    """Everything comes at once, without headers."""
    panel.paging = False
    got = await ask("/virtual_machines.json?page=2&per_page=1")

    assert len(got.rows) == 2
    assert "X-Total" not in got.headers


async def test_only_the_last_transactions_come_unasked(panel: Panel, ask: Ask) -> None:
    """Ten, newest first; with pages all of them."""
    ids = sorted(panel.cloud.transactions, reverse=True)
    unasked = await ask("/transactions.json")
    asked = await ask("/transactions.json?page=1&per_page=100")

    assert len(ids) > 10
    assert [row["id"] for row in unasked.rows] == ids[:10]
    assert [row["id"] for row in asked.rows] == ids


async def test_an_unchanged_list_is_not_sent_again(panel: Panel, ask: Ask) -> None:
    """304 without a body, until a row changes."""
    path = "/virtual_machines/1/backups.json"
    first = await ask(path)
    tag = first.headers["ETag"]
    again = await ask(path, **{"If-None-Match": tag})
    panel.cloud.backups_of(1)[0].locked = True
    changed = await ask(path, **{"If-None-Match": tag})

    assert tag.startswith('W/"')
    assert first.headers["Cache-Control"] == "max-age=0, private, must-revalidate"
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert changed.status == 200
    assert changed.rows[0]["locked"] is True


async def test_servers_that_come_and_go_leave_nothing(panel: Panel, ask: Ask) -> None:
    """A panel that serves for weeks needs no more memory than one that has begun."""
    before = kept_bodies()
    for _ in range(50):
        server = panel.cloud.add_server()
        await ask(f"/virtual_machines/{server.id}/backups.json")
        panel.cloud.remove_server(server.id)

    assert kept_bodies() - before <= 1


def kept_bodies() -> int:
    """Return how many bodies all panels keep."""
    gc.collect()
    return sum(isinstance(each, ResponseContent) for each in gc.get_objects())


async def test_another_way_of_writing_is_another_body(panel: Panel, ask: Ask) -> None:
    """What was kept is not served in a wrong zone."""
    path = "/virtual_machines/1/backups.json"
    before = await ask(path)
    panel.utc_offset = "+02:00"
    after = await ask(path)

    assert before.headers["ETag"] != after.headers["ETag"]
    assert after.rows[0]["created_at"].endswith("+02:00")


async def test_a_session_is_opened_unless_there_is_one(panel: Panel, ask: Ask) -> None:
    """A request with the cookie opens no other session; a restart forgets them."""
    first = await ask("/version.json")
    cookie = first.headers["Set-Cookie"].split(";")[0]
    again = await ask("/version.json", Cookie=cookie)
    other = await ask("/version.json", Cookie="_session_id=unknown")

    assert "HttpOnly" in first.headers["Set-Cookie"]
    assert "Set-Cookie" not in again.headers
    assert "Set-Cookie" in other.headers
    assert panel.sessions_opened == 2
    assert panel.requests[1].cookie == cookie.partition("=")[2]


@pytest.mark.parametrize(
    "header", [BAD["Authorization"], "", "Basic %%%", "Bearer x", "Basic /////w=="]
)
async def test_wrong_credentials_are_refused(
    panel: Panel, ask: Ask, header: str
) -> None:
    """With the panel's words, and counted."""
    got = await ask("/version.json", Authorization=header)

    assert got.status == 401
    assert list(json.loads(got.body)) == ["errors"]
    assert sum(panel.failed_attempts.values()) == 1
    assert panel.requests[0].authorized is False
    assert panel.sessions_opened == 0


async def test_an_account_is_locked_after_too_many_tries(
    panel: Panel, ask: Ask
) -> None:
    """Then the right password is refused, too, until it is unlocked."""
    panel.lock_after = 2
    await ask("/version.json", **BAD)
    before = await ask("/version.json")
    for _ in range(2):
        await ask("/version.json", **BAD)
    locked = await ask("/version.json")
    panel.authenticator.unlock()
    after = await ask("/version.json")

    assert [before.status, locked.status, after.status] == [200, 401, 200]
    assert panel.failed_attempts == {"demo@example.com": 4}


async def test_a_missing_permission_is_forbidden(panel: Panel, ask: Ask) -> None:
    """Only what the role may see is answered."""
    panel.permissions = {"backups.read"}
    allowed = await ask("/virtual_machines/1/backups.json")
    refused = await ask("/transactions.json")

    assert (allowed.status, refused.status) == (200, 403)


async def test_a_role_may_see_its_own_servers_only(panel: Panel, ask: Ask) -> None:
    """The lists are silently partial, the rest is not found."""
    panel.visible = lambda server: server.id == 2
    listed = await ask("/virtual_machines.json")
    disks = await ask("/settings/disks.json")
    schedules = await ask("/settings/schedules.json")
    tasks = await ask("/transactions.json")
    hidden = await ask("/virtual_machines/1/backups.json")
    backup_id = panel.cloud.backups_of(1)[0].id
    hidden_row = await ask(f"/backups/{backup_id}.json")
    hidden_disk = await ask("/settings/disks/101/schedules.json")
    hidden_task = await ask(f"/transactions/{min(panel.cloud.transactions)}.json")

    assert [row["id"] for row in listed.rows] == [2]
    assert {row["virtual_machine_id"] for row in disks.rows} == {2}
    assert {row["id"] for row in schedules.rows} == {504, 505, 506}
    assert {row["associated_object_id"] for row in tasks.rows} == {2}
    assert [hidden.status, hidden_row.status, hidden_disk.status] == [404, 404, 404]
    assert hidden_task.status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/virtual_machines/99/backups.json",
        "/virtual_machines/unknown/backups.json",
        "/backups/99.json",
        "/transactions/9999.json",
        "/settings/disks/99/schedules.json",
        "/nothing.json",
    ],
)
async def test_what_does_not_exist_is_not_found(ask: Ask, path: str) -> None:
    """With the panel's words."""
    got = await ask(path)

    assert got.status == 404
    assert json.loads(got.body) == {"errors": ["Resource not found"]}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("string", {"error": "Resource not found"}),
        ("array", {"errors": ["Resource not found"]}),
        ("base", {"errors": {"base": ["Resource not found"]}}),
    ],
)
async def test_errors_come_in_three_shapes(
    panel: Panel, ask: Ask, shape: Any, expected: object
) -> None:
    """In XML they have one."""
    panel.error_shape = shape
    in_json = await ask("/backups/99.json")
    in_xml = await ask("/backups/99.xml")

    assert json.loads(in_json.body) == expected
    assert [value(e) for e in in_xml.elements] == ["Resource not found"]


async def test_the_format_comes_from_suffix_or_accept(ask: Ask) -> None:
    """Without both there is a page of HTML."""
    by_accept = await ask("/virtual_machines", Accept="application/json")
    in_xml = await ask("/virtual_machines", Accept="application/xml")
    neither = await ask("/virtual_machines")

    assert len(by_accept.rows) == len(in_xml.elements) == 2
    assert neither.status == 200
    assert neither.headers["Content-Type"].startswith("text/html")


async def test_the_date_is_the_panels(panel: Panel, ask: Ask) -> None:
    """Its clock may be wrong."""
    right = await ask("/version.json")
    panel.date_skew_seconds = 3600
    wrong = await ask("/version.json")

    assert right.headers["Date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert wrong.headers["Date"] == "Tue, 14 Nov 2023 23:13:20 GMT"


async def test_bodies_may_be_chunked_or_compressed(panel: Panel, ask: Ask) -> None:
    """And the connection closed after each; none of that without being told."""
    plain = await ask("/virtual_machines/1/backups.json")
    panel.chunked, panel.gzip, panel.keep_alive = True, True, False
    with_headers = await ask("/virtual_machines/1/backups.json")
    framing = {"Transfer-Encoding", "Content-Encoding", "Connection"}

    assert framing.isdisjoint(plain.headers)
    assert with_headers.rows == plain.rows
    assert with_headers.headers["Transfer-Encoding"] == "chunked"
    assert with_headers.headers["Content-Encoding"] in {"gzip", "deflate"}
    assert with_headers.headers["Connection"] == "close"


async def test_a_panel_may_live_below_a_path() -> None:
    """Nothing is found beside it."""
    async with (
        Panel(a_world(), base_path="/cp") as panel,
        aiohttp.ClientSession(headers=GOOD) as session,
    ):
        async with session.get(f"{panel.url}/version.json") as below:
            pass
        async with session.get(panel.url[:-3] + "/version.json") as beside:
            pass

    assert panel.url.endswith("/cp")
    assert (below.status, beside.status) == (200, 404)


async def test_the_world_moves_with_the_clock(panel: Panel, ask: Ask) -> None:
    """Before each answer, as far as the clock has gone."""
    clock = HandSet(START)
    panel.clock = clock
    before = await ask("/virtual_machines/1/backups.json")
    clock.move(DAY)
    after = await ask("/virtual_machines/1/backups.json")

    assert panel.cloud.now == START + DAY
    assert after.rows[-1]["id"] > before.rows[-1]["id"]


async def test_requests_are_kept_for_inspection(panel: Panel, ask: Ask) -> None:
    """What was asked, how, and what came of it."""
    await ask("/virtual_machines/2/backups.json?x=1", Accept="application/json")
    asked = panel.requests[-1]

    assert (asked.method, asked.path) == ("GET", "/virtual_machines/2/backups.json")
    assert (asked.query, asked.accept) == ({"x": "1"}, "application/json")
    assert (asked.resource, asked.server_id, asked.status) == ("backups", 2, 200)
    assert asked.authorized is True
    assert panel.request_log.requests_for("backups", 2) == [asked]
    assert panel.request_log.requests_for("version") == []


async def test_requests_in_flight_are_counted(panel: Panel, ask: Ask) -> None:
    """All together and by path."""
    held = panel.faults.add(faults.hang())
    asking = [asyncio.create_task(ask("/version.json")) for _ in range(3)]
    await until(lambda: panel.in_flight == 3)
    held.remove()
    statuses = [(await task).status for task in asking]

    assert statuses == [200, 200, 200]
    assert (panel.in_flight, panel.most_in_flight) == (0, 3)
    assert panel.request_log.most_in_flight_by_path["/version.json"] == 3


async def test_other_methods_find_nothing(panel: Panel) -> None:
    """The exporter must never write; if it tries, it is seen."""
    async with (
        aiohttp.ClientSession(headers=GOOD) as session,
        session.delete(f"{panel.url}/backups/1001.json") as response,
    ):
        status = response.status

    assert status == 404
    assert panel.requests[-1].method == "DELETE"


async def test_a_refusal_by_fault_counts_as_a_try(panel: Panel, ask: Ask) -> None:
    """So that a test can see how often a client tried."""
    panel.lock_after = 1
    panel.faults.add(faults.unauthorized(), times=1)
    await ask("/version.json")

    assert panel.locked == {"demo@example.com"}


async def test_a_hanging_request_ends_with_its_client(panel: Panel) -> None:
    """Nothing is left behind in the panel."""
    panel.faults.add(faults.hang())
    async with aiohttp.ClientSession(headers=GOOD) as session:

        async def wait_for_ever() -> None:
            await session.get(f"{panel.url}/version.json")

        asking = asyncio.create_task(wait_for_ever())
        await until(lambda: panel.in_flight == 1)
        asking.cancel()
        await until(lambda: not panel.in_flight)

    assert panel.requests[-1].status is None


@pytest.mark.parametrize(
    "fault",
    [
        faults.hang(),
        faults.slow(10 * _LONGEST_REAL_WAIT_SECONDS),
        faults.slow(10 * _LONGEST_REAL_WAIT_SECONDS, body=True),
        faults.flood(),
    ],
)
async def test_a_panel_stops_promptly_whatever_it_does(
    fault: faults.Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No fault outlives its panel, nor is waited for as others' requests are."""
    monkeypatch.setattr(
        "exporter.demo.panel.server._SHUTDOWN_SECONDS",
        10.0 * _LONGEST_REAL_WAIT_SECONDS,
    )
    panel = Panel(a_world())
    await panel.start()
    panel.faults.add(fault)

    async def drain(session: aiohttp.ClientSession) -> None:
        async with session.get(f"{panel.url}/version.json") as response:
            async for _ in response.content.iter_any():
                pass

    async with aiohttp.ClientSession(headers=GOOD) as session:
        asking = asyncio.create_task(drain(session))
        await until(lambda: panel.in_flight == 1)
        async with asyncio.timeout(_LONGEST_REAL_WAIT_SECONDS):
            await panel.stop()
        await asyncio.gather(asking, return_exceptions=True)

    assert panel.in_flight == 0


async def test_the_demo_stands_ready() -> None:
    """One call serves the demo cloud, up to the clock's moment."""
    async with (
        demo_panel(clock=HandSet(START)) as panel,
        aiohttp.ClientSession(headers=GOOD) as session,
        session.get(f"{panel.url}/virtual_machines.json") as response,
    ):
        servers = await response.json()

    assert len(servers) == len(panel.cloud.servers) > 20
    assert panel.cloud.now == START
