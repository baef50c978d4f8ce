"""Tests of the chart and the kustomize folders: what clusters make of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from checkout import ROOT
from cloudcoil.models.prometheus_operator import v1
from kubernetes_manifests import (
    CHART,
    IMAGE,
    KUBERNETES,
    NEWEST,
    OLDEST,
    Manifest,
    environment,
    exporter,
    helm_error,
    helm_template,
    kustomized,
    objects_of,
    only_object,
    output_of,
    pod,
)

from exporter import __version__, cli
from exporter.config import flags
from exporter.web.tls import TlsServerKeys

CASES = sorted((CHART / "ci").glob("*-values.yaml"))
RULES = ROOT / "deploy" / "prometheus"
DASHBOARDS = ROOT / "grafana" / "dashboards"
DEMO = ("--set", "demo=true")
PANEL = ("--values", CHART / "ci" / "panel-values.yaml")
SHARDED = ("--values", CHART / "ci" / "sharded-values.yaml")
ENVIRONMENT = ("--values", CHART / "ci" / "environment-values.yaml")

_KUBERNETES = ("--kube-version", NEWEST)
_TLS = ("--set", "webConfig.tls_server_config.cert_file=server.crt")
_DEMANDED = "webConfig.tls_server_config.client_auth_type=RequireAndVerifyClientCert"
_CLIENTS = (*DEMO, *_TLS, "--set", _DEMANDED)


def complaints(manifest: Manifest, version: str) -> str:
    """Return what is wrong with an object, by its kind's schema; unknown keys too."""
    if not manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            return str(error)
        return ""
    model = getattr(v1, manifest["kind"])
    understood = model.model_validate(manifest)
    known = understood.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return "" if known == manifest else f"only understood: {known}"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_cluster_understands_every_word_of_the_chart(
    case: Path, version: str
) -> None:
    """By Kubernetes' own schemas, and by those of the Prometheus operator."""
    manifests = helm_template("--values", case, version=version)

    assert [complaints(manifest, version) for manifest in manifests] == [""] * len(
        manifests
    )


@pytest.mark.parametrize("folder", ["base", "sharded"])
def test_a_cluster_understands_every_word_of_the_kustomize_folders(folder: str) -> None:
    """By the same schemas."""
    assert [
        complaint
        for manifest in kustomized(KUBERNETES / folder)
        for version in (OLDEST, NEWEST)
        if (complaint := complaints(manifest, version))
    ] == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"spec": {"replicas": "3"}}, "'3' is not of type"),
        ({"sepc": {}}, "'sepc' was unexpected"),
    ],
)
def test_the_schemas_find_what_a_cluster_would_refuse(
    change: Manifest, complaint: str
) -> None:
    """Or the tests above would say nothing."""
    manifest = only_object(helm_template(*DEMO), "StatefulSet")

    assert complaint in complaints(manifest | change, NEWEST)


