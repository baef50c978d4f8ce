"""The program from outside: what it prints, and how it ends."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from exporter_process import exporter_process

from exporter import __version__, cli
from exporter.config import load as config

PROGRAM = "onapp-backup-exporter"
SCRIPT = Path(sys.executable).with_name(PROGRAM)
MODULE = (sys.executable, "-m", "exporter")
ENVIRONMENT = {
    "ONAPP_URL": "http://127.0.0.1:1",
    "ONAPP_USERNAME": "ops@example.com",
    "ONAPP_PASSWORD": "hunter2",
}
HEAVY = ("aiohttp", "asyncio", "msgspec", "prometheus_client", "structlog", "yaml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a good configuration file."""
    (tmp_path / "key").write_text("hunter2")
    path = tmp_path / "exporter.yml"
    path.write_text(
        "panels:\n"
        "  - url: https://cp.example.com\n"
        "    name: Zürich\n"
        "    basic_auth: {username: ops@example.com, password_file: key}\n",
        encoding="utf-8",
    )
    return path


def run(
    *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, with no variables but these."""
    return subprocess.run(
        arguments,
        capture_output=True,
        encoding="utf-8",
        env={"PATH": os.defpath, "COLUMNS": "80", **(environment or {})},
        timeout=30,
        check=False,
    )


@contextmanager
def serving(status: int) -> Iterator[str]:
    """Answer every request with a status; yield the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        """Knows one answer, and only to what a health check asks."""

        def do_GET(self) -> None:
            """Answer."""
            self.send_response(status if self.path == "/-/healthy" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def port_in_use() -> Iterator[str]:
    """Yield an address that somebody listens on, without ever answering."""
    with socket.create_server(("127.0.0.1", 0)) as accepted:
        yield f"127.0.0.1:{accepted.getsockname()[1]}"


# Version, help, usage.


def test_the_version_is_printed_without_loading_what_serves() -> None:
    """It must answer at once, and so must the health check."""
    ended = run(
        sys.executable,
        "-c",
        "import atexit, sys\n"
        f"atexit.register(lambda: print(sorted(sys.modules.keys() & {set(HEAVY)})))\n"
        "from exporter.cli import main\n"
        "sys.argv = ['exporter', '--version']\n"
        "main()",
    )

    assert ended.stdout.splitlines() == [f"{PROGRAM} {__version__}", "[]"]
    assert ended.returncode == 0


@pytest.mark.parametrize("argument", ["--version", "--help", "nonsense"])
def test_the_module_and_the_console_script_are_one_program(argument: str) -> None:
    """Both say the same and end the same."""
    script, module = run(SCRIPT, argument), run(*MODULE, argument)

    assert (script.stdout, script.stderr) == (module.stdout, module.stderr)
    assert script.returncode == module.returncode


@pytest.mark.parametrize("arguments", [["serve"], ["--colour"], ["--shard", "1"]])
def test_a_wrong_usage_ends_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As with every program that argparse reads the arguments of."""
    with pytest.raises(SystemExit) as caught:
        cli.run(arguments, {})

    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


# Configuration.


def test_a_good_configuration_is_printed_without_its_secret(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed is a file that says the same, every default filled in."""
    status = cli.run(["--config.file", str(file), "--config.check"], {})
    printed = capsys.readouterr()

    assert (status, printed.err) == (0, "")
    assert "name: Zürich\n" in printed.out
    assert f"password_file: {file.parent}/key\n" in printed.out
    assert "hunter2" not in printed.out
    again = file.with_name("again.yml")
    again.write_text(printed.out, encoding="utf-8")
    assert config.load(again, {}) == config.load(file, {})


def test_what_is_printed_is_utf8_whatever_the_terminal_is(file: Path) -> None:
    """It is written into files, and files are UTF-8."""
    ended = run(
        *(*MODULE, "--config.file", file, "--config.check"),
        environment={"PYTHONIOENCODING": "ascii"},
    )

    assert "name: Zürich\n" in ended.stdout
    assert ended.returncode == 0


@pytest.mark.parametrize("check", [[], ["--config.check"]])
def test_a_bad_configuration_ends_with_1_and_a_line_for_each_mistake(
    file: Path, check: list[str]
) -> None:
    """Also when serving was asked for: nothing starts."""
    file.write_text("panels:\n  - url: https://ops:hunter2@cp.example.com\n")
    ended = run(*MODULE, "--config.file", file, *check)

    at = f"{PROGRAM}: {file}: line 2: panels[0]"
    assert ended.stderr == (
        f"{at}.basic_auth.username (panel cp.example.com): is missing: the account's "
        "e-mail address or login\n"
        f"{at}.basic_auth.password_file (panel cp.example.com): is missing: the file "
        "that holds the API key; or give the key as panels[0].basic_auth.password\n"
        f"{at}.url (panel cp.example.com): must not hold credentials: they go into "
        "panels[0].basic_auth.username and panels[0].basic_auth.password_file\n"
    )
    assert (ended.returncode, ended.stdout) == (1, "")


def test_without_a_configuration_it_says_how_to_give_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first thing that a newcomer meets."""
    status = cli.run(["--config.check"], {})

    assert status == 1
    assert capsys.readouterr().err == (
        f"{PROGRAM}: no panel is configured: give --config.file, or set ONAPP_URL, "
        "ONAPP_USERNAME and ONAPP_PASSWORD_FILE\n"
    )


def test_a_file_and_the_environment_together_end_with_1(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable may come from somewhere else than the flag: both are named."""
    status = cli.run(["--config.check", "--config.file", str(file)], ENVIRONMENT)

    assert status == 1
    assert capsys.readouterr().err == (
        f"{PROGRAM}: both {file} (--config.file) and ONAPP_URL name panels: remove one "
        "of them\n"
    )


@pytest.mark.parametrize("with_file", [False, True])
def test_a_variable_without_effect_is_reported(
    file: Path, capsys: pytest.CaptureFixture[str], *, with_file: bool
) -> None:
    """By its name alone: its value may be a secret, put under a wrong name.

    Those that Kubernetes sets for each service are nobody's mistake.
    """
    variables = {
        "ONAPP_PASWORD": "hunter2",
        "ONAPP_EXPORTER_LOG_LEVL": "debug",
        "ONAPP_EMPTY": "",
        "ONAPP_BACKUP_EXPORTER_SERVICE_PORT_HTTP": "10058",
        "ONAPP_BACKUP_EXPORTER_PORT": "tcp://10.0.0.1:10058",
        "ONAPP_BACKUP_EXPORTER_PORT_10058_TCP_ADDR": "10.0.0.1",
        "ONAPP_EXPORTER_LOG_FORMAT": "logfmt",
        **({"ONAPP_POLL_INTERVAL": "5m"} if with_file else ENVIRONMENT),
    }
    if with_file:
        variables["ONAPP_EXPORTER_CONFIG_FILE"] = str(file)
    status = cli.run(["--config.check"], variables)

    unknown = "there is no such variable; did you mean"
    expected = [
        f"ONAPP_EXPORTER_LOG_LEVL: {unknown} ONAPP_EXPORTER_LOG_LEVEL?",
        f"ONAPP_PASWORD: {unknown} ONAPP_PASSWORD?",
    ]
    if with_file:
        expected.append(f"ONAPP_POLL_INTERVAL: the panels come from {file}")
    assert status == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{PROGRAM}: environment: {line}" for line in expected
    ]


async def test_a_variable_without_effect_is_logged_once_when_it_serves() -> None:
    """Beside all that is logged at the start, at the level of warnings."""
    variables = {
        **ENVIRONMENT,
        "ONAPP_URL": "http://127.0.0.1:9",
        "ONAPP_POLL_INTERVALL": "5m",
    }
    listen = ("--web.listen-address", "127.0.0.1:0")
    async with exporter_process(*listen, environment=variables) as process:
        await process.base_url()
        process.send(signal.SIGTERM)
        await process.wait()

    logged = [line for line in process.err if "variable" in line]
    assert len(logged) == 1
    assert "level=warning" in logged[0]
    assert "did you mean ONAPP_POLL_INTERVAL?" in logged[0]


def test_the_environment_is_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """The checking command takes it from the variables too."""
    status = cli.run([], {**ENVIRONMENT, "ONAPP_EXPORTER_CONFIG_CHECK": "true"})
    printed = capsys.readouterr()

    assert (status, printed.err) == (0, "")
    assert "password: <secret>\n" in printed.out
    assert "hunter2" not in printed.out


# Serving.


@pytest.mark.parametrize("command", [[], ["demo"]])
def test_a_port_that_is_taken_ends_with_1_and_its_address(command: list[str]) -> None:
    """The reason is the last line, without a traceback."""
    with port_in_use() as address:
        ended = run(
            *(*MODULE, *command, "--log.level", "error"),
            *("--web.listen-address", address),
            environment=ENVIRONMENT,
        )

    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"{PROGRAM}: cannot serve: ")
    assert address.rpartition(":")[2] in last
    assert "address already in use" in last
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr
    assert ended.returncode == 1


