"""The keys of the web configuration file, and the types of their values.

Source: the Prometheus exporter-toolkit's web configuration, as ``promtool check
web-config`` reads it: a key set to nothing counts as left out, text needs no quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..config.messages import Diagnosis
from ..config.yaml_file import Scalar
from ..errors import ConfigError


class Text(str):
    """Any scalar, as it is written."""

    __slots__ = ()


class Switch(int):
    """A YAML 1.1 boolean."""


class TlsServerKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``tls_server_config``: who the server is, and whom it lets in."""

    cert_file: Text | None = None
    key_file: Text | None = None
    client_auth_type: Text | None = None
    client_ca_file: Text | None = None
    min_version: Text | None = None
    max_version: Text | None = None
    cipher_suites: list[Text | None] | None = None
    prefer_server_cipher_suites: Switch | None = None
    curve_preferences: list[Text | None] | None = None


class HttpServerKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``http_server_config``: how answers are sent."""

    http2: Switch | None = None
    headers: dict[str, Any] | None = None


class WebKeys(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    tls_server_config: TlsServerKeys | None = None
    http_server_config: HttpServerKeys | None = None
    basic_auth_users: dict[str, Any] | None = None


_SAYING = Diagnosis(
    sections={
        "": WebKeys,
        "tls_server_config": TlsServerKeys,
        "http_server_config": HttpServerKeys,
    },
    delicate=re.compile("basic_auth_users"),
    example="tls_server_config",
)
_TRUE = ("true", "yes", "on", "y")
_FALSE = ("false", "no", "off", "n")


def keys(content: Any, source: str) -> WebKeys:
    """Check what ``document.load_scalars`` returned; raise ConfigError if wrong."""
    if content is None:
        return WebKeys()
    try:
        return msgspec.convert(content, WebKeys, dec_hook=_hook)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_SAYING.problem(error, content)}") from None


def _hook(kind: type, value: Any) -> Any:
    return _READERS[kind](value)


def _text(value: Any) -> Text:
    if not isinstance(value, Scalar):
        raise ValueError("must be text")  # noqa: TRY004  # msgspec's way
    return Text(value.text)


def _switch(value: Any) -> Switch:
    if isinstance(value, Scalar) and (value.kind == "bool" or value.plain):
        word = value.text.lower()
        if word in _TRUE or word in _FALSE:
            return Switch(word in _TRUE)
    raise ValueError("must be true or false")


_READERS: Mapping[type, Callable[[Any], Any]] = {Text: _text, Switch: _switch}
