"""The configuration file or the environment → one frozen Config.

No other module reads the configuration or the environment's ``ONAPP_*`` variables.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from . import yaml_file
from .decode import Location, Parts, decode
from .file_watch import FileSet
from .flags import FLAGS, variable
from .schema import CONVERTERS, HIDDEN_PATHS, Config, Poll, name_of_panel

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "ONAPP_URL": ("url",),
    "ONAPP_USERNAME": ("basic_auth", "username"),
    "ONAPP_PASSWORD_FILE": ("basic_auth", "password_file"),
    "ONAPP_PASSWORD": ("basic_auth", "password"),
    "ONAPP_NAME": ("name",),
    "ONAPP_FORMAT": ("format",),
    "ONAPP_CA_FILE": ("tls_config", "ca_file"),
    "ONAPP_SERVER_NAME": ("tls_config", "server_name"),
    "ONAPP_INSECURE_SKIP_VERIFY": ("tls_config", "insecure_skip_verify"),
    "ONAPP_PROXY_URL": ("proxy_url",),
    "ONAPP_PROXY_PASSWORD_FILE": ("proxy_password_file",),
    "ONAPP_VIRTUAL_MACHINES": ("virtual_machines",),
    "ONAPP_EXPECTED_INTERVAL": ("expected_interval",),
    "ONAPP_POLL_INTERVAL": ("poll", "interval"),
    "ONAPP_POLL_TIMEOUT": ("poll", "timeout"),
    "ONAPP_POLL_MAX_AGE": ("poll", "max_age"),
}
"""The panel's key that each variable sets."""
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "ONAPP_VIRTUAL_MACHINES": lambda text: [
        server.strip() for server in text.split(",") if server.strip()
    ],
    "ONAPP_INSECURE_SKIP_VERIFY": lambda text: _BOOLEANS.get(text.lower(), text),
}
"""Parsers of the variables that are not text."""
_KUBERNETES_VARIABLE = re.compile("_SERVICE_|_PORT")
"""Kubernetes sets variables for each service, such as ONAPP_SERVICE_HOST."""


def load(
    file: Path | None, environment: Mapping[str, str], files: FileSet | None = None
) -> Config:
    """Read the configuration; raise ConfigError if it cannot be used.

    The files that are read are added to ``files``, even if one of them is wrong.
    """
    files = files or FileSet()
    url = environment.get("ONAPP_URL")
    if file is None and not url:
        raise ConfigError(
            "no panel is configured: give --config.file, or set ONAPP_URL, "
            "ONAPP_USERNAME and ONAPP_PASSWORD_FILE"
        )
    if file is None:
        return _from_environment(environment, files)
    if url:
        raise ConfigError(
            f"both {file} (--config.file) and ONAPP_URL name panels: remove one of them"
        )
    document = yaml_file.load(files.add(file))
    return build(document.content, str(file), file.parent, document.line, files)


def build(
    content: Any,
    source: str,
    folder: Path = Path(),
    line_of: Callable[[Parts], int | None] | None = None,
    files: FileSet | None = None,
) -> Config:
    """Decode the content of a file; raise ConfigError if it cannot be used.

    Errors name ``source`` and the line. Relative paths start from ``folder``.
    """
    if content is None:
        raise ConfigError(f"{source}: is empty; list at least one panel under panels")
    location = Location(
        source,
        folder.absolute(),
        written_at=_merge_poll(content),
        names=_panel_names(content),
        line_of=line_of,
        files=files or FileSet(),
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

    Returns where the added keys were written. Sections of a wrong type are left to the
    decoder, which rejects them.
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


def unused_variables(environment: Mapping[str, str], file: Path | None) -> list[str]:
    """Describe the ``ONAPP_`` variables that have no effect; values are not shown."""
    flags = {variable(flag) for flag in FLAGS}
    descriptions = []
    for name, value in sorted(environment.items()):
        if not name.startswith("ONAPP_") or not value or name in flags:
            continue
        if name in VARIABLES:
            # ONAPP_URL together with a file is an error, reported elsewhere.
            if file is not None and not environment.get("ONAPP_URL"):
                descriptions.append(f"{name}: the panels come from {file}")
        elif not _KUBERNETES_VARIABLE.search(name):
            known = difflib.get_close_matches(name, [*VARIABLES, *flags], n=1)
            hint = f"; did you mean {known[0]}?" if known else ""
            descriptions.append(f"{ascii(name)[1:-1]}: there is no such variable{hint}")
    return descriptions


def _from_environment(environment: Mapping[str, str], files: FileSet) -> Config:
    source = "environment"
    panel: dict[str, Any] = {}
    for name, path in VARIABLES.items():
        value = environment.get(name)
        if not value:
            continue
        # Python decodes invalid bytes as surrogates, which are replaced here.
        if value.encode("utf-8", "replace").decode() != value:
            raise ConfigError(f"{source}: {name}: is not UTF-8 text")
        section = panel
        for key in path[:-1]:
            section = section.setdefault(key, {})
        section[path[-1]] = _PARSERS.get(name, str)(value)
    written_at: dict[Parts, Parts] = {
        ("panels", 0, *path): (name,) for name, path in VARIABLES.items()
    }
    location = Location(source, Path().absolute(), written_at, files=files)
    return decode(Config, {"panels": [panel]}, location, CONVERTERS, HIDDEN_PATHS)
