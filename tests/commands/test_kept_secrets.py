"""Whatever goes wrong, nothing that is said holds a secret.

In play are the API key, a proxy's password, session cookies, the root passwords that
panels list, and the logs of their tasks. Said is what the log, every page with its
headers, and the process's arguments hold.
"""

from __future__ import annotations

import asyncio
import html
import io
import json
import logging
import re
import signal
import sys
import traceback
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import faults
import pytest
import structlog
import yaml
from aiohttp import web
from exporter_process import exporter_process, fetch, poll_until
from faults import ActiveFault, Fault, FaultContext, Proceed
from faulty_panel import Panel
from harness import NOW, monitored
from secret_leaks import encodings, leaks

from exporter import logs
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.model.entities import Backup
from exporter.onapp.api import PanelApi

KEY = 'aPi-"k3y"&/<é> x'
PROXY = "pr0xy/p@ss wörd"
ROOT = "r00t<s3cret>&1"
REMOTE = "rem0te's3cret"
TASK = "internal-10.9.8.7-trace"
ELSEWHERE = "els3where:pass"
SECRETS = (KEY, PROXY, ROOT, REMOTE, TASK, ELSEWHERE)
INTERVAL = 300.0
ANYWHERE = "--web.listen-address=127.0.0.1:0"
PATHS = ("/metrics", "/", "/config", "/-/healthy", "/-/ready", "/none")


def a_panel() -> Panel:
    """Return a panel that sends secrets with much that it answers."""
    world = SimulatedCloud(NOW)
    for _ in range(2):
        server = world.add_server(created_at=NOW - 1e7)
        server.initial_root_password = ROOT
        server.remote_access_password = REMOTE
        world.add_backup(server.id)
        schedule = world.add_schedule("Disk", world.disks_of(server.id)[0].id)
        world.log_start(schedule, "failed", TASK)
        world.add_transaction(status="failed", log_output=TASK)
    return Panel(world, password=KEY)


def echo(status: int, form: str, *, headers: dict[str, str] | None = None) -> Fault:
    """Refuse, and repeat in the body all that was sent and more."""

    async def act(
        scene: FaultContext, _: ActiveFault, __: Proceed
    ) -> web.StreamResponse:
        sent = scene.request.headers
        login = sent.get("Authorization", "Basic ").partition(" ")[2]
        words = [*sent.values(), b64decode(login).decode(), quote(KEY), repr(KEY)]
        if form == "html":
            return web.Response(
                status=status,
                text=f"<html>{html.escape(str(words))}</html>",
                content_type="text/html",
                headers=headers,
            )
        body = json.dumps({"errors": {"base": [f"no: {word}" for word in words]}})
        if form == "xml":
            printed = "".join(f"<error>{html.escape(word)}</error>" for word in words)
            body = f"<errors>{printed}</errors>"
        return web.Response(
            status=status,
            text=body,
            content_type=f"application/{form}",
            headers=headers,
        )

    return Fault(act)


def bodies(form: str) -> Iterator[str]:
    """Yield good and bad answers in which secrets stand where they can be quoted."""
    for secret in (ROOT, KEY):
        if form == "json":
            text = json.dumps(secret)
            yield from (
                f'[{{"backup": {{"id": 1, "initial_root_password": {text} oops',
                f'[{{"backup": {{"id": {text}}}}}, {{"backup": {{"id": 2}}}}]',
                f'[{{"backup": {{"id": 1, "built": {text}}}}}, {{"backup": {{}}}}]',
                f'[{{"backup": {{"id": 1, "created_at": {text}}}}}]',
                f'[{{"backup": {{{text}: 1}}}}]',
                f"{{{text}: [1]}}",
                f'{{"virtual_machines": {text}}}',
                f"[{text}]",
                text,
                secret,
            )
        else:
            text = html.escape(secret)
            tag = TASK  # the one that can be a name
            yield from (
                f"<backups><backup><id>1</id><password>{text}</oops>",
                f"<backups><backup><id>{text}</id></backup><backup><id>2</id></backup></backups>",
                f"<backups><backup><id>1</id><built>{text}</built></backup></backups>",
                f"<backups><backup {tag}={text!r}/></backups>",
                f"<{tag}/>",
                f'<?xml version="1.0" encoding="{tag}"?><backups/>',
                f"<!DOCTYPE {tag}><backups/>",
                f"<backups>&{tag};</backups>",
                text,
            )


