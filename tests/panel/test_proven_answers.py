"""Answers that only the panel can have sent, and those that anything else may send.

A page or an empty body of a portal, a balancer or a default site proves no key, refuses
nothing and says of no server that it is gone.
"""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path
from typing import Any

import faults
import pytest
from builders import a_cloud, in_both_formats
from faults import Fault
from faulty_panel import Panel
from harness import NOW, MonitoredCloud, SteppedClock, monitored, running_exporter
from harness import write_config as write_configuration

from exporter.demo.panel.routes import Resource

MINUTE = 60
HOUR = 3600
INTERVAL = 15 * MINUTE
_JSON = {"Content-Type": "application/json; charset=utf-8"}
_NOT_JSON = {"Content-Type": "text/html; charset=utf-8"}

UNPROVEN = {
    "maintenance page": faults.html(),
    "404 page": faults.html_error(404),
    "403 page": faults.html_error(403),
    "422 page": faults.html_error(422),
    "empty 404": faults.answer(404),
    "empty 403": faults.answer(403, _NOT_JSON),
    "empty 200": faults.answer(200),
    "404 of another API": faults.answer(404, _JSON, b'{"message": "no route"}'),
    "403 that is null": faults.answer(403, _JSON, b'{"error": null, "errors": []}'),
    "404 with a list": faults.answer(404, _JSON, b'["errors"]'),
    "404 with cut JSON": faults.answer(404, _JSON, b'{"errors": ["not fou'),
    "200 of another API": faults.answer(200, _JSON, b'{"status": "maintenance"}'),
    "204": faults.answer(204),
    "503 page": faults.html_error(503),
    "redirect": faults.redirect("/sign_in"),
    "flood": faults.flood(),
}
LONG = json.dumps({"errors": {"base": ["no " + 20_000 * "permission "]}}).encode()
PROVEN = {
    "error": faults.answer(403, _JSON, b'{"error": "no"}'),
    "errors": faults.answer(404, _JSON, b'{"errors": ["no"]}'),
    "base": faults.answer(422, _JSON, b'{"errors": {"base": ["no"]}}'),
    "long": faults.answer(403, _JSON, LONG[:50_000] + b'"]}}'),
    "broken escape": faults.answer(403, _JSON, rb'{"error": "no \ud83d"}'),
    "as text": faults.answer(403, {"Content-Type": "text/plain"}, b'{"error": "no"}'),
}
PROVEN_XML = {
    "errors": b"<errors>\n  <error>no</error>\n</errors>",
    "hash": b"<hash><status>403</status><error>Forbidden</error></hash>",
}
UNPROVEN_XML = {
    "page": b"<html><body><h1>403 Forbidden</h1></body></html>",
    "store": b"<Error><Code>AccessDenied</Code></Error>",
    "empty errors": b'<errors type="array"/>',
    "another hash": b"<hash><fault>blocked</fault></hash>",
    "empty": b"",
}


def case(name: str, fault: Fault) -> Any:
    """Return a named parameter."""
    return pytest.param(fault, id=name)


unproven = pytest.mark.parametrize(
    "page", [case(name, fault) for name, fault in UNPROVEN.items()]
)
proven = pytest.mark.parametrize(
    "refusal", [case(name, fault) for name, fault in PROVEN.items()]
)


def servers_read(panel: Panel) -> set[int | None]:
    """Return the servers whose backups were sent."""
    rows = panel.request_log.requests_for("backups")
    return {row.server_id for row in rows if row.status in (200, 304)}


@unproven
async def test_a_page_does_not_prove_a_wrong_key(page: Fault, tmp_path: Path) -> None:
    """When the panel is back, its key is tried by one request alone."""
    panel, clock = a_cloud(30, lock_after=30), SteppedClock(NOW)
    panel.clock = clock.time
    fault = panel.faults.add(page)
    async with panel:
        file = tmp_path / "onapp.yml"
        write_configuration(file, panel, {}, {"poll": {"max_body": "1MiB"}})
        (tmp_path / "api-key").write_text("wrong")
        async with running_exporter(panel, file, clock) as cloud:
            await cloud.advance(HOUR)
            during, most = len(panel.requests), panel.request_log.most_in_flight
            up = await cloud.value("onapp_up")
            fault.remove()
            await cloud.advance(9 * MINUTE)
            info = await cloud.series("onapp_panel_info")

    assert sum(panel.failed_attempts.values()) == 1
    assert most == 1
    assert 10 <= during <= 60
    assert up == 0
    assert info == {}


