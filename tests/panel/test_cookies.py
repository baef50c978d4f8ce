"""Cookies: a panel, or what is in front of it, sets them and may refuse them later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web
from builders import a_cloud
from faults import ActiveFault, Fault, FaultContext, Proceed
from harness import BACKUPS_ONLY, MonitoredCloud
from harness import monitored as monitored_with

monitored = partial(monitored_with, collectors=BACKUPS_ONLY)

MINUTE = 60
INTERVAL = 15 * MINUTE
HOURS_OF_REST = 3600 * 2
SET = "front=abcdefgh"


@dataclass(eq=False)
class Front:
    """Something in front of the panel that sets cookies and looks at them."""

    set_cookie: Callable[[], str] = lambda: SET
    refuse: Callable[[str, FaultContext], web.Response | None] = lambda _c, _r: None
    """Called with the ``Cookie`` header of a request."""
    seen: list[str] = field(default_factory=list)
    refused: int = 0

    def fault(self) -> Fault:
        """Return it as a fault of the panel."""

        async def act(
            context: FaultContext, _fault: ActiveFault, proceed: Proceed
        ) -> web.StreamResponse:
            await asyncio.sleep(0)
            cookie = context.request.headers.get("Cookie", "")
            self.seen.append(cookie)
            refusal = self.refuse(cookie, context)
            if refusal is not None:
                self.refused += 1
                return refusal
            response = await proceed()
            response.headers.add("Set-Cookie", self.set_cookie())
            return response

        return Fault(act)


def refusing(
    code: int, cookie: str = SET, headers: Mapping[str, str] | None = None
) -> Callable[[str, FaultContext], web.Response | None]:
    """Refuse every request that carries this cookie."""

    def refuse(sent: str, context: FaultContext) -> web.Response | None:
        if cookie not in sent:
            return None
        response = context.refusal(code)
        response.headers.update(headers or {})
        return response

    return refuse


async def is_well(cloud: MonitoredCloud) -> bool:
    """Return whether everything is read."""
    polled = await cloud.series("onapp_vm_poll_success")
    return (
        await cloud.value("onapp_up") == 1
        and set((await cloud.series("onapp_collector_success")).values()) == {1.0}
        and set(polled.values()) == {1.0}
    )


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308, 400, 401, 403, 413, 431])
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
async def test_a_cookie_that_is_refused_is_dropped(
    code: int, *, later: bool, tmp_path: Path
) -> None:
    """The key is right: the panel is found without the cookie."""
    front = Front()
    panel = a_cloud(3)
    panel.faults.add(front.fault())
    if not later:
        front.refuse = refusing(code)
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(INTERVAL)
        front.refuse = refusing(code)
        await cloud.advance(4 * INTERVAL)
        await cloud.advance(5 * INTERVAL)

        assert front.refused <= 10 * 11
        assert await is_well(cloud)


async def test_a_refused_cookie_is_no_refused_key(tmp_path: Path) -> None:
    """One request without cookies decides: no silence, no alert."""
    front = Front()
    panel = a_cloud(3)
    panel.faults.add(front.fault())
    async with monitored(panel, tmp_path) as cloud:
        front.refuse = refusing(401)
        for _ in range(60):
            await cloud.advance(MINUTE)
            assert await cloud.value("onapp_up") == 1

        assert await is_well(cloud)
        assert 1 <= front.refused <= 5 * 8


@pytest.mark.parametrize("code", [302, 401, 503])
async def test_a_portal_sets_no_cookies(code: int, tmp_path: Path) -> None:
    """What comes with an answer that is not good is not kept."""
    front = Front()
    names = count()
    panel = a_cloud(3)

    def portal(_sent: str, context: FaultContext) -> web.Response:
        response = context.refusal(code)
        response.headers["Set-Cookie"] = f"portal{next(names)}={'x' * 500}"
        return response

    panel.faults.add(front.fault())
    async with monitored(panel, tmp_path) as cloud:
        front.refuse = portal
        await cloud.advance(INTERVAL)
        front.refuse = Front().refuse
        await cloud.advance(HOURS_OF_REST)

        assert not any("portal" in cookie for cookie in front.seen)
        assert await is_well(cloud)


@pytest.mark.parametrize("length", [1, 500, 3000, 5000])
async def test_few_cookies_are_kept(length: int, tmp_path: Path) -> None:
    """However many names a good answer uses, and however long they are."""
    names = count()
    front = Front(set_cookie=lambda: f"c{next(names)}={'x' * length}")
    panel = a_cloud(5)
    panel.faults.add(front.fault())
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(4 * INTERVAL)

        assert max(len(cookie) for cookie in front.seen) <= 4096
        assert max(cookie.count("=") for cookie in front.seen) <= 8
        assert await is_well(cloud)


@pytest.mark.parametrize(
    "pair",
    [
        "AWSALB=abc+d/ef==",
        'quoted="a, b"',
        "json={%22a%22:1}",
        "odd[name]=a@b:c,d e\\f",
        "_x=a=b=c",
        "empty=",
        "a/b=c",
    ],
)
async def test_a_cookie_is_sent_back_as_it_came(pair: str, tmp_path: Path) -> None:
    """Nothing is quoted: servers compare bytes."""
    front = Front(set_cookie=lambda: f"{pair}; Path=/; HttpOnly")
    panel = a_cloud()
    panel.faults.add(front.fault())
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(INTERVAL)

        assert pair in front.seen[-1].split("; ")


@pytest.mark.parametrize(
    "header",
    [
        "a=b\tc",
        "a=é",
        "=a",
        "a",
        ";",
        "a b=c",
        "a=b; Max-Age=0",
        "a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "a=b; Path=/elsewhere",
        "a=b; Secure",
        f"a={'x' * 4096}",
    ],
)
async def test_other_cookies_are_not_sent(header: str, tmp_path: Path) -> None:
    """They cannot be sent, or ask not to be."""
    front = Front(set_cookie=lambda: header)
    panel = a_cloud()
    panel.faults.add(front.fault())
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(INTERVAL)

        assert {cookie.split("=")[0] for cookie in front.seen} <= {"", "_session_id"}
        assert await is_well(cloud)


async def test_a_cookie_ends(tmp_path: Path) -> None:
    """As it says itself."""
    front = Front(set_cookie=lambda: f"{SET}; Max-Age=600")
    panel = a_cloud()
    fault = panel.faults.add(front.fault())
    async with monitored(panel, tmp_path) as cloud:
        fault.remove()
        front.set_cookie = lambda: "other=value"
        panel.faults.add(front.fault())
        await cloud.advance(INTERVAL)

        assert any(SET in cookie for cookie in front.seen)
        assert SET not in front.seen[-1]


async def test_a_reload_drops_cookies(tmp_path: Path) -> None:
    """Also those of a panel whose section is unchanged."""
    front = Front()
    panel = a_cloud()
    panel.faults.add(front.fault())
    async with monitored(panel, tmp_path) as cloud:
        before = len(front.seen)
        await cloud.exporter.reload()
        await cloud.advance(INTERVAL)

        assert SET in front.seen[before - 1]
        assert front.seen[before] == ""


async def test_cookies_belong_to_credentials(tmp_path: Path) -> None:
    """Another key is tried without them."""
    front = Front()
    panel = a_cloud()
    panel.faults.add(front.fault())
    async with monitored(panel, tmp_path) as cloud:
        before = len(front.seen)
        panel.password = "another"
        (tmp_path / "api-key").write_text("another")
        await cloud.advance(INTERVAL)

        assert front.seen[before] == ""
        assert panel.failed_attempts == {}
