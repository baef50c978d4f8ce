"""Tests for the choice of format and compression."""

from __future__ import annotations

import pytest

from exporter.metrics.exposition import (
    OPENMETRICS,
    TEXT,
    accepts_gzip,
    negotiate_media_type,
)

PROMETHEUS_2_4 = (
    "application/openmetrics-text; version=0.0.1,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_53 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2_NATIVE_HISTOGRAMS = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
    "encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,"
    "application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_TEXT_ONLY = (
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.2"
)
BROWSER = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
    "image/webp,*/*;q=0.8"
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS_2_4, TEXT),
        (PROMETHEUS_2_42, OPENMETRICS),
        (PROMETHEUS_2_53, OPENMETRICS),
        (PROMETHEUS_2_NATIVE_HISTOGRAMS, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        (PROMETHEUS_3_TEXT_ONLY, TEXT),
        (BROWSER, TEXT),
        ("*/*", TEXT),
    ],
)
def test_every_known_scraper_gets_the_format_it_likes_best(
    accept: str, expected: str
) -> None:
    """These are the headers that Prometheus and browsers really send."""
    assert negotiate_media_type(accept) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0", OPENMETRICS),
        ('Application/OpenMetrics-Text; Version="1.0.0" ; Q=0.1', OPENMETRICS),
        ("application/openmetrics-text;q=0.4,text/plain;q=0.5", TEXT),
        ("text/plain;q=0.4 , application/openmetrics-text;q=0.5", OPENMETRICS),
        ("text/plain;q=0,application/openmetrics-text;q=0.001", OPENMETRICS),
        ("text/*;q=0.3,application/openmetrics-text;q=0.2", TEXT),
        ("application/openmetrics-text,text/plain", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;version=2.0.0", TEXT),
    ],
)
def test_the_weight_decides_not_the_order(accept: str, expected: str) -> None:
    """The highest q-value wins; what is liked as much is answered as text."""
    assert negotiate_media_type(accept) == expected


@pytest.mark.parametrize(
    "accept",
    [
        "",
        ",",
        ";;;q=1,,",
        "application/json",
        "text/plain;q=0",
        "*/*;q=0",
        "application/openmetrics-text;q=high",
        "application/openmetrics-text;q=nan",
        "application/openmetrics-text;q=2",
        "application/openmetrics-text;q=-1",
        "application/openmetrics-text;q=",
        "\u2028=;\x85,;=;",
    ],
)
def test_whatever_else_is_asked_for_is_answered_as_text(accept: str) -> None:
    """Garbage is no wish, and text is a better answer than none."""
    assert negotiate_media_type(accept) == TEXT


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.5, *;q=0.1", True),
        ("*", True),
        ("gzip;q=0.001", True),
        ("identity;q=0, gzip", True),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("identity;q=0, *;q=0.5", True),
        ("", False),
        ("identity", False),
        ("deflate, br", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *;q=1", False),
        ("*;q=0", False),
        ("identity;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("gzip;q=nonsense", False),
        (";,=,", False),
    ],
)
def test_an_answer_is_compressed_where_that_is_liked_best(
    accept_encoding: str,
    expected: bool,  # noqa: FBT001  # pytest passes by name
) -> None:
    """Compression needs a weight, and at least that of the plain body."""
    assert accepts_gzip(accept_encoding) is expected
