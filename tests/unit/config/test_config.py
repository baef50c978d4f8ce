"""A configuration is taken whole, or refused with place, value and mend."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import DATA, DOCS, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are another package

from exporter.config import load as config
from exporter.config import yaml_file
from exporter.config.decode import sections
from exporter.config.schema import Config, Detail, Poll, effective_config
from exporter.config.secrets import HIDDEN, LiteralSecret
from exporter.config.units import Duration, Size
from exporter.errors import ConfigError

CORPUS = DATA / "config"
PAGE = DOCS / "configuration.md"
KEY = "k3y"
SECTIONS = {
    name: [key.encode_name for key in section.fields]
    for name, section in sections(Config).items()
}
PANEL: Mapping[str, Any] = {
    "url": "https://cp.example.com",
    "basic_auth": {"username": "ops@example.com", "password_file": "key"},
}
ENVIRONMENT = {
    "ONAPP_URL": "https://cp.example.com",
    "ONAPP_USERNAME": "ops@example.com",
    "ONAPP_PASSWORD": "hunter2",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the corpus names."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "key").write_text(f" {KEY}\n")
    (folder / "empty").write_text("\n")
    (folder / "binary").write_bytes(b"\xff\xfe")
    (folder / "lines").write_text("one\ntwo\n")
    (folder / "nowhere").symlink_to("absent")
    (folder / "sub").mkdir()
    return folder


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two certificates, their keys, and a locked key."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "two"):
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", f"/CN={name}", "-days", "2"),
            *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"),
        )
    _openssl(
        *("ec", "-aes128", "-passout", "pass:open"),
        *("-in", folder / "one.key", "-out", folder / "locked.key"),
    )
    return folder


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def load(folder: Path, content: object) -> Config:
    """Load a configuration with this text or content."""
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    file = folder / "exporter.yml"
    file.write_text(text, encoding="utf-8")
    return config.load(file, {})


def refusal(folder: Path, content: object) -> str:
    """Return the mistakes of a configuration, without the file's name and the line."""
    with pytest.raises(ConfigError) as caught:
        load(folder, content)
    place = re.escape(f"{folder / 'exporter.yml'}: ") + r"(line \d+: )?"
    return re.sub(f"^{place}", "", str(caught.value), flags=re.MULTILINE)


def outcome(folder: Path, content: object) -> str:
    """Return all that is shown of a configuration, good or bad; let bugs pass.

    Each mistake is a line of its own, and names the file.
    """
    try:
        loaded = load(folder, content)
    except ConfigError as error:
        source = f"{folder / 'exporter.yml'}: "
        lines = str(error).split("\n")
        assert [line for line in lines if not line.startswith(source)] == []
        return "".join(lines)
    return repr((effective_config(loaded), loaded))


def with_secrets(text: str, config: Config) -> Any:
    """Put the hidden secrets back into an effective configuration."""
    content = yaml.safe_load(text)
    for keys, panel in zip(content["panels"], config.panels, strict=True):
        if keys["basic_auth"].get("password") == HIDDEN:
            keys["basic_auth"]["password"] = panel.account.secret.reveal()
        if keys["proxy_url"] is not None:
            keys["proxy_url"] = str(panel.proxy_url)
    return content


# What each file of the corpus says.


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.bad.yml")), ids=lambda p: p.stem)
def test_a_bad_file_is_refused_with_the_messages_it_begins_with(
    path: Path, folder: Path
) -> None:
    """Every mistake is reported with its place, its value if it may, and the fix.

    What one corrects in the first file cannot bring another mistake to light: all are
    reported at once, in the order of their lines.
    """
    file = Path(shutil.copy(path, folder))

    with pytest.raises(ConfigError) as caught:
        config.load(file, {})

    output = str(caught.value).replace(str(file), "FILE").replace(str(folder), "DIR")
    lines = path.read_text(encoding="utf-8").splitlines()
    expected = takewhile(lambda line: line.startswith("# FILE"), lines)
    assert [f"# {line}" for line in output.splitlines()] == list(expected)


