"""The PromQL examples of the manual, asked of a Prometheus that scrapes the demo."""

from __future__ import annotations

import re
import time
from pathlib import Path

import yaml
from checkout import DOCS
from faulty_panel import Panel
from harness import SteppedClock, monitored
from prometheus_processes import prometheus

from exporter.demo.cloud.demo_cloud import demo_cloud

_PAGE = (DOCS / "queries.md").read_text("utf-8")
_QUERIES = re.findall(r"(?s)```promql\n(.*?)```", _PAGE)
_NONE_IN_DEMO = ("onapp_collector_success == 0\n",)
"""Nothing in the demo is of this kind; the query must be understood all the same."""


async def test_every_example_answers_its_question_in_the_demo(
    prometheus_program: str, tmp_path: Path
) -> None:
    """Without an error, and with a result."""
    now = float(int(time.time()))
    panel, clock = Panel(demo_cloud(now)), SteppedClock(now)
    async with monitored(panel, tmp_path, clock=clock) as cloud:
        target = cloud.base.removeprefix("http://")
        job = {"job_name": "onapp", "static_configs": [{"targets": [target]}]}
        file = tmp_path / "prometheus.yml"
        scraped = {"global": {"scrape_interval": "5s"}, "scrape_configs": [job]}
        file.write_text(yaml.safe_dump(scraped))
        async with prometheus(prometheus_program, file) as started:
            await started.wait_for_scrape()
            answers = {query: await started.query(query) for query in _QUERIES}

    assert len(answers) >= 20
    assert [query for query, rows in answers.items() if not rows] == [*_NONE_IN_DEMO]