def problems(form: str) -> Iterator[Fault]:
    """Yield ways to fail, each with secrets in it."""
    kind = {"Content-Type": f"application/{form}"}
    yield from (
        faults.unauthorized(),
        echo(401, form),
        echo(403, form),
        echo(407, form),
        echo(422, form),
        echo(429, form, headers={"Retry-After": TASK}),
        echo(500, "html"),
        echo(500, form),
        echo(
            302,
            form,
            headers={"Location": f"https://user:{quote(ELSEWHERE)}@h.invalid/"},
        ),
        echo(200, "html"),
        faults.redirect(f"https://user:{quote(ELSEWHERE)}@127.0.0.1:1/"),
        faults.cut(),
        faults.reset(),
        faults.bad_rows(),
        faults.answer(200, {**kind, "Set-Cookie": f"{TASK} x={TASK}"}, b"["),
        faults.answer(200, {**kind, "ETag": TASK, "Date": TASK}, b"["),
    )
    for body in bodies(form):
        yield faults.answer(200, kind, body.encode())


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Let the log at its most talkative be kept."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("debug", "logfmt", stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)


async def pages(base: str) -> dict[str, str]:
    """Return every page, with its headers, by its path."""
    found = {}
    async with aiohttp.ClientSession() as session:
        for path in PATHS:
            async with session.get(base + path) as answer:
                found[path] = f"{answer.headers} {await answer.text()}"
    return found


def sessions(panel: Panel) -> set[str]:
    """Return the cookies that the panel has seen again."""
    return {asked.cookie for asked in panel.requests if asked.cookie}


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_a_faulty_run_says_no_secret(
    form: str, tmp_path: Path, log: io.StringIO
) -> None:
    """Each fault at every request, one after the other, and well in between."""
    panel = a_panel()
    printed: dict[str, str] = {}
    happened = 0
    often = {"interval": "5m"}
    async with monitored(
        panel, tmp_path, format=form, discovery=often, poll=often
    ) as cloud:
        cookies = sessions(panel)
        for number, problem in enumerate(problems(form)):
            placed = panel.faults.add(problem)
            await cloud.advance(INTERVAL)
            printed |= {
                f"{p} {number}": t for p, t in (await pages(cloud.base)).items()
            }
            happened += placed.happened > 0
            placed.remove()
            panel.authenticator.locked.clear()
            await cloud.advance(INTERVAL)
            for _ in range(24):  # a refused key has to wait
                if await cloud.value("onapp_up") == 1:
                    break
                await cloud.advance(INTERVAL)
            assert await cloud.value("onapp_up") == 1, problem
        cookies |= sessions(panel)
    printed["log"] = log.getvalue()

    assert happened == number + 1
    assert cookies
    assert printed["log"].count("panel unreachable") >= 10
    assert leaks(printed, {*SECRETS, *cookies}) == []


class Quoting(PanelApi):
    """A reader with a bug whose error quotes what it was reading."""

    async def backups(self, vm_id: int) -> tuple[Backup, ...]:
        """Raise what a careless line might."""
        await super().backups(vm_id)
        password = ROOT
        try:
            int(password)
        except ValueError as error:
            raise LookupError(f"cannot read {password!r}") from error
        return ()


async def test_a_bug_says_where_it_is_and_nothing_of_what_it_read(
    tmp_path: Path, log: io.StringIO
) -> None:
    """The names of files, functions and errors help; messages may quote an answer."""
    async with monitored(a_panel(), tmp_path) as cloud:
        poller = cloud.exporter.manager.panel_tasks["cp"].poller
        sound = poller.api
        poller.inventory.servers.api = Quoting(sound.panel, sound.client, sound.breaker)
        await cloud.advance(4 * INTERVAL)
        printed = {"log": log.getvalue(), **await pages(cloud.base)}

    assert leaks(printed, SECRETS) == []
    assert "test_kept_secrets.py" in printed["log"]
    assert "in backups" in printed["log"]
    assert "LookupError" in printed["log"]
    assert "ValueError" in printed["log"]
    assert printed["log"].count('bug in the exporter"') == 1