@pytest.mark.parametrize(
    "path", sorted(CORPUS.glob("*.good.yml")), ids=lambda p: p.stem
)
def test_the_effective_form_of_a_good_file_makes_the_same_configuration(
    path: Path, folder: Path
) -> None:
    """What ``--config.check`` prints, secrets put back, is a file of equal meaning."""
    loaded = config.load(Path(shutil.copy(path, folder)), {})
    shown = effective_config(loaded)

    assert load(folder / "sub", with_secrets(shown, loaded)) == loaded
    assert not re.search(f"hunter2|{KEY}", shown + repr(loaded))


def test_the_corpus_is_there() -> None:
    """A pattern that found no file would pass unseen."""
    good, bad = (len(list(CORPUS.glob(f"*.{kind}.yml"))) for kind in ("good", "bad"))

    assert good >= 12
    assert bad >= 40
    assert len(list(CORPUS.iterdir())) == good + bad


# Defaults.


def test_a_small_file_gets_every_default(folder: Path) -> None:
    """A panel with its address and its account is a whole configuration."""
    loaded = load(folder, {"panels": [PANEL]})
    panel = loaded.panels[0]

    assert panel.name == "cp.example.com"
    assert panel.body_format == "json"
    assert panel.account.secret.reveal() == KEY
    assert panel.discovery.interval == Duration(600)
    assert panel.poll == Poll(
        interval=Duration(900),
        timeout=Duration(30),
        concurrency=8,
        max_age=Duration(3600),
        max_body=Size(16 * 1024 * 1024),
    )
    assert loaded.detail == Detail(backups=True, newest_per_target=0)


def test_a_panel_takes_from_the_common_poll_what_it_does_not_say_itself(
    folder: Path,
) -> None:
    """``panels[].poll`` goes before ``poll``, key by key."""
    poll = {"interval": "5m", "timeout": "10s", "max_age": "30m"}
    panel = {**PANEL, "poll": {"timeout": "20s"}}

    (loaded,) = load(folder, {"poll": poll, "panels": [panel]}).panels

    assert loaded.poll.interval == Duration(300)
    assert loaded.poll.timeout == Duration(20)
    assert loaded.poll.max_age == Duration(1800)


def test_data_is_kept_for_two_intervals_when_servers_are_read_seldom(
    folder: Path,
) -> None:
    """The default of ``max_age`` grows with the interval instead of refusing it."""
    (loaded,) = load(folder, {"poll": {"interval": "1d"}, "panels": [PANEL]}).panels

    assert loaded.poll.max_age == Duration(2 * 86_400)


def test_relative_paths_begin_at_the_folder_of_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the exporter was started makes no difference, also later."""
    load(folder, {"panels": [PANEL]})
    monkeypatch.chdir(folder)
    loaded = config.load(Path("exporter.yml"), {})
    monkeypatch.chdir("/")

    assert f"password_file: {folder}/key\n" in effective_config(loaded)
    assert loaded.panels[0].account.secret.reveal() == KEY


# Files.


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "it is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    make: Any, why: str, tmp_path: Path
) -> None:
    """The reason is the system's own."""
    path = tmp_path / "exporter.yml"
    make(path)

    with pytest.raises(ConfigError) as caught:
        config.load(path, {})

    assert str(caught.value) == f"{path}: cannot be read: {why}"


def test_a_file_nested_beyond_measure_is_refused(folder: Path) -> None:
    """Depth ends in a message, not in a traceback."""
    assert refusal(folder, "[" * 500) == "is nested too deep"


def test_a_control_character_makes_no_yaml(folder: Path) -> None:
    """The parser itself refuses it, without a line."""
    assert refusal(folder, "a\x00") == "not YAML: it has forbidden characters"