def test_the_operator_s_schemas_find_a_word_that_it_does_not_know() -> None:
    """Or the tests above would say nothing."""
    monitor = only_object(helm_template(*PANEL), "ServiceMonitor")
    wrong = {"endpoints": [{"port": "metrics", "intervall": "1m"}]}

    assert complaints(monitor, NEWEST) == ""
    assert complaints(monitor | {"spec": monitor["spec"] | wrong}, NEWEST) != ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_helm_lint_has_nothing_to_say(case: Path) -> None:
    """With warnings as errors, for each way to use the chart."""
    words = output_of(
        *("helm", "lint", "--strict", "--kube-version", NEWEST),
        *("--values", case, CHART),
    )

    assert "1 chart(s) linted, 0 chart(s) failed" in words


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "no panel to watch: set config.panels"),
        (["--set", "demo=true,config.panels[0].url=https://cp"], "leave out demo, or"),
        (["--set", "existingConfigSecret=a", *PANEL], "set one of them"),
        (["--set", "credentials.existingSecret=a", *PANEL], "set one of them"),
        (["--set", "existingWebConfigSecret=a", *ENVIRONMENT], "set one of them"),
        (["--set", "podMonitor.enabled=true", *PANEL], "is scraped twice"),
        (["--set", "serviceMonitor.scheme=https", *PANEL], "scheme: set http"),
        ([*_TLS, "--set", "podMonitor.enabled=true", *DEMO], "scheme: set https"),
        (
            [*_CLIENTS, "--set", "podMonitor.enabled=true,podMonitor.scheme=https"],
            "podMonitor.tlsConfig: name cert and keySecret",
        ),
        (["--set", "podMonitor.enabled=true", *ENVIRONMENT], "podMonitor.basicAuth"),
        (["--set", "replica=2", *DEMO], "replica"),
        (["--set", "replicas=0", *DEMO], "replicas"),
        (["--set", "shards=0", *DEMO], "shards"),
        (["--set", "image.digest=abc", *DEMO], "digest"),
        (["--set", "config.panel=x", *DEMO], "panel"),
    ],
)
def test_values_that_cannot_work_are_refused(
    options: list[str | Path], reason: str
) -> None:
    """Before anything is installed, and with what would be right."""
    assert reason in helm_error(*options)


@pytest.mark.parametrize("options", [PANEL, SHARDED])
def test_a_namespace_may_look_like_a_number(options: tuple[str | Path]) -> None:
    """It is text all the same, which a cluster insists on."""
    manifests = helm_template(*options, "--set-string", "namespaceOverride=2024")

    assert {each["metadata"]["namespace"] for each in manifests} == {"2024"}


@pytest.mark.parametrize("options", [DEMO, PANEL, SHARDED, ENVIRONMENT])
def test_the_pod_may_do_nothing_that_it_need_not(options: tuple[str | Path]) -> None:
    """What the restricted Pod Security Standard asks for, and a read-only root."""
    manifests = helm_template(*options)
    together, own = pod(manifests), exporter(manifests)["securityContext"]

    assert together["automountServiceAccountToken"] is False
    assert together["enableServiceLinks"] is False
    assert together["securityContext"]["runAsNonRoot"] is True
    assert together["securityContext"]["runAsUser"] == 65534
    assert together["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(
        volume["secret"]["defaultMode"] == 0o440
        for volume in together.get("volumes", [])
        if "secret" in volume
    )


def test_probes_ask_over_http_where_everybody_may_ask() -> None:
    """The cheaper way, and the one that knows of readiness."""
    container = exporter(helm_template(*DEMO))

    assert container["livenessProbe"]["httpGet"]["path"] == "/-/healthy"
    assert container["readinessProbe"]["httpGet"]["path"] == "/-/ready"


def test_probes_behind_a_web_configuration_are_the_health_check() -> None:
    """A probe has no password and no certificate; the check needs none."""
    container = exporter(helm_template(*SHARDED))
    variables = environment(helm_template(*SHARDED), "backups-0")
    check = ["onapp-backup-exporter", "healthcheck"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}

    assert container["livenessProbe"]["exec"] == {"command": check}
    assert container["readinessProbe"]["exec"] == {"command": [*check, "--ready"]}
    assert (
        variables["ONAPP_EXPORTER_WEB_CONFIG_FILE"] == f"{mounts['web-config']}/web.yml"
    )
    assert "--web.config.file" not in str(container.get("args"))