async def test_a_task_that_fails_unseen_says_no_more(log: io.StringIO) -> None:
    """Asyncio reports it with its arguments and its error, message and all."""
    loop = asyncio.get_running_loop()

    async def fail(password: str) -> None:
        raise ValueError(password)

    def called(password: str) -> None:
        raise ValueError(password)

    task = loop.create_task(fail(ROOT))
    loop.call_soon(called, ROOT)
    await asyncio.wait([task])
    error = task.exception()
    loop.call_exception_handler(
        {"message": "Task failed", "exception": error, "future": task}
    )

    assert log.getvalue().count("\\nValueError") == 2
    assert "in called" in log.getvalue()
    assert leaks({"log": log.getvalue()}, [ROOT]) == []


def test_the_end_by_a_bug_says_no_message(log: io.StringIO) -> None:
    """What nobody catches is logged like any other bug, once."""
    try:
        int(ROOT)
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)

    assert log.getvalue().count("\n") == 1
    assert "stopped by a bug" in log.getvalue()
    assert "ValueError" in log.getvalue()
    assert leaks({"log": log.getvalue()}, [ROOT]) == []


async def test_no_object_of_a_run_shows_a_secret(tmp_path: Path) -> None:
    """Also to tools that print the variables of each frame."""
    proxy = f"http://user:{quote(PROXY, safe='')}@127.0.0.1:1"
    async with monitored(a_panel(), tmp_path, proxy_url=proxy) as cloud:
        member = cloud.exporter.manager.panel_tasks["cp"]
        client = member.poller.api.client
        objects = (
            *(member, member.panel, member.panel.account, member.poller, client),
            *(member.sessions, member.poller.api, member.poller.breaker),
            *(cloud.exporter, replace(client), member.panel.tls),
            member.panel.account.credentials(),
        )
        printed = {type(thing).__name__: repr(thing) for thing in objects}

    assert leaks(printed, SECRETS) == []


# The real process.


def arguments(number: int) -> str:
    """Return the command line of a process, as everybody on the machine sees it."""
    return Path(f"/proc/{number}/cmdline").read_text("utf-8")