def test_a_long_value_is_shown_in_part(folder: Path) -> None:
    """An error stays one readable line."""
    panel = {**PANEL, "expected_interval": "9" * 1000}

    assert refusal(folder, {"panels": [panel]}) == (
        "panels[0].expected_interval (panel cp.example.com): must be a duration such "
        f"as 30s, 15m, 1h30m or 7d, not '{'9' * 79}…"
    )


def test_good_certificates_are_taken(folder: Path, certificates: Path) -> None:
    """Authorities, certificate and key are files that exist and fit together."""
    files = {
        "ca_file": str(certificates / "two.pem"),
        "cert_file": str(certificates / "one.pem"),
        "key_file": str(certificates / "one.key"),
    }
    loaded = load(folder, {"panels": [{**PANEL, "tls_config": files}]})

    assert str(loaded.panels[0].tls.cert_file) == str(certificates / "one.pem")
    assert load(folder, with_secrets(effective_config(loaded), loaded)) == loaded


@pytest.mark.parametrize("key", ["two.key", "locked.key", "one.pem"])
def test_a_key_that_cannot_be_used_is_refused_before_anything_starts(
    key: str, folder: Path, certificates: Path
) -> None:
    """Another's key, a locked one, no key at all: none asks on the terminal."""
    files = {
        "cert_file": str(certificates / "one.pem"),
        "key_file": str(certificates / key),
    }
    output = refusal(folder, {"panels": [{**PANEL, "tls_config": files}]})

    assert re.sub(r"usable \(.*\)", "usable (…)", output) == (
        "panels[0].tls_config (panel cp.example.com): is not usable (…): ca_file, "
        "cert_file and key_file must be PEM files, and the key must be the "
        "certificate's and have no passphrase"
    )


# The environment.


def test_a_panel_from_the_environment_equals_the_one_from_a_file(
    folder: Path, certificates: Path
) -> None:
    """The variables are only another way to write the keys."""
    environment = {
        **ENVIRONMENT,
        "ONAPP_NAME": "lon1",
        "ONAPP_FORMAT": "xml",
        "ONAPP_CA_FILE": str(certificates / "one.pem"),
        "ONAPP_SERVER_NAME": "cp",
        "ONAPP_INSECURE_SKIP_VERIFY": "True",
        "ONAPP_PROXY_URL": "http://ops@proxy:3128",
        "ONAPP_PROXY_PASSWORD_FILE": str(folder / "key"),
        "ONAPP_VIRTUAL_MACHINES": "2, azbygzz6zjui4k,,13",
        "ONAPP_EXPECTED_INTERVAL": "1d",
        "ONAPP_POLL_INTERVAL": "5m",
        "ONAPP_POLL_TIMEOUT": "1m",
        "ONAPP_POLL_MAX_AGE": "2h",
    }
    panel = {
        **PANEL,
        "basic_auth": {"username": "ops@example.com", "password": "hunter2"},
        "name": "lon1",
        "format": "xml",
        "tls_config": {
            "ca_file": str(certificates / "one.pem"),
            "server_name": "cp",
            "insecure_skip_verify": True,
        },
        "proxy_url": "http://ops@proxy:3128",
        "proxy_password_file": "key",
        "virtual_machines": ["2", "azbygzz6zjui4k", "13"],
        "expected_interval": "1d",
        "poll": {"interval": "5m", "timeout": "1m", "max_age": "2h"},
    }

    assert environment.keys() | {"ONAPP_PASSWORD_FILE"} == config.VARIABLES.keys()
    assert config.load(None, environment) == load(folder, {"panels": [panel]})


