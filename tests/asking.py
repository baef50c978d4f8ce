"""A dashboard's queries, asked of Prometheus as Grafana does when it is opened."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import aiohttp
import boards
from boards import ALL
from drawing import Series
from fidelity_bound import DAY, STEP
from monitoring import Prometheus


async def answered(
    prometheus: Prometheus, board: str, now: float, days: float
) -> dict[int, dict[str, list[Series]]]:
    """Ask every query with everything chosen; return the answers panel by panel."""
    while not await _is_there(prometheus):  # noqa: ASYNC110  # another process
        await asyncio.sleep(0.1)
    # The shortest range with four samples in it, as Grafana chooses it.
    known = {
        **dict.fromkeys(boards.variables(board), ALL),
        "__range": f"{days * DAY:.0f}s",
        "__range_s": f"{days * DAY:.0f}",
        "__rate_interval": f"{4 * STEP:.0f}s",
    }
    found: dict[int, dict[str, list[Series]]] = defaultdict(dict)
    for panel in boards.panels(board):
        for target in panel["targets"]:
            expression = boards.filled(target["expr"], known)
            found[panel["id"]][target["refId"]] = (
                await _now_is(prometheus, expression, now)
                if target.get("instant")
                else await _over_time(prometheus, expression, now, days)
            )
    return found


async def _is_there(prometheus: Prometheus) -> bool:
    try:
        await prometheus.query("vector(1)")
    except aiohttp.ClientError:  # it answers 503 at first
        return False
    return True


async def _now_is(prometheus: Prometheus, expression: str, now: float) -> list[Series]:
    answer = await prometheus.api("query", query=expression, time=now)
    return [
        (one["metric"], [(float(one["value"][0]), float(one["value"][1]))])
        for one in answer["result"]
    ]


async def _over_time(
    prometheus: Prometheus, expression: str, now: float, days: float
) -> list[Series]:
    start = now - days * DAY
    answer = await prometheus.api(
        "query_range", query=expression, start=start, end=now, step=2 * STEP
    )
    return [
        (one["metric"], [(float(at), float(value)) for at, value in one["values"]])
        for one in answer["result"]
    ]
