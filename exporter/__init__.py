"""Prometheus exporter for the backups of OnApp clouds.

The way of the data, one module a step:
panel → client → wire → parser (model) → reader → poller → store → verdict → samples
→ families → collector / exposition → web → /metrics
"""

__version__ = "0.1.0"