@asynccontextmanager
async def refusing_proxy() -> AsyncIterator[str]:
    """Serve a proxy that lets nothing through and repeats what it was sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        status = b"502 Bad" if head.count(b"version") else b"407 Who"
        body = json.dumps({"errors": [head.decode(), PROXY]}).encode()
        writer.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n\r\n%s" % (status, body)
        )
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://user:{quote(PROXY, safe='')}@127.0.0.1:{port}"


def misplaced() -> Iterator[Any]:
    """Yield configurations with a secret where it does not belong."""
    good = {"username": "ops", "password": KEY}
    for panel in (
        {"basic_auth": {"username": "ops", "password": [KEY]}},
        {"basic_auth": {"username": "ops", "password": {KEY: 1}}},
        {"basic_auth": {"username": "ops", "password": KEY, "password_file": KEY}},
        {"basic_auth": {"username": "ops", "password_file": KEY}},
        {"basic_auth": {"username": "ops", "passwort": KEY}},
        {"basic_auth": {"username": f"ops:{KEY}", "password": KEY}},
        {"basic_auth": {"username": [KEY]}},
        {"basic_auth": f"ops:{KEY}"},
        {"basic_auth": ["ops", KEY]},
        {"basic_auth": {**good, "password": f"{KEY}\n{KEY}"}},
        {"url": f"https://ops:{quote(KEY, safe='')}@cp.example.com"},
        {"url": f"https://cp.example.com/?key={quote(KEY, safe='')}"},
        {"url": f"ops:{KEY}@cp"},
        {"basic_auth": good, "proxy_url": f"ops:{PROXY}@proxy"},
        {"basic_auth": good, "proxy_url": f"socks5://ops:{quote(PROXY)}@proxy:1"},
        {"basic_auth": good, "password": KEY},
        {"basic_auth": good, "tls_config": {"key_file": ROOT, "cert_file": ROOT}},
        {"basic_auth": good, "tls_config": ROOT},
    ):
        yield yaml.safe_dump({"panels": [{"url": "https://cp.example.com", **panel}]})
    yield f"panels: [{{basic_auth: {{password: {KEY}}}}}]"
    yield f"panels:\n- url: https://x\n  basic_auth:\n    password: {KEY}: x\n\t"
    yield f'{{"password": "{ROOT}'


async def test_a_faulty_process_says_no_secret(tmp_path: Path) -> None:
    """With panels that fail in different ways, bad files, and a secret that is lost."""
    poll = {"interval": "1s", "timeout": "5s"}
    key, file = tmp_path / "api-key", tmp_path / "onapp.yml"
    key.write_text(KEY)
    panels = [a_panel() for _ in range(5)]
    panels[1].faults.add(echo(500, "json"), resource="backups")
    panels[2].faults.add(faults.redirect(f"https://user:{quote(ELSEWHERE)}@h.invalid/"))
    panels[3].password = "another"
    for _ in range(8):
        panels[4].cloud.add_server()
    panels[4].faults.add(faults.bad_rows(0.5), resource="virtual_machines")
    printed: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(refusing_proxy())
        for panel in panels:
            await stack.enter_async_context(panel)
        login = {"username": panels[0].username, "password_file": key.name}
        sections = [
            {"name": f"cp{n}", "url": panel.url, "basic_auth": login}
            for n, panel in enumerate(panels)
        ]
        sections.append(
            {
                "name": "behind",
                "url": "http://cp.invalid",
                "proxy_url": proxy,
                "basic_auth": {"username": "ops", "password": KEY},
            }
        )
        good = yaml.safe_dump({"panels": sections, "poll": poll})
        file.write_text(good)
        process = await stack.enter_async_context(
            exporter_process(f"--config.file={file}", ANYWHERE, "--log.level=debug")
        )
        base = await process.base_url()
        await poll_until(base + "/-/ready", lambda status, _: status == 200)
        printed |= await pages(base)
        key.unlink()
        await process.wait_for("secret file could not be read")
        refused = 0
        for number, text in enumerate(misplaced()):
            file.write_text(text)
            status, printed[f"reload {number}"] = await fetch(
                base + "/-/reload", "POST"
            )
            refused += status == 500
        process.send(signal.SIGHUP)
        await process.wait_for(
            "configuration could not be reloaded, keeping the old one"
        )
        key.write_text(KEY)
        file.write_text(good)
        await process.wait_for("secret file reloaded")
        reloaded, printed["reloaded"] = await fetch(base + "/-/reload", "POST")
        printed |= {f"{path} later": text for path, text in (await pages(base)).items()}
        printed["arguments"] = arguments(process.process.pid)
        process.send(signal.SIGTERM)
        status = await process.wait()
        cookies = {cookie for panel in panels for cookie in sessions(panel)}
    printed |= {"out": "".join(process.out), "err": "".join(process.err)}

    assert (status, reloaded) == (0, 200)
    assert refused == number + 1
    assert len(re.findall("msg=.panel (?:unreachable|refuses)", printed["err"])) >= 3
    assert "row skipped" in printed["err"]
    assert "listen-address" in printed["arguments"]
    assert leaks(printed, {*SECRETS, *cookies}) == []


# The search itself.


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        json.dumps,
        quote,
        html.escape,
        str.upper,
        lambda text: json.dumps({"error": json.dumps(text)}),
        lambda text: b64encode(f"ops:{text}".encode()).decode(),
        lambda text: b64encode(f"o:{text}:and so on".encode()).decode(),
        lambda text: b64encode(f"op:{text}".encode()).decode(),
        lambda text: quote(text, safe="").lower(),
        lambda text: text.encode().hex(),
    ],
)
def test_a_secret_that_was_said_is_found(write: Any, secret: str) -> None:
    """However it was written, and in the middle of other text."""
    assert ("log", secret) in leaks({"log": f"before {write(secret)} after"}, SECRETS)


def test_nothing_is_found_where_nothing_was_said() -> None:
    """The forms are long enough not to stand anywhere by accident."""
    assert leaks({"log": "HTTP 401: <secret> of ops@example.com"}, SECRETS) == []
    assert min(len(form) for secret in SECRETS for form in encodings(secret)) >= 8


def test_a_traceback_in_the_log_shows_no_variable(log: io.StringIO) -> None:
    """As tools do that are made for development."""
    password = ROOT
    try:
        int(f"x{len(password)}")
    except ValueError as error:
        structlog.get_logger().exception("odd")
        shown = "".join(
            traceback.TracebackException.from_exception(
                error, capture_locals=True
            ).format()
        )

    assert ROOT in shown
    assert ROOT not in log.getvalue()
    assert "ValueError" in log.getvalue()
