"""Flags, environment and files → one frozen ``Config``.

Takes what the operator wrote; gives checked values, or raises a ``ConfigError`` that
says where the mistake is and what would be right.
"""
