"""Prometheus exporter for the backups of OnApp clouds.

The data flow, one package per step:
panel → onapp → polling → model (store) → health → metrics, status → web → /metrics
"""

__version__ = "0.1.0"
