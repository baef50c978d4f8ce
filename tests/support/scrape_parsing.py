"""What prometheus-client's parsers understand of a scrape."""

from __future__ import annotations

from typing import Any

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.metrics.exposition import OPENMETRICS


def parsed_scrape(text: str, media_type: str) -> list[Any]:
    """Return all that a scrape says, in an order that does not matter."""
    parse = parse_openmetrics if media_type == OPENMETRICS else parse_text
    return sorted(
        (
            metric.name,
            metric.documentation,
            metric.type,
            metric.unit,
            sorted(
                (sample.name, sorted(sample.labels.items()), float(sample.value))
                for sample in metric.samples
            ),
        )
        for metric in parse(text)
    )