@pytest.mark.parametrize(
    ("options", "address"),
    [
        (DEMO, "http://localhost:10058/"),
        (ENVIRONMENT, "http://localhost:10058/"),
        ((*DEMO, *_TLS), "https://localhost:10058/"),
        (SHARDED, "https://localhost:10058/"),
    ],
)
def test_the_notes_name_the_address_that_answers(
    options: tuple[str | Path, ...], address: str, tmp_path: Path
) -> None:
    """Users alone are no TLS. Helm shows notes to clusters only: here as an object."""
    shutil.copytree(CHART, tmp_path / "chart")
    notes = tmp_path / "chart" / "templates" / "NOTES.txt"
    text = textwrap.indent(notes.read_text("utf-8"), "    ")
    notes.unlink()
    notes.with_name("notes.yaml").write_text(
        f"apiVersion: v1\nkind: ConfigMap\ndata:\n  notes: |\n    .\n{text}", "utf-8"
    )
    command = ("helm", "template", "x", tmp_path / "chart", *_KUBERNETES)
    (shown,) = yaml.safe_load_all(
        output_of(*command, "--show-only", "templates/notes.yaml", *options)
    )

    assert address in shown["data"]["notes"].split()


def test_a_label_that_is_set_twice_is_there_once() -> None:
    """The one of the object itself; those that pods are found by cannot be replaced."""
    name = "app\\.kubernetes\\.io/name"
    values = f"labels.team=a,service.labels.team=b,podLabels.team=c,podLabels.{name}=d"
    manifests = helm_template(*DEMO, "--set", values)
    command = ("helm", "template", "x", CHART, *_KUBERNETES, *DEMO, "--set", values)
    text = output_of(*command, "--show-only", "templates/service.yaml")
    stateful = only_object(manifests, "StatefulSet")
    labels = stateful["spec"]["template"]["metadata"]["labels"]

    assert text.count("team:") == 1
    assert only_object(manifests, "Service")["metadata"]["labels"]["team"] == "b"
    assert stateful["metadata"]["labels"]["team"] == "a"
    assert labels["team"] == "c"
    assert stateful["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    ("options", "image"),
    [
        (DEMO, f"{IMAGE}:{__version__}"),
        (
            (*DEMO, "--set", "image.registry=registry.example.com,image.tag=1.2"),
            "registry.example.com/onapp-backup-exporter/onapp-backup-exporter:1.2",
        ),
        (
            (*DEMO, "--set", "image.registry=,image.repository=localhost:5000/a/b"),
            f"localhost:5000/a/b:{__version__}",
        ),
        (
            (*DEMO, "--set", f"image.digest=sha256:{'0' * 64}"),
            f"{IMAGE}:{__version__}@sha256:{'0' * 64}",
        ),
    ],
)
def test_the_image_is_the_exporter_s_own_version_unless_told_otherwise(
    options: tuple[str, ...], image: str
) -> None:
    """The chart's appVersion is that of this exporter."""
    assert exporter(helm_template(*options))["image"] == image


