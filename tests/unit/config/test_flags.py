"""The command line: a flag goes before its variable, a variable before the default."""

from __future__ import annotations

import runpy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from checkout import DOCS

from exporter.config.flags import COMMANDS, FLAGS, Flags, parse, variable
from exporter.config.units import Duration

DEFAULTS = Flags(
    command=None,
    config_file=None,
    config_check=False,
    auto_reload=False,
    auto_reload_interval=Duration(30),
    listen_addresses=(":10058",),
    systemd_socket=False,
    telemetry_path="/metrics",
    max_requests=40,
    web_config_file=None,
    log_level="info",
    log_format="logfmt",
    shard=0,
    total_shards=1,
    output_format="table",
    output=None,
    timeout=Duration(900),
)
EVERY_FLAG = [
    ("--config.file", "config_file", ("a.yml", Path("a.yml")), ("b", Path("b"))),
    ("--config.check", "config_check", ("", True), ("true", True)),
    ("--config.enable-auto-reload", "auto_reload", ("", True), ("true", True)),
    (
        "--config.auto-reload-interval",
        "auto_reload_interval",
        ("1m", Duration(60)),
        ("5s", Duration(5)),
    ),
    (
        "--web.listen-address",
        "listen_addresses",
        ("[::1]:1", ("[::1]:1",)),
        ("127.0.0.1:2, :3", ("127.0.0.1:2", ":3")),
    ),
    ("--web.systemd-socket", "systemd_socket", ("", True), ("true", True)),
    ("--web.telemetry-path", "telemetry_path", ("/a", "/a"), ("/b/c", "/b/c")),
    (
        "--web.config.file",
        "web_config_file",
        ("w.yml", Path("w.yml")),
        ("w", Path("w")),
    ),
    ("--web.max-requests", "max_requests", ("0", 0), ("7", 7)),
    ("--log.level", "log_level", ("debug", "debug"), ("warning", "warn")),
    ("--log.format", "log_format", ("json", "json"), ("logfmt", "logfmt")),
    ("--shard", "shard", ("3", 3), ("onapp-backup-exporter-1", 1)),
    ("--total-shards", "total_shards", ("5", 5), ("2", 2)),
    ("--ready", "ready", ("", True), ("true", True)),
    ("--servers", "servers", ("5000", 5000), ("29", 29)),
    ("--format", "output_format", ("json", "json"), ("table", "table")),
    ("--output", "output", ("a.prom", Path("a.prom")), ("b", Path("b"))),
    ("--timeout", "timeout", ("5m", Duration(300)), ("90s", Duration(90))),
]
"""Flag, field, a value on the command line and one in the environment, as read."""


def parsed(line: str = "", **environment: str) -> Flags:
    """Parse a command line, given as one text."""
    return parse(line.split(), environment)


def refusal(
    capsys: pytest.CaptureFixture[str], line: str = "", **environment: str
) -> str:
    """Return the last line said against a command line; its exit status must be 2."""
    with pytest.raises(SystemExit) as caught:
        parsed(line, **environment)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def around(name: str) -> str:
    """Return what else a flag needs: the command it goes with, or more shards."""
    needed = {
        "--shard": " --total-shards 9",
        "--total-shards": " --shard 1",
        "--ready": " healthcheck",
        "--servers": " demo",
        "--format": " check",
        "--output": " once",
        "--timeout": " check",
    }
    return needed.get(name, "")


def test_without_flags_and_variables_everything_has_its_default() -> None:
    """The defaults are part of the contract."""
    assert parsed() == DEFAULTS


def test_every_flag_is_tried_below() -> None:
    """A new flag needs its line in the table."""
    assert [flag for flag, *_ in EVERY_FLAG] == [*FLAGS]
    assert {"command", *(name for _, name, *_ in EVERY_FLAG)} == {
        field.name for field in fields(Flags)
    }


@pytest.mark.parametrize(("flag", "name", "given", "other"), EVERY_FLAG)
def test_a_flag_sets_its_field(
    flag: str, name: str, given: tuple[str, Any], other: tuple[str, Any]
) -> None:
    """Each flag reaches the one field that is its own."""
    del other
    found = parsed(f"{flag} {given[0]}{around(flag)}")

    assert getattr(found, name) == given[1]


