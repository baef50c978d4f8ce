"""The dashboards as the files that Grafana reads."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from . import cloud, server, watcher

FOLDER = Path(__file__).with_name("dashboards")


def texts() -> dict[str, str]:
    """Return the text of each file, by its name."""
    boards = (cloud.board(), server.board(), watcher.board())
    encoder = JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False)
    return {f"{board.uid}.json": encoder.encode(board) + "\n" for board in boards}
