"""Prometheus exporter for the backups of OnApp clouds.

The way of the data, one module a step:
panel → client → parser (model) → reader → poller → store → verdict → families
→ collector / exposition → web → /metrics
"""

__version__ = "1.0.0"
