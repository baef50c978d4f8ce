"""The commands besides serving: ``check``, ``once``, ``demo``, ``healthcheck``.

Takes the flags. Returns a report, a file or an exit status.
"""
