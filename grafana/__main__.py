"""Write the dashboards again: `make dashboards`."""

from __future__ import annotations

from .files import FOLDER, texts

for name, text in texts().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