@pytest.mark.parametrize(("flag", "name", "given", "other"), EVERY_FLAG)
def test_a_variable_stands_for_its_flag(
    flag: str, name: str, given: tuple[str, Any], other: tuple[str, Any]
) -> None:
    """Every flag has a variable, named after it."""
    del given
    found = parsed(around(flag), **{variable(flag): other[0]})

    assert getattr(found, name) == other[1]


@pytest.mark.parametrize(("flag", "name", "given", "other"), EVERY_FLAG)
def test_a_flag_goes_before_its_variable(
    flag: str, name: str, given: tuple[str, Any], other: tuple[str, Any]
) -> None:
    """What is typed now goes before what was set once."""
    line = f"{flag} {given[0]}{around(flag)}"

    found = parsed(line, **{variable(flag): other[0]})

    assert getattr(found, name) == given[1]


@pytest.mark.parametrize("flag", [flag for flag, *_ in EVERY_FLAG])
def test_an_empty_variable_counts_as_not_set(flag: str) -> None:
    """Container platforms set what they have no value for to nothing."""
    assert parsed(**{variable(flag): ""}) == DEFAULTS


def test_variables_are_named_after_their_flags() -> None:
    """Dots and dashes become underscores."""
    assert variable("--log.level") == "ONAPP_EXPORTER_LOG_LEVEL"
    assert variable("--total-shards") == "ONAPP_EXPORTER_TOTAL_SHARDS"
    assert variable("--web.listen-address") == "ONAPP_EXPORTER_WEB_LISTEN_ADDRESS"


def test_addresses_given_more_than_once_add_up() -> None:
    """IPv4 and IPv6, or two networks; the default is not among them."""
    line = "--web.listen-address 127.0.0.1:1 --web.listen-address [::1]:1"

    assert parsed(line).listen_addresses == ("127.0.0.1:1", "[::1]:1")


def test_addresses_on_the_command_line_replace_those_of_the_variable() -> None:
    """To add to them would leave no way to take one away."""
    found = parsed(
        "--web.listen-address :1 --web.listen-address :2",
        ONAPP_EXPORTER_WEB_LISTEN_ADDRESS=":3,:4",
    )

    assert found.listen_addresses == (":1", ":2")


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_stand_before_and_behind_the_command(command: str) -> None:
    """Nobody has to remember the order."""
    before = parsed(f"--log.level debug {command}")
    behind = parsed(f"{command} --log.level debug")

    assert before == behind
    assert before.command == command


@pytest.mark.parametrize(
    ("text", "truth"),
    [("true", True), ("1", True), ("True", True), ("false", False), ("0", False)],
)
def test_a_switch_is_true_or_false_in_its_variable(text: str, *, truth: bool) -> None:
    """To be set at all is not enough to be on."""
    assert parsed(ONAPP_EXPORTER_CONFIG_CHECK=text).config_check is truth


@pytest.mark.parametrize(
    "address",
    [
        *(":0", ":65535", "127.0.0.1:1", "localhost:1", "[::]:1", "[::1]:1"),
        *("0.0.0.0:1", "[fe80::1%eth0]:1", "a-host.example.com:1"),
    ],
)
def test_addresses_are_a_host_and_a_port(address: str) -> None:
    """Without a host it is every address of the machine."""
    assert parsed(f"--web.listen-address {address}").listen_addresses == (address,)