# The health check.


def test_the_health_check_ends_with_0_when_the_exporter_is_well() -> None:
    """On any of the addresses that the exporter was told to listen on."""
    with serving(200) as address, port_in_use() as _:
        assert cli.run(["healthcheck", "--web.listen-address", address], {}) == 0


def test_the_health_check_takes_the_address_from_the_same_variable() -> None:
    """In a container both processes have one environment."""
    with serving(200) as address:
        port = address.rpartition(":")[2]
        environment = {"ONAPP_EXPORTER_WEB_LISTEN_ADDRESS": f"127.0.0.1:1,:{port}"}

        assert cli.run(["healthcheck"], environment) == 0


def test_the_health_check_ends_with_1_when_the_answer_is_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Something that answers need not be the exporter, or well."""
    with serving(503) as address:
        status = cli.run(["healthcheck", "--web.listen-address", address], {})

    port = address.rpartition(":")[2]
    assert status == 1
    assert capsys.readouterr().err == (
        f"not healthy: 127.0.0.1 port {port}: HTTP 503\n"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "a" * 64])
def test_the_health_check_ends_with_1_when_nobody_is_there(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused, or not even a name: one line each, and no traceback."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        address = f"{host}:{port}"
        status = cli.run(["healthcheck", "--web.listen-address", address], {})

    output = capsys.readouterr().err
    assert status == 1
    assert output.startswith(f"not healthy: {host} port {port}: ")
    assert "Errno" not in output
    assert output.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--config.check"], ["demo"]])
def test_a_bad_web_configuration_ends_with_1_and_its_reason(
    arguments: list[str], file: Path
) -> None:
    """Before anything is served: what was to be guarded must not stand open."""
    web = file.with_name("web.yml")
    web.write_text("basic_auth_users: {alice: hunter2}\n")
    config_file = [] if arguments == ["demo"] else ["--config.file", str(file)]
    flags = ["--web.config.file", str(web), "--web.listen-address", "127.0.0.1:0"]

    ended = run(*MODULE, *arguments, *config_file, *flags)
    output = ended.stderr

    assert (ended.returncode, output.count("\n")) == (1, 1)
    assert f"{web}: line 1: basic_auth_users.alice: must be a bcrypt hash" in output
    assert "hunter2" not in output


def test_a_good_web_configuration_passes_the_check(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is tried, and not shown."""
    web = file.with_name("web.yml")
    web.write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    flags = ["--config.check", "--config.file", str(file)]

    assert cli.run([*flags, "--web.config.file", str(web)], {}) == 0
    assert "deny" not in capsys.readouterr().out


def test_the_health_check_needs_no_configuration(file: Path) -> None:
    """A broken file must not make a running exporter look dead."""
    file.write_text("panels: []\n")
    with serving(200) as address:
        arguments = ["healthcheck", "--config.file", str(file)]

        assert cli.run([*arguments, "--web.listen-address", address], {}) == 0