def test_a_password_file_from_the_environment_begins_at_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no file beside which it could be."""
    monkeypatch.chdir(folder)
    environment = {
        **ENVIRONMENT,
        "ONAPP_PASSWORD": "",
        "ONAPP_PASSWORD_FILE": "key",
    }
    loaded = config.load(None, environment)
    monkeypatch.chdir("/")

    assert loaded.panels[0].account.secret.reveal() == KEY


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("URL", "cp.example.com", "URL: must begin with https:// or http://"),
        ("URL", "https://${HOST}", "URL: must be the value itself: variables such as"),
        ("USERNAME", "ops ", "USERNAME: must not begin or end with white space"),
        ("URL", "https://ops:hunter2@cp", "URL: must not hold credentials: they go in"),
        ("USERNAME", "", "USERNAME: is missing: the account's e-mail address or login"),
        ("USERNAME", "\udcff", "USERNAME: is not UTF-8 text"),
        ("PASSWORD", "", "PASSWORD_FILE: is missing: the file that holds the API key;"),
        ("PASSWORD", "hunter2\n", "PASSWORD: must hold no line end and no other contr"),
        (
            "PASSWORD_FILE",
            "hunter2",
            "PASSWORD_FILE: names no file that can be read",
        ),
        ("VIRTUAL_MACHINES", " , ", "VIRTUAL_MACHINES: must list at least one item, o"),
        ("FORMAT", "yaml", "FORMAT: must be json or xml, not 'yaml'"),
        (
            "CA_FILE",
            "ca.pem",
            f"CA_FILE: {Path.cwd()}/ca.pem cannot be read: No such f",
        ),
        ("CA_FILE", __file__, "CA_FILE: is not usable (no certificate or crl found): "),
        ("INSECURE_SKIP_VERIFY", "yes", "INSECURE_SKIP_VERIFY: must be true or false,"),
        ("POLL_INTERVAL", "often", "POLL_INTERVAL: must be a duration such as 30s, 15"),
        ("POLL_MAX_AGE", "20m", "POLL_MAX_AGE: must be at least twice ONAPP_POLL_INTE"),
        ("VIRTUAL_MACHINES", "2,a b", "VIRTUAL_MACHINES[1]: must be a server's number"),
        ("VIRTUAL_MACHINES", "9" * 5000, "VIRTUAL_MACHINES[0]: must be a server's num"),
    ],
)
def test_an_error_in_the_environment_names_the_variable(
    name: str, value: str, message: str
) -> None:
    """Nobody who set variables knows the keys of a file."""
    with pytest.raises(ConfigError) as caught:
        config.load(None, {**ENVIRONMENT, f"ONAPP_{name}": value})

    output = str(caught.value)
    assert output.startswith(f"environment: ONAPP_{message}")
    assert "panels[" not in output
    assert "hunter2" not in output


def test_without_any_panel_the_ways_to_name_one_are_said() -> None:
    """An empty variable is as good as none."""
    with pytest.raises(ConfigError) as caught:
        config.load(None, {"ONAPP_URL": "", "ONAPP_USERNAME": "ops"})

    assert str(caught.value) == (
        "no panel is configured: give --config.file, or set ONAPP_URL, ONAPP_USERNAME "
        "and ONAPP_PASSWORD_FILE"
    )


# What holds for any input.

MARK = "Zq7"
FRAGMENTS = (
    *(", ", ",", ": ", ":", " #", "#", "'", '"', "*", "&", "!", "%", "@", "`", "|"),
    *(">", "\\", "?", "- ", "{", "}", "[", "]", "=", "/", "~", "<<", "\t", "é", "€"),
    *("<block end>", ", password_file: ", ", password: ", "://", "_", "\\ud800"),
)
SECRETS = st.lists(st.sampled_from([*FRAGMENTS, ""]), min_size=1, max_size=6).map(
    lambda between: MARK + MARK.join(between) + MARK
)
ACCOUNT = "  basic_auth: {username: ops, password: a}\n"
BEFORE = "panels:\n- name: lon1\n"
WHOLE = ("panels: [%s]\n", "panels: %s\n", "%s")
"""Where text that is not quoted could be anything, keys too."""
HOMES = (
    BEFORE + "  url: https://cp.example.com\n  basic_auth:\n    username: ops\n"
    "    password: %s\n",
    BEFORE + "  url: https://cp.example.com\n  basic_auth:\n    username: ops\n"
    "    password_file: %s\n",
    BEFORE + "  url: https://cp.example.com\n  basic_auth: %s\n",
    BEFORE + "  url: https://cp.example.com\n  basic_auth: [ops, %s]\n",
    BEFORE + "  url: https://cp.example.com\n  basic_auth: {%s: ops}\n",
    BEFORE + "  url: https://cp.example.com\n  basic_auth: {user: ops, word: %s}\n",
    BEFORE + "  url: https://cp.example.com\n"
    "  basic_auth: {username: ops, password: %s}\n",
    BEFORE + "  url: https://cp.example.com\n"
    "  basic_auth: {username: ops, password_file: %s}\n",
    BEFORE + "  url: https://cp.example.com\n  tls_config:\n    key_file: %s\n"
    "" + ACCOUNT,
    BEFORE + "  url: %s\n" + ACCOUNT,
    BEFORE + "  url: [%s]\n" + ACCOUNT,
    BEFORE + "  url: https://ops:%s@cp.example.com\n" + ACCOUNT,
    BEFORE + "  url: https://%s@cp.example.com\n" + ACCOUNT,
    BEFORE + "  url: https://cp.example.com/?key=%s\n" + ACCOUNT,
    BEFORE + "  url: https://cp.example.com\n  proxy_url: %s\n" + ACCOUNT,
    BEFORE + "  url: https://cp.example.com\n  proxy_url: http://ops:%s@proxy\n"
    "" + ACCOUNT,
    BEFORE + "  url: https://cp.example.com\n  proxy_url: http://%s@proxy\n" + ACCOUNT,
    *WHOLE,
)


@settings(max_examples=250, deadline=None)
@given(home=st.sampled_from(HOMES), secret=SECRETS, quoted=st.booleans())
def test_a_secret_is_never_shown_wherever_it_was_put(
    home: str, secret: str, folder: Path, *, quoted: bool
) -> None:
    """Neither an error nor the effective configuration holds any part of it."""
    within = "://" in home.partition("%s")[0].rpartition("\n")[2]
    if within:  # behind a comment's sign nothing is left of the address
        written = secret.replace(" #", "#")
    else:
        quoted = quoted or home in WHOLE
        written = json.dumps(secret) if quoted else secret

    assert MARK not in outcome(folder, home.replace("%s", written))


NAMES = [name for keys in SECTIONS.values() for name in keys]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.binary(max_size=5),
    st.text(max_size=10),
    st.sampled_from(["1h", "0s", "16MiB", "json", "(", "https://cp.example.com", "."]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner),
        st.dictionaries(st.integers() | st.none() | st.booleans(), inner, max_size=1),
    ),
    max_leaves=5,
)
LOCATIONS = [(name, key) for name, keys in SECTIONS.items() for key in keys]


def placed(section: str, key: str, value: object) -> object:
    """Return a good configuration but for one value."""
    keys = {key: value}
    if section in ("include", "exclude"):
        section, keys = "discovery", {section: keys}
    if section in ("", "poll", "detail"):
        return {"panels": [PANEL], **(keys if section == "" else {section: keys})}
    if section == "panels":
        return {"panels": [{**PANEL, **keys}]}
    if section == "virtual_machines":
        return {"panels": [{**PANEL, section: [{"id": 1, **keys}]}]}
    return {"panels": [{**PANEL, section: {**PANEL.get(section, {}), **keys}}]}


@settings(max_examples=150, deadline=None)
@given(location=st.sampled_from(LOCATIONS), value=VALUES)
def test_any_value_at_any_place_is_taken_or_refused(
    location: tuple[str, str], value: object, folder: Path
) -> None:
    """Nothing but ConfigError comes of a wrong value, a line for each mistake."""
    assert outcome(folder, placed(*location, value)).isprintable()


@settings(max_examples=150, deadline=None)
@given(
    text=st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=60),
        st.lists(
            st.sampled_from([*FRAGMENTS, *NAMES, "\n", "\n  ", "\n- ", "1", "!!int "]),
            max_size=25,
        ).map("".join),
    )
)
def test_any_text_is_taken_or_refused(text: str, folder: Path) -> None:
    """Whatever the file holds, the worst is a ConfigError, a line for each mistake."""
    assert outcome(folder, text).isprintable()


@settings(max_examples=100, deadline=None)
@given(
    environment=st.fixed_dictionaries(
        {
            name: st.text(st.characters(exclude_characters="\0"), max_size=12)
            | st.just(ENVIRONMENT.get(name, ""))
            for name in config.VARIABLES
        }
    ),
    secret=SECRETS,
)
def test_any_environment_is_taken_or_refused(
    environment: dict[str, str], secret: str
) -> None:
    """Variables may hold anything; what stands for a secret is not shown."""
    environment["ONAPP_PASSWORD"] = secret
    try:
        shown = effective_config(config.load(None, environment))
    except ConfigError as error:
        shown = str(error)

    assert MARK not in shown


DURATIONS = st.integers(1000, 10**9).map(lambda ms: str(Duration(ms / 1000)))
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "label": st.text(st.characters(codec="utf-8")).map(re.escape),
        "hostname": st.just("(?i)web-[0-9]+"),
        "user_id": st.lists(st.integers(0, 2**62), min_size=1),
    },
)
CONFIGURATIONS = st.fixed_dictionaries(
    {key: st.just(value) for key, value in PANEL.items()},
    optional={
        "format": st.sampled_from(["json", "xml"]),
        "name": st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1),
        "discovery": st.fixed_dictionaries(
            {}, optional={"interval": DURATIONS, "include": FILTERS, "exclude": FILTERS}
        ),
        "backup_required": st.fixed_dictionaries(
            {}, optional={"include": FILTERS, "exclude": FILTERS}
        ),
        "expected_interval": DURATIONS,
        "policies": st.lists(
            st.fixed_dictionaries(
                {"match": FILTERS.filter(bool), "expected_interval": DURATIONS}
            ),
            min_size=1,
        ),
        "poll": st.fixed_dictionaries(
            {}, optional={"interval": DURATIONS, "max_body": st.integers(1, 2**40)}
        ),
    },
)


@settings(max_examples=60, deadline=None)
@given(panel=CONFIGURATIONS)
def test_every_effective_configuration_loads_to_the_same(
    panel: dict[str, Any], folder: Path
) -> None:
    """Names, patterns and numbers come through whatever characters they hold."""
    loaded = load(folder, {"panels": [panel]})

    assert load(folder, effective_config(loaded)) == loaded


# The page.


def _examples() -> Iterator[str]:
    yield from re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)


def _documented() -> dict[str, list[str]]:
    """Return the keys of the tables, by the section that the heading names."""
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            names = re.findall(r"`(.*?)`", line)
            names = [""] if line.endswith("The keys of the file") else names
        elif cell := re.match(r"\| `(.*?)` \|", line):
            for name in names:
                found.setdefault(name, []).append(cell[1])
    return found


def test_the_page_describes_every_key_and_no_other() -> None:
    """A key without its place on the page does not pass, nor does the opposite."""
    expected = {name: sorted(keys) for name, keys in SECTIONS.items()}

    assert {name: sorted(keys) for name, keys in _documented().items()} == expected


def test_the_page_describes_every_variable_and_no_other() -> None:
    """The environment panel is described by its variables."""
    named = re.findall(r"^\| `(ONAPP_\w+)` \|", PAGE.read_text(), re.MULTILINE)

    assert sorted(named) == sorted(config.VARIABLES)


def test_every_example_on_the_page_is_a_good_configuration(
    folder: Path, certificates: Path
) -> None:
    """What one copies from the page works, once its files are there."""
    files = {
        "/run/secrets/lon1-key": "key",
        "/run/secrets/ams1-key": "key",
        "ca.pem": str(certificates / "one.pem"),
    }
    panels = []
    for example in _examples():
        for name, there in files.items():
            example = example.replace(name, there)  # noqa: PLW2901  # its files
        panels.append(load(folder, example).panels)

    assert len(panels) == 7


def _keys(content: object, path: str = "") -> set[str]:
    """Return the paths of all keys that are written in a file."""
    if isinstance(content, list):
        return {key for part in content for key in _keys(part, path)}
    if not isinstance(content, dict):
        return set()
    return {f"{path}.{key}" for key in content} | {
        below
        for key, value in content.items()
        for below in _keys(value, f"{path}.{key}")
    }


def _properties(schema: Mapping[str, Any], path: str = "") -> set[str]:
    """Return the paths of all keys that a JSON Schema knows."""
    below = {
        f"{path}.{key}": value for key, value in schema.get("properties", {}).items()
    }
    schemas = [(value, key) for key, value in below.items()]
    if "items" in schema and "anyOf" not in schema["items"]:
        schemas.append((schema["items"], path))
    return {*below} | {key for each in schemas for key in _properties(*each)}


def test_the_example_has_every_key_with_its_default(folder: Path) -> None:
    """It is what people copy: all that can be set, and nothing that changes a thing."""
    example = (ROOT / "deploy" / "onapp.example.yml").read_text("utf-8")
    needed = {**PANEL, "basic_auth": {"username": "monitoring@example.com"}}
    needed["basic_auth"]["password_file"] = "key"
    # The keys of a panel's poll are those of the top; others have no default.
    elsewhere = re.compile(r"\.panels\.(poll|policies)\.|\.links\.")
    expected = {key for key in _properties(SCHEMA) if not elsewhere.match(key)}

    assert load(folder, example.replace("/run/secrets/onapp-key", "key")) == load(
        folder, {"panels": [needed]}
    )
    assert _keys(yaml.safe_load(example)) == expected
    assert [line for line in example.splitlines() if len(line) > 90] == []


# The JSON Schema.

SCHEMA: Mapping[str, Any] = json.loads((DOCS / "config.schema.json").read_text("utf-8"))
ONLY_LOADED = re.compile(
    # Files: only who reads them knows. Comparisons of two values.
    "(password_file|tls_(ca|key)_file)_.*|tls_key_file_is_the_key|.*_two_of_a_.*"
    "|.*max_age_less.*|.*data_too_old"
    # What Python has words for and a pattern of JSON Schema has not.
    "|name_.*|password_with.*|proxy_.*|url_(host|port)_.*|url_with_cred.*|username_with.*"
    "|tls_server_name.*|filter_label_.*|virtual_machines_(zero|identifier.*)"
    "|.*_variable|url_with_an_endpoint|url_of_a_page"
    "|expected_interval_too_long|poll_interval_too_short|yaml_.*"
)
"""The bad files, by name, that the JSON Schema need not refuse."""


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda p: p.stem)
def test_the_json_schema_and_the_loader_take_the_same_files(path: Path) -> None:
    """An editor marks what would not load, and nothing else."""
    try:
        content = yaml_file.load(path).content
    except ConfigError:
        return  # no YAML, or too careless a one
    accepted = Draft202012Validator(SCHEMA).is_valid(content)

    if path.name.endswith(".good.yml") or not ONLY_LOADED.fullmatch(path.name[:-8]):
        assert accepted == path.name.endswith(".good.yml")


def test_secrets_compare_by_value() -> None:
    """A changed password makes another configuration; a reload must see it."""
    one = config.load(None, ENVIRONMENT)
    other = config.load(None, {**ENVIRONMENT, "ONAPP_PASSWORD": "changed"})

    assert one != other
    assert one.panels[0].account.secret == LiteralSecret("hunter2")
