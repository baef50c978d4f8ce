"""The state of the panels: frozen values, and a store of the last good ones.

``polling`` writes the values that ``onapp`` decodes. Readers get copies that do not
change during a scrape.
"""
