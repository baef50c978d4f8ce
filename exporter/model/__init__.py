"""The state of the panels: frozen values, and the store of the last good ones.

Takes the values that ``onapp`` decodes and ``polling`` writes; returns copies that do
not change during a scrape.
"""