def test_the_exporter_takes_the_configuration_that_the_chart_gives_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Secrets are laid out as the pod mounts them, and the exporter is asked."""
    manifests = helm_template(*PANEL)
    text = ""
    for mount in exporter(manifests)["volumeMounts"]:
        (tmp_path / mount["name"]).mkdir()
    for secret in objects_of(manifests, "Secret"):
        for name, content in secret["stringData"].items():
            kind = secret["metadata"]["name"].removeprefix("onapp-backup-exporter-")
            (tmp_path / kind / name).write_text(content)
            text = content if name == "onapp.yml" else text
    location = "/etc/onapp-backup-exporter/credentials"
    file = tmp_path / "config" / "onapp.yml"
    file.write_text(text.replace(location, str(tmp_path / "credentials")))
    variables = environment(manifests, "onapp-backup-exporter-0")
    status = cli.run(
        ["--config.check"], variables | {"ONAPP_EXPORTER_CONFIG_FILE": str(file)}
    )
    printed = capsys.readouterr()

    assert location in text
    assert (status, printed.err) == (0, "")
    assert "https://cp.lon1.example.com" in printed.out
    assert "the-api-key" not in printed.out


@pytest.mark.parametrize(
    ("manifests", "replicas"),
    [
        (lambda: helm_template(*DEMO, "--set", "shards=3"), 1),
        (lambda: helm_template(*SHARDED), 2),
        (lambda: kustomized(KUBERNETES / "sharded"), 1),
    ],
    ids=["chart", "chart-with-replicas", "kustomize"],
)
def test_each_pod_reads_the_share_of_its_number(
    manifests: Callable[[], list[Manifest]], replicas: int
) -> None:
    """What a cluster tells the pods is what the exporter understands."""
    stateful = only_object(manifests(), "StatefulSet")
    name, pods = stateful["metadata"]["name"], stateful["spec"]["replicas"]
    read = [
        flags.parse([], environment(manifests(), f"{name}-{number}"))
        for number in range(pods)
    ]

    assert stateful["spec"]["podManagementPolicy"] == "Parallel"
    assert [(one.shard, one.total_shards) for one in read] == replicas * [
        (0, 3),
        (1, 3),
        (2, 3),
    ]


@pytest.mark.parametrize(("folder", "shards"), [("base", 1), ("sharded", 3)])
def test_more_pods_over_a_kustomize_folder_are_replicas(
    folder: str, shards: int, tmp_path: Path
) -> None:
    """As the page has it: a number of pods, and the shards stay as they are."""
    page = (ROOT / "docs" / "replicas.md").read_text("utf-8")
    (shown,) = re.findall(
        r"^```yaml\n(resources:.*?)^```", page, re.MULTILINE | re.DOTALL
    )
    kustomization = yaml.safe_load(shown)
    (resource,), (pods,) = kustomization["resources"], kustomization["replicas"]
    path = os.path.relpath(KUBERNETES / folder, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(kustomization | {"resources": [path]})
    )
    manifests = kustomized(tmp_path)
    variables = environment(manifests, f"{pods['name']}-1")

    assert (ROOT / resource).is_dir()
    assert only_object(manifests, "StatefulSet")["spec"]["replicas"] == pods["count"]
    assert variables["ONAPP_EXPORTER_TOTAL_SHARDS"] == str(shards)


def test_replicas_prefer_different_nodes_unless_the_values_say_where_pods_may_be() -> (
    None
):
    """On one node they would fail together."""

    def apart(values: str) -> Any:
        return pod(helm_template(*DEMO, "--set", values)).get("affinity")

    selector = only_object(helm_template(*DEMO), "StatefulSet")["spec"]["selector"]
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    preferred = [{"weight": 100, "podAffinityTerm": term}]

    assert apart("shards=2") is None
    assert apart("replicas=2") == {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": preferred
        }
    }
    assert apart("replicas=2,affinity.podAffinity.a=b") == {"podAffinity": {"a": "b"}}


def test_the_alerts_are_those_of_the_shipped_files() -> None:
    """Not a copy that could differ."""
    groups = [
        group
        for rule in objects_of(helm_template(*PANEL), "PrometheusRule")
        for group in rule["spec"]["groups"]
    ]
    shipped = [
        group
        for file in sorted(RULES.glob("*.rules.yml"))
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
    ]

    assert groups[: len(shipped)] == shipped
    assert [group["name"] for group in groups[len(shipped) :]] == ["mine"]


def test_the_dashboards_are_those_of_the_shipped_files() -> None:
    """Each in a ConfigMap of its own, as Grafana's sidecar looks for them."""
    found = {
        name: json.loads(content)
        for config_map in objects_of(helm_template(*PANEL), "ConfigMap")
        for name, content in config_map["data"].items()
        if config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    }

    assert found == {
        file.name: json.loads(file.read_text("utf-8"))
        for file in DASHBOARDS.glob("*.json")
    }
    assert len(found) > 0


