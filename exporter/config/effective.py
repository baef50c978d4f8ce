"""The effective configuration as YAML, without secrets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import yaml

from ..model.selection import ConfiguredServer, Filter
from .secrets import HIDDEN, FromFile
from .settings import Config, Panel, Tls


def effective(config: Config) -> str:
    """Write a configuration as the file that would make it, secrets hidden."""
    content = {
        "detail": {
            "backups": config.detail.backups,
            "newest_per_target": config.detail.newest_per_target,
        },
        "panels": [_panel(panel) for panel in config.panels],
    }
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _written(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML folds unprinted characters such as U+0085 unless they must be escaped.
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


class _Dumper(yaml.SafeDumper):
    """Writes text so that it reads the same, whatever characters it holds."""

    yaml_representers: ClassVar[dict[type, Callable[[Any, Any], yaml.Node]]] = {
        **yaml.SafeDumper.yaml_representers,
        str: _written,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    selection = panel.selection
    content = {
        "name": panel.name,
        "url": str(panel.url),
        "format": panel.form,
        "basic_auth": _basic_auth(panel),
        "tls_config": _tls(panel.tls),
        "proxy_url": _proxy(panel),
        "virtual_machines": [_server(server) for server in selection.configured],
        "discovery": {
            "interval": str(panel.discovery_interval),
            "include": _filter(selection.include),
            "exclude": _filter(selection.exclude),
        },
        "backup_required": {
            "include": _filter(selection.required),
            "exclude": _filter(selection.not_required),
        },
        "expected_interval": _duration(selection.fallback_interval_seconds),
        "collectors": dataclasses.asdict(panel.collectors),
        "poll": {
            "interval": str(panel.poll.interval),
            "timeout": str(panel.poll.timeout),
            "concurrency": panel.poll.concurrency,
            "max_age": str(panel.poll.max_age),
            "max_body": str(panel.poll.max_body),
        },
    }
    if not selection.configured:
        del content["virtual_machines"]
    return content


def _basic_auth(panel: Panel) -> dict[str, str]:
    secret = panel.account.secret
    if isinstance(secret, FromFile):
        return {
            "username": panel.account.username,
            "password_file": str(secret.path),
        }
    return {"username": panel.account.username, "password": HIDDEN}


def _tls(tls: Tls) -> dict[str, Any]:
    return {
        "ca_file": _text(tls.ca_file),
        "cert_file": _text(tls.cert_file),
        "key_file": _text(tls.key_file),
        "server_name": tls.server_name,
        "insecure_skip_verify": tls.insecure_skip_verify,
    }


def _proxy(panel: Panel) -> str | None:
    proxy = panel.proxy_url
    if proxy is None or proxy.raw_authority.rpartition("@")[0] == "":
        return _text(proxy)
    # A user's name without a password is often a token.
    return str(proxy.with_user(None)).replace("//", f"//{HIDDEN}@", 1)


def _server(server: ConfiguredServer) -> int | str | dict[str, Any]:
    if server.expected_interval_seconds is None:
        return server.id
    interval = _duration(server.expected_interval_seconds)
    return {"id": server.id, "expected_interval": interval}


def _filter(patterns: Filter) -> dict[str, Any]:
    content = {
        "label": patterns.label and patterns.label.pattern,
        "hostname": patterns.hostname and patterns.hostname.pattern,
        "identifier": patterns.identifier and patterns.identifier.pattern,
        "user_id": patterns.user_id and list(patterns.user_id),
    }
    return {key: value for key, value in content.items() if value is not None}


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else _text(seconds)


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)
