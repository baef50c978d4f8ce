"""Addresses with placeholders, which the status page fills in."""

from __future__ import annotations

import re
from urllib.parse import quote

import yarl

PLACEHOLDERS = ("panel", "panel_url", "vm_id", "identifier", "alert")
_PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
_SAMPLE = dict.fromkeys(PLACEHOLDERS, "x") | {"panel_url": "https://x"}


class UrlTemplate(str):
    """An address such as ``https://grafana.example.com/d/onapp?var-vm={vm_id}``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> UrlTemplate:
        """Check a template; raise a ValueError that says what would be right."""
        template = cls(text) if isinstance(text, str) else cls()
        other_brace = re.search(r"\{[^}]*\}?|\}", _PLACEHOLDER.sub("", template))
        if other_brace:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise ValueError(
                f"{other_brace[0]} is no placeholder: these are {known}; any other "
                "brace is written as %7B or %7D"
            )
        if not _is_http_url(template.filled_in(_SAMPLE)):
            raise ValueError(
                "must be an address with http or https and without user:password@, "
                "such as https://grafana.example.com/d/onapp?var-vm={vm_id}"
            )
        return template

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the placeholders."""
        return frozenset(_PLACEHOLDER.findall(self))

    def filled_in(self, values: dict[str, str]) -> str:
        """Return the address; all values except ``panel_url`` are percent-encoded."""
        return _PLACEHOLDER.sub(
            lambda found: (
                values[found[1]]
                if found[1] == "panel_url"
                else quote(values[found[1]], safe="")
            ),
            self,
        )


def _is_http_url(text: str) -> bool:
    try:
        url = yarl.URL(text)
    except ValueError:
        return False
    usable = url.scheme in ("http", "https") and bool(url.host) and url.user is None
    return usable and not re.search(r"\s", text)
