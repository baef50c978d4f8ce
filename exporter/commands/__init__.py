"""The commands besides serving: ``check``, ``once``, ``demo``, ``healthcheck``.

Takes the flags; gives a report, a file or an exit status.
"""