@pytest.mark.parametrize(
    ("page", "good"),
    [
        pytest.param(page, good, id=f"{name}-{good}")
        for (name, page), good in zip(
            UNPROVEN.items(),
            cycle(("virtual_machines", "backups", "transactions")),
            strict=False,
        )
    ],
)
async def test_the_next_resource_is_asked_until_one_proves_the_key(
    page: Fault, good: Resource, tmp_path: Path
) -> None:
    """Whatever can be read is read, though the panel is not up."""
    panel = a_cloud(3)
    elsewhere = Fault(page.act, lambda context: context.resource != good)
    panel.faults.add(elsewhere)
    keys: dict[str, Any] = {"virtual_machines": [1, 2, 3]} if good == "backups" else {}
    keys["poll"] = {"max_body": "1MiB"}
    async with monitored(panel, tmp_path, **keys) as cloud:
        alone = panel.request_log.most_in_flight
        await cloud.advance(INTERVAL)
        info = await cloud.series("onapp_panel_info")
        up = await cloud.value("onapp_up")
        again = len(panel.requests)
        await cloud.advance(4 * INTERVAL)
        rows = panel.request_log.requests_for(good)

    assert alone == 1 or good == "virtual_machines"
    assert len(info) == 1
    assert up == 0
    assert len(panel.requests) - again < 500
    assert sum(row.at > NOW + 2 * INTERVAL for row in rows) >= 2
    assert good != "backups" or servers_read(panel) == {1, 2, 3}


@unproven
async def test_a_panel_behind_a_page_is_down_and_comes_back(
    page: Fault, tmp_path: Path
) -> None:
    """An hour of maintenance, with a key that has worked, and works again."""
    panel = a_cloud(5)
    async with monitored(panel, tmp_path, poll={"max_body": "1MiB"}) as cloud:
        fault = panel.faults.add(page)
        await cloud.advance(INTERVAL + MINUTE)
        during = await cloud.value("onapp_up")
        before = len(panel.requests)
        await cloud.advance(HOUR)
        sent = len(panel.requests) - before
        servers = await cloud.series("onapp_vm_info", panel="cp")
        fault.remove()
        await cloud.advance(5 * MINUTE)

        assert during == 0
        assert sent < 100
        assert len(servers) == 5
        assert await cloud.value("onapp_up") == 1
        await cloud.advance(INTERVAL)
        assert await cloud.value("onapp_up") == 1
        assert set((await cloud.series("onapp_vm_poll_success")).values()) == {1.0}
        assert set((await cloud.series("onapp_collector_success")).values()) == {1.0}


@proven
async def test_a_refusal_of_the_api_proves_the_key(
    refusal: Fault, tmp_path: Path
) -> None:
    """403, 404 and 422 come after the panel has looked at who asks."""
    panel = a_cloud(3)
    panel.faults.add(refusal)
    async with monitored(panel, tmp_path, virtual_machines=[1, 2, 3]) as cloud:
        await cloud.advance(INTERVAL)

        assert await up_and_known(cloud) == (1, 1)
        assert await cloud.value("onapp_collector_success", collector="backups") == 0


@pytest.mark.parametrize(
    ("body", "known"),
    [
        *(pytest.param(body, 1, id=name) for name, body in PROVEN_XML.items()),
        *(pytest.param(body, 0, id=name) for name, body in UNPROVEN_XML.items()),
    ],
)
async def test_refusals_in_xml(body: bytes, known: int, tmp_path: Path) -> None:
    """The API refuses with ``<errors>``, Rails itself with a ``<hash>``."""
    panel = a_cloud(3)
    panel.faults.add(faults.answer(403, {"Content-Type": "application/xml"}, body))
    servers = [1, 2, 3]
    async with monitored(
        panel, tmp_path, format="xml", virtual_machines=servers
    ) as cloud:
        await cloud.advance(INTERVAL)

        assert await up_and_known(cloud) == (known, known)


async def up_and_known(cloud: MonitoredCloud) -> tuple[float | None, int]:
    """Return ``onapp_up``, and whether the panel has proven that it is one."""
    info = await cloud.series("onapp_panel_info")
    return await cloud.value("onapp_up"), len(info)


@in_both_formats
@pytest.mark.parametrize(
    ("answer", "gone"),
    [(faults.status(404), True), (faults.html_error(404), False)],
    ids=["of the API", "page"],
)
async def test_only_a_404_of_the_api_removes_a_server(
    form: str, tmp_path: Path, answer: Fault, *, gone: bool
) -> None:
    """One inventory without it is not enough, and a page says nothing of it."""
    panel = a_cloud(3)
    async with monitored(panel, tmp_path, format=form) as cloud:
        panel.faults.add(answer, path="/virtual_machines/2/backups")
        await cloud.advance(INTERVAL)
        server = panel.cloud.servers.pop(2)
        await cloud.advance(9 * MINUTE)
        panel.cloud.servers[2] = server
        found = await cloud.series("onapp_vm_poll_success", panel="cp")

        assert found == {"vm_id=1": 1.0, "vm_id=3": 1.0} | (
            {} if gone else {"vm_id=2": 0.0}
        )


@pytest.mark.parametrize("resource", ["schedules", "disks", "transactions"])
@pytest.mark.parametrize("status", [403, 404, 422])
async def test_a_page_switches_no_collector_off(
    status: int, resource: Any, tmp_path: Path
) -> None:
    """It is tried again soon, as after any failure, not after an hour."""
    panel = a_cloud(3)
    path = f"(/settings)?/{resource}"
    fault = panel.faults.add(faults.html_error(status), path=path)
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(MINUTE)
        failed = await cloud.series("onapp_collector_success", panel="cp")
        fault.remove()
        await cloud.advance(10 * MINUTE)

        assert 0.0 in failed.values()
        assert set((await cloud.series("onapp_collector_success")).values()) == {1.0}
