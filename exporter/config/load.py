"""The configuration file or the environment → one frozen Config.

No other module reads the configuration or the environment's ``ONAPP_*`` variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from . import yaml_file
from .decode import Location, Parts, decode
from .schema import CONVERTERS, HIDDEN_PATHS, Config, Poll, name_of_panel

VARIABLES = {
    "panels[0].url": "ONAPP_URL",
    "panels[0].basic_auth.username": "ONAPP_USERNAME",
    "panels[0].basic_auth.password_file": "ONAPP_PASSWORD_FILE",
    "panels[0].basic_auth.password": "ONAPP_PASSWORD",
    "panels[0].virtual_machines": "ONAPP_VIRTUAL_MACHINES",
}
"""The key that each variable is equal to."""


def load(file: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the configuration; raise ConfigError when it cannot be used."""
    url = environment.get("ONAPP_URL")
    if file is None and not url:
        raise ConfigError(
            "no panel is configured: give --config.file, or set ONAPP_URL, "
            "ONAPP_USERNAME and ONAPP_PASSWORD_FILE"
        )
    if file is None:
        return _from_environment(environment)
    if url:
        raise ConfigError(
            f"both {file} (--config.file) and ONAPP_URL name panels: remove one of them"
        )
    document = yaml_file.load(file)
    return build(document.content, str(file), file.parent, document.line)


def build(
    content: Any,
    source: str,
    folder: Path = Path(),
    line_of: Callable[[Parts], int | None] | None = None,
) -> Config:
    """Decode the content of a file; raise ConfigError when something is wrong.

    ``source`` and the line are named in errors; relative paths begin at ``folder``.
    """
    if content is None:
        raise ConfigError(f"{source}: is empty; list at least one panel under panels")
    location = Location(
        source, folder.absolute(), _merge_poll(content), _panel_names(content), line_of
    )
    return decode(Config, content, location, CONVERTERS, HIDDEN_PATHS)


def _panels(content: Any) -> list[Any]:
    panels = content.get("panels") if isinstance(content, dict) else None
    return panels if isinstance(panels, list) else []


def _panel_names(content: Any) -> dict[Parts, str]:
    return {
        ("panels", number): name_of_panel(panel)
        for number, panel in enumerate(_panels(content))
        if isinstance(panel, dict)
    }


def _merge_poll(content: Any) -> dict[Parts, Parts]:
    """Add to each panel the keys of ``poll`` that it does not override.

    Returns where what was added is written. Sections of a wrong type stay for the
    decoder to refuse.
    """
    written_at: dict[Parts, Parts] = {}
    for number, panel in enumerate(_panels(content)):
        common = content.get("poll") or {}
        own = panel.get("poll") or {} if isinstance(panel, dict) else None
        if isinstance(common, dict) and isinstance(own, dict):
            own = {key: value for key, value in own.items() if value is not None}
            panel["poll"] = {**common, **own}
            for key in {*Poll.__struct_fields__, *common} - own.keys():
                written_at["panels", number, "poll", key] = ("poll", key)
    return written_at


def _from_environment(environment: Mapping[str, str]) -> Config:
    source = "environment"
    values = {}
    for path, name in VARIABLES.items():
        value = environment.get(name) or None
        if value is not None and not _is_utf8(value):
            raise ConfigError(f"{source}: {name}: is not UTF-8 text")
        values[path.rpartition(".")[2]] = value
    url, servers = values.pop("url"), values.pop("virtual_machines")
    panel: dict[str, Any] = {"url": url, "basic_auth": values}
    if servers is not None:
        panel["virtual_machines"] = [s.strip() for s in servers.split(",") if s.strip()]
    written_at: dict[Parts, Parts] = {
        ("panels", 0, *path.split(".")[1:]): (name,) for path, name in VARIABLES.items()
    }
    location = Location(source, Path().absolute(), written_at)
    return decode(Config, {"panels": [panel]}, location, CONVERTERS, HIDDEN_PATHS)


def _is_utf8(text: str) -> bool:
    """Return whether a variable is UTF-8; Python decodes other bytes as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
