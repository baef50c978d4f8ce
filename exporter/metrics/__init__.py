"""The table of every metric, and the bytes of a scrape.

Takes frozen values of the store and what ``health`` says of them; gives ``/metrics``.
"""
