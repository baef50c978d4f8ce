"""A simulated OnApp cloud: the real API, and no knowledge of the exporter."""