@pytest.mark.parametrize(
    "address",
    [
        *("10058", ":", "::1:10058", "127.0.0.1", ":65536", ":-1", ":٣", ":1e3"),
        *("http://localhost:1", "[::1:1", "::1]:1", "[]:1", "a/b:1", ":" + "9" * 5000),
    ],
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_what_is_no_address_is_refused(
    address: str, capsys: pytest.CaptureFixture[str], *, by_variable: bool
) -> None:
    """The message shows what one looks like."""
    if by_variable:
        printed = refusal(capsys, ONAPP_EXPORTER_WEB_LISTEN_ADDRESS=address)
        where = "ONAPP_EXPORTER_WEB_LISTEN_ADDRESS"
    else:
        printed = refusal(capsys, f"--web.listen-address={address}")
        where = "argument --web.listen-address"

    assert printed == (
        f"onapp-backup-exporter: error: {where}: {address!r} is not [host]:port, such "
        "as :10058, 127.0.0.1:10058 or [::1]:10058"
    )


@pytest.mark.parametrize(
    "path",
    [
        *("metrics", "/", "/config", "/-/healthy", "/-/ready", "/-/reload"),
        *("/server", "/compliance", "/api/v1/status"),
        *("/./server", "/a/../server", "/.."),
        *("/{name}", "/{", "/a?b", "/a#b", "//", "/a//b", "/é", "http://host/metrics"),
    ],
)
def test_a_path_that_is_none_or_taken_is_refused(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Braces and question marks would mean something else to the server."""
    printed = refusal(capsys, f"--web.telemetry-path={path}")

    assert printed.startswith(
        "onapp-backup-exporter: error: argument --web.telemetry-path: "
        f"{path!r} is not a path such as /metrics, or is one of /, /config,"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--shard 1", "--shard 1: must be from 0 to 0, one less than --total-shards"),
        (
            "--shard 3 --total-shards 3",
            "--shard 3: must be from 0 to 2, one less than --total-shards",
        ),
        (
            "--shard=-1",
            (
                "argument --shard: '-1' is not a whole number from 0 on, nor a name "
                "that ends in one, such as exporter-2"
            ),
        ),
        (
            "--shard exporter2 --total-shards 3",
            (
                "argument --shard: 'exporter2' is not a whole number from 0 on, nor a "
                "name that ends in one, such as exporter-2"
            ),
        ),
        ("--total-shards 3", "--total-shards 3: --shard is missing"),
        (
            "--total-shards 0",
            "argument --total-shards: '0' is not a whole number from 1 on",
        ),
        (
            "--web.max-requests many",
            "argument --web.max-requests: 'many' is not a whole number from 0 on",
        ),
    ],
)
def test_a_wrong_flag_says_what_would_be_right(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the flag and the value."""
    assert refusal(capsys, line) == f"onapp-backup-exporter: error: {message}"


@pytest.mark.parametrize(("pod", "shard"), [(0, 0), (1, 1), (2, 2), (3, 0), (7, 1)])
def test_pods_beyond_the_shards_are_replicas(pod: int, shard: int) -> None:
    """A StatefulSet of two times three pods has each of three shards twice."""
    environment = {"ONAPP_EXPORTER_SHARD": f"exporter-{pod}"}

    assert parsed("--total-shards 3", **environment).shard == shard


@pytest.mark.parametrize(
    "line", ["--config.fil=a.yml", "--colour", "serve", "demo check", "--log.level=x"]
)
def test_what_is_not_known_is_refused(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flag is written in full: one that is added must not make another ambiguous."""
    assert refusal(capsys, line).startswith("onapp-backup-exporter: error: ")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LOG_LEVEL", "loud", "'loud' is not one of debug, info, warn, error"),
        ("LOG_FORMAT", "xml", "'xml' is not one of logfmt, json"),
        ("CONFIG_CHECK", "maybe", "'maybe' is not one of true, false"),
        ("SHARD", "one", "nor a name that ends in one, such as exporter-2"),
        ("TOTAL_SHARDS", "9" * 5000, "' is not a whole number from 1 on"),
    ],
)
def test_a_wrong_variable_is_named(
    name: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody who set a variable looks for a flag."""
    printed = refusal(capsys, **{f"ONAPP_EXPORTER_{name}": value})

    assert printed.startswith(f"onapp-backup-exporter: error: ONAPP_EXPORTER_{name}: ")
    assert printed.endswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--format json", "--format: goes with check; not with no command, which is"),
        ("demo --format json", "--format: goes with check; not with demo"),
        ("check --output a", "--output: goes with once; not with check"),
        ("healthcheck --timeout 5s", "--timeout: goes with check and once; not with"),
        ("check --config.check", "--config.check: goes with no command, which is to"),
        ("once --timeout 5", "argument --timeout: '5': must be a duration such as"),
        ("once --timeout 10ms", "argument --timeout: '10ms': must be at least 1s"),
        ("check --format=xml", "argument --format: invalid choice: 'xml'"),
    ],
)
def test_a_flag_of_another_command_is_refused(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be ignored silently; the message says where it belongs."""
    printed = refusal(capsys, line)

    assert printed.startswith(f"onapp-backup-exporter: error: {message}")


def test_a_variable_of_another_command_is_left_alone() -> None:
    """Commands share an environment, as in a container with its health check."""
    variables = {
        "ONAPP_EXPORTER_FORMAT": "json",
        "ONAPP_EXPORTER_OUTPUT": "a.prom",
        "ONAPP_EXPORTER_TIMEOUT": "soon",
        "ONAPP_EXPORTER_CONFIG_CHECK": "true",
    }

    assert parsed(**variables | {"ONAPP_EXPORTER_CONFIG_CHECK": ""}) == DEFAULTS
    assert not parsed("healthcheck", **variables).config_check
    with pytest.raises(SystemExit):
        parsed("once", **variables)


@pytest.mark.parametrize(
    ("command", "level"), [("check", "error"), ("once", "warn"), ("demo", "info")]
)
def test_commands_that_tell_by_themselves_log_less(command: str, level: str) -> None:
    """Unless they are told to."""
    assert parsed(command).log_level == level
    assert parsed(f"{command} --log.level debug").log_level == "debug"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_its_flags_alone(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody reads what makes no difference."""
    with pytest.raises(SystemExit):
        parsed(f"{command} --help")
    printed = capsys.readouterr().out

    assert printed.startswith(f"usage: onapp-backup-exporter {command} [flags]")
    assert ("--output" in printed) == (command == "once")
    assert ("--format" in printed) == (command == "check")
    assert ("--timeout" in printed) == (command in ("check", "once"))
    assert ("--web.listen-address" in printed) == (command in ("demo", "healthcheck"))
    assert ("--config.file FILE" in printed) == (command in ("check", "once"))


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_help_and_version_come_whatever_the_variables_say(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who looks for help may have set something wrong."""
    with pytest.raises(SystemExit) as caught:
        parsed(flag, ONAPP_EXPORTER_SHARD="one", ONAPP_EXPORTER_LOG_LEVEL="loud")

    assert caught.value.code == 0
    assert "onapp-backup-exporter" in capsys.readouterr().out


def test_help_tells_the_defaults_not_what_happens_to_be_set(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The help is the same everywhere."""
    with pytest.raises(SystemExit):
        parsed("--help", ONAPP_EXPORTER_WEB_MAX_REQUESTS="7")

    assert "(default: 40)" in " ".join(capsys.readouterr().out.split())


def test_the_page_of_the_command_line_is_golden(
    pytestconfig: pytest.Config,
) -> None:
    """docs/cli.md is what the parser says; ``--update-golden`` writes it anew."""
    text: str = runpy.run_path(str(DOCS / "cli_page.py"))["text"]()
    page = DOCS / "cli.md"
    if pytestconfig.getoption("--update-golden"):
        page.write_text(text, encoding="utf-8")

    assert page.read_text(encoding="utf-8") == text


def test_the_page_names_every_command_flag_and_variable() -> None:
    """Nothing can be asked for that is not on the page."""
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    names = [*COMMANDS, "--help", "--version"]
    names += [*FLAGS, *map(variable, FLAGS)]

    assert [name for name in names if f"`{name}" not in page] == []


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--config.fil", "/x.yml"], "--config.fil: unknown flag; did you mean"),
        (["--config.fil=/x.yml"], "--config.fil: unknown flag; did you mean"),
        (["--zzz"], "--zzz: unknown flag"),
        (["--log.level", "warnin"], "argument --log.level: invalid choice: 'warnin'"),
        (["healthchek"], "healthchek: unknown command; did you mean healthcheck?"),
        (["--log.level", "warn", "chek"], "chek: unknown command; did you mean check"),
        (["serve"], "serve: unknown command; there are demo, check, once, healthche"),
        (["check", "onapp.yml"], "onapp.yml: check takes flags only"),
        (["demo", "--config.check"], "demo watches its own cloud"),
        (["demo", "--config.file", "/x.yml"], "demo watches its own cloud"),
    ],
)
def test_a_flag_that_does_nothing_is_refused(
    arguments: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its own name, not by the word after it; none is silently ignored."""
    with pytest.raises(SystemExit) as end:
        parse(arguments, {})

    assert end.value.code == 2
    assert printed in capsys.readouterr().err


def test_the_level_of_warnings_has_two_names() -> None:
    """Prometheus says warn, most other programs warning."""
    assert parsed("--log.level warning").log_level == "warn"
    assert parsed("--log.level=warn").log_level == "warn"
