"""What a scraper accepts: format and compression, by weight.

Source: RFC 9110 §12.5, and Prometheus' content negotiation: whatever is asked for,
the text format is a better answer than none.
"""

from __future__ import annotations

from collections.abc import Iterator

from .exposition import OPENMETRICS, TEXT

_OPENMETRICS = "application/openmetrics-text"
_TEXTS = ("text/plain", "text/*", "*/*")


def media_type(accept: str) -> str:
    """Choose OpenMetrics or text, whichever ``Accept`` weighs more."""
    weights = {OPENMETRICS: 0.0, TEXT: 0.0}
    for kind, parameters in _entries(accept):
        weight = _weight(parameters)
        if kind == _OPENMETRICS and parameters.get("version", "1.0.0") == "1.0.0":
            weights[OPENMETRICS] = max(weights[OPENMETRICS], weight)
        elif kind in _TEXTS and parameters.get("version", "0.0.4") == "0.0.4":
            weights[TEXT] = max(weights[TEXT], weight)
    return OPENMETRICS if weights[OPENMETRICS] > weights[TEXT] else TEXT


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether the answer may be compressed, and is not liked better as it is."""
    weights = {kind: _weight(given) for kind, given in _entries(accept_encoding)}
    weight = weights.get("gzip", weights.get("*", 0.0))
    return 0 < weight >= weights.get("identity", 0.0)


def _entries(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    for entry in header.split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        pairs = (part.partition("=") for part in parameters)
        yield (
            kind.lower(),
            {key.strip().lower(): value.strip(' "') for key, _, value in pairs},
        )


def _weight(parameters: dict[str, str]) -> float:
    try:
        weight = float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
