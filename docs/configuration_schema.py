"""Write docs/config.schema.json from the model of the configuration."""  # noqa: INP001  # no package

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import msgspec
import yarl
from msgspec.inspect import (
    BoolType,
    CustomType,
    Field,
    IntType,
    LiteralType,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
)

from exporter.config.decode import sections
from exporter.config.schema import Account, Config, Panel, PemFile, PolicyKeys, Tls
from exporter.config.secrets import FileSecret, LiteralSecret
from exporter.config.units import Duration, Size
from exporter.config.url_template import PLACEHOLDERS, UrlTemplate

_CUSTOM: Mapping[Any, Mapping[str, Any]] = {
    Duration: {
        "type": "string",
        "pattern": r"^(?=.)(?!0+[a-z]+$)([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?"
        r"([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        "examples": ["30s", "15m", "1h30m", "7d"],
    },
    Size: {
        "type": ["string", "integer"],
        "pattern": "^[1-9][0-9]* *(B|KiB|MiB|GiB)?$",
        "minimum": 1,
        "examples": ["512KiB", "16MiB"],
    },
    re.Pattern: {"type": "string", "format": "regex"},
    yarl.URL: {
        "type": "string",
        "pattern": r"^https?://[^/?#\s]+(/([^?#@]*[^?#@\s])?)?$",
    },
    UrlTemplate: {
        "type": "string",
        "pattern": r"^(https?://|\{panel_url\})([^{}\s]|\{("
        + "|".join(PLACEHOLDERS)
        + r")\})+$",
    },
    LiteralSecret: {
        "type": "string",
        "pattern": r"^(?!\s)[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s]$",
    },
    FileSecret: {"type": "string"},
    PemFile: {"type": "string"},
}
_RULES: Mapping[type, Mapping[str, Any]] = {
    Account: {
        "required": ["username"],
        "oneOf": [{"required": ["password_file"]}, {"required": ["password"]}],
    },
    Tls: {
        "dependentRequired": {"cert_file": ["key_file"], "key_file": ["cert_file"]},
    },
    PolicyKeys: {
        "required": ["match", "expected_interval"],
        "allOf": [{"properties": {"match": {"minProperties": 1}}}],
    },
    Panel: {
        "required": ["url", "basic_auth"],
        "dependentRequired": {"proxy_password_file": ["proxy_url"]},
        "not": {
            "required": ["virtual_machines", "discovery"],
            "properties": {
                "virtual_machines": {"type": "array"},
                "discovery": {
                    "type": "object",
                    "anyOf": [
                        {"properties": {name: {"type": "object", "minProperties": 1}}}
                        | {"required": [name]}
                        for name in ("include", "exclude")
                    ],
                },
            },
        },
    },
}
"""What keys of a section have to do with each other."""


def text() -> str:
    """Return the schema, for editors and for checks before a release."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of onapp-backup-exporter",
        **_section(sections(Config)[""]),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def described(keys: type[msgspec.Struct]) -> Iterator[tuple[str, str | None, str]]:
    """Yield each key, the default that its description names, and the rest of it."""
    names = dict(
        zip(keys.__struct_fields__, keys.__struct_encode_fields__, strict=True)
    )
    (body,) = ast.parse(inspect.getsource(keys)).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101  # it is one
    for field, below in pairwise([*body.body, None]):
        if not isinstance(field, ast.AnnAssign):
            continue
        match below:
            case ast.Expr(value=ast.Constant(value=str(description))):
                yield names[ast.unparse(field.target)], *_split(description)
            case _:
                raise ValueError(f"{ast.unparse(field)}: has no description")


def _split(description: str) -> tuple[str | None, str]:
    line = re.sub(r"\s+", " ", description.strip()).replace("``", "`")
    found = re.fullmatch(r"(.*?) \(default: ([^()]*)\)", line)
    return (found[2], found[1]) if found else (None, line)


def _section(section: StructType) -> dict[str, Any]:
    described_keys = {
        key: (default, does) for key, default, does in described(section.cls)
    }
    properties = {
        key.encode_name: {
            "description": _description(*described_keys[key.encode_name]),
            **_default(key, described_keys[key.encode_name][0]),
            **(_kind(key.type) if key.required else _optional(_kind(key.type))),
        }
        for key in section.fields
    }
    required = [key.encode_name for key in section.fields if key.required]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": required} if required else {}),
        **_RULES.get(section.cls, {}),
    }


def _description(default: str | None, does: str) -> str:
    does = re.sub(r"\[(.*?)\]\(.*?\)|\*\*", r"\1", does).replace("`", "")
    return does if default is None else f"{does} (default: {default.replace('`', '')})"


def _default(key: Field, named: str | None) -> dict[str, Any]:
    """Return the default, unless its description names one that depends on others."""
    if named is not None or not isinstance(key.default, (bool, int, float, str)):
        return {}
    return {"default": msgspec.to_builtins(key.default, enc_hook=str)}


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    """Allow nothing behind the key, which is to leave it out."""
    if "type" not in schema:
        return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, "type": [*types, "null"]}


def _kind(kind: Type) -> dict[str, Any]:  # noqa: C901, PLR0911  # one case for each type
    match kind:
        case UnionType(types=types):
            kinds = [_kind(each) for each in types if not isinstance(each, NoneType)]
            return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        case StructType():
            return _section(kind)
        case VarTupleType(item_type=item, min_length=least):
            return {"type": "array", "items": _kind(item), "minItems": least or 0}
        case LiteralType(values=values):
            return {"enum": list(values)}
        case IntType(ge=least):
            return {"type": "integer"} | ({} if least is None else {"minimum": least})
        case StrType(min_length=least):
            return {"type": "string", "minLength": least or 0}
        case BoolType():
            return {"type": "boolean"}
        case CustomType(cls=cls):
            return dict(_CUSTOM[cls])
    raise TypeError(f"no JSON Schema for {kind}")