def test_a_package_of_the_chart_holds_the_alerts_and_dashboards(tmp_path: Path) -> None:
    """What is a link in the sources is a file in the package."""
    output_of("helm", "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("*.tgz")

    def everything(chart: Path) -> str:
        values = CHART / "ci" / "panel-values.yaml"
        return output_of("helm", "template", "x", chart, "-f", values, *_KUBERNETES)

    assert everything(package) == everything(CHART)


@pytest.mark.parametrize("release", ["onapp-backup-exporter", "lon"])
@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_the_alerts_know_the_job_that_the_operator_scrapes(
    kind: str, release: str
) -> None:
    """They look for jobs called onapp-backup…; a pod keeps its name over restarts."""
    key = kind[0].lower() + kind[1:]
    manifests = helm_template(*DEMO, "--set", f"{key}.enabled=true", release=release)
    spec = only_object(manifests, kind)["spec"]
    (endpoint,) = spec.get("endpoints") or spec["podMetricsEndpoints"]
    job, instance = endpoint["relabelings"]

    assert job["targetLabel"] == "job"
    assert job["replacement"].startswith("onapp-backup-exporter")
    assert job["replacement"].endswith(release)
    assert instance == {
        "sourceLabels": ["__meta_kubernetes_pod_name"],
        "targetLabel": "instance",
    }
    labels = only_object(manifests, "StatefulSet")["spec"]["template"]["metadata"][
        "labels"
    ]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert (
        only_object(manifests, "Service")["spec"]["selector"].items() <= labels.items()
    )


def _values_of_the_manual() -> Iterator[str]:
    for page in ("install-kubernetes.md", "replicas.md"):
        text = (ROOT / "docs" / page).read_text("utf-8")
        for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", text):
            if not block.startswith(("scrape_configs:", "resources:")):
                yield block


@pytest.mark.parametrize("values", [*_values_of_the_manual()])
def test_values_of_the_manual_are_values_of_the_chart(
    values: str, tmp_path: Path
) -> None:
    """Each block as it stands; those without a panel over the simulated cloud."""
    file = tmp_path / "values.yaml"
    file.write_text(values)
    given = () if "config" in yaml.safe_load(values) else DEMO

    assert helm_template(*given, "--values", str(file))


def test_prometheus_without_the_operator_finds_the_pods_by_the_page_s_rules() -> None:
    """Those of the chart, and under a job that the alerts know."""
    page = (ROOT / "docs" / "install-kubernetes.md").read_text("utf-8")
    (shown,) = re.findall(
        r"^```yaml\n(scrape_configs:.*?)^```", page, re.MULTILINE | re.DOTALL
    )
    (job,) = yaml.safe_load(shown)["scrape_configs"]
    keep, instance = job["relabel_configs"]
    manifests = helm_template(*DEMO)
    template = only_object(manifests, "StatefulSet")["spec"]["template"]
    (port,) = exporter(manifests)["ports"]
    found = {"__meta_kubernetes_pod_container_port_name": port["name"]} | {
        f"__meta_kubernetes_pod_label_{re.sub(r'[^a-z0-9]', '_', name)}": value
        for name, value in template["metadata"]["labels"].items()
    }

    assert job["job_name"].startswith("onapp-backup")
    assert job["kubernetes_sd_configs"][0]["role"] == "pod"
    assert keep["action"] == "keep"
    assert keep["regex"] == ";".join(found[name] for name in keep["source_labels"])
    assert instance["target_label"] == "instance"


def test_a_changed_configuration_or_key_is_no_other_pod() -> None:
    """The exporter takes both while it runs, and keeps the data that it has."""

    def template(*options: str) -> Manifest:
        stateful = only_object(helm_template(*PANEL, *options), "StatefulSet")
        return dict(stateful["spec"]["template"])

    variables = environment(helm_template(*PANEL), "onapp-backup-exporter-0")
    mounts = exporter(helm_template(*PANEL))["volumeMounts"]

    assert template("--set", "config.poll.interval=5m") == template()
    assert template("--set", "credentials.data.lon1=another") == template()
    assert flags.parse([], variables).auto_reload
    assert all("subPath" not in mount for mount in mounts), "would never change"


def examples_of_values() -> list[str]:
    """Return the values that the page shows."""
    page = (ROOT / "docs" / "install-kubernetes.md").read_text("utf-8")
    shown = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [each for each in shown if not each.startswith("scrape_configs:")]


@pytest.mark.parametrize("values", examples_of_values(), ids=lambda v: v.split(":")[0])
def test_the_chart_takes_the_values_that_the_page_shows(
    values: str, tmp_path: Path
) -> None:
    """And a cluster takes what becomes of them."""
    (tmp_path / "values.yaml").write_text(values, "utf-8")
    panel = () if values.startswith("config:") else DEMO
    manifests = helm_template("--values", tmp_path / "values.yaml", *panel)

    assert [complaints(each, NEWEST) for each in manifests] == [""] * len(manifests)


def test_the_page_shows_how_nobody_scrapes_without_a_certificate() -> None:
    """The exporter demands one, and Prometheus is given one."""
    (values,) = [yaml.safe_load(v) for v in examples_of_values() if "webConfig" in v]
    tls = values["webConfig"]["tls_server_config"]

    assert tls["client_auth_type"] == "RequireAndVerifyClientCert"
    assert {*tls} <= {*TlsServerKeys.__struct_fields__}
    assert {"ca", "cert", "keySecret"} <= {*values["serviceMonitor"]["tlsConfig"]}


def test_the_memory_of_a_pod_is_for_as_many_backups_as_the_values_say() -> None:
    """By the page on sizing: twice what so many backups take."""
    values = (CHART / "values.yaml").read_text("utf-8")
    sizing = (ROOT / "docs" / "sizing.md").read_text("utf-8")
    (promised,) = re.findall(r"# ([0-9 ]+) backups, such as", values)
    (first, each) = re.findall(r"Take (\d+) MB, and ([0-9.]+) KB for each", sizing)[0]
    (most,) = re.findall(r"512 MiB, is for up to ([0-9 ]+) backups", sizing)
    backups = int(promised.replace(" ", ""))
    limit = yaml.safe_load(values)["resources"]["limits"]["memory"]

    assert limit == "512Mi"
    assert promised == most
    assert 2 * (int(first) * 1e6 + backups * float(each) * 1e3) <= 512 * 2**20


def test_tls_on_or_off_is_another_pod_and_another_user_is_not() -> None:
    """A running exporter takes any web configuration but that."""

    def template(*options: str) -> Manifest:
        stateful = only_object(helm_template(*ENVIRONMENT, *options), "StatefulSet")
        return dict(stateful["spec"]["template"])

    assert template(*_TLS) != template()
    assert template("--set", "webConfig.basic_auth_users.another=x") == template()


@pytest.mark.parametrize(
    ("folder", "options"),
    [
        ("base", ()),
        ("sharded", ("--set", "shards=3,podDisruptionBudget.enabled=true")),
    ],
)
def test_kustomize_makes_what_the_chart_makes(
    folder: str, options: tuple[str, ...]
) -> None:
    """But for the namespace and the labels that name the chart."""
    name = "onapp-backup-exporter"
    chart = helm_template(
        *("--set", f"existingConfigSecret={name}-config"),
        *("--set", f"credentials.existingSecret={name}-credentials"),
        *options,
    )
    for manifest in chart:
        manifest["metadata"].pop("namespace")
        manifest["metadata"]["labels"].pop("helm.sh/chart")
        manifest["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
    kinds = sorted(manifest["kind"] for manifest in chart)

    assert (
        sorted(manifest["kind"] for manifest in kustomized(KUBERNETES / folder))
        == kinds
    )
    assert [only_object(kustomized(KUBERNETES / folder), kind) for kind in kinds] == [
        only_object(chart, kind) for kind in kinds
    ]


def test_the_chart_has_the_version_that_it_is_released_with() -> None:
    """The exporter's own: a chart of the sources is not newer than those released."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))

    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_every_value_of_the_chart_is_in_its_schema() -> None:
    """And nothing else: a value that is spelled wrongly is refused."""
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))

    assert schema["additionalProperties"] is False
    assert {*schema["properties"]} == {*values, "global"}
