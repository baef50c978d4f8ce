"""Flags, environment and files → one frozen ``Config``.

Takes what the operator wrote. Returns checked values, or raises a ``ConfigError`` that
says where the mistake is and what would be right.
"""
