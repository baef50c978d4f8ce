"""The bodies of a panel's error responses."""

import json
from html import escape
from typing import Literal

from .encoding import Format

ErrorShape = Literal["string", "array", "base"]

_MESSAGES = {
    401: "You need to sign in or sign up before continuing.",
    403: "You do not have permissions for this action",
    404: "Resource not found",
    422: "The request can not be carried out",
    423: "The account is locked",
    429: "Too many requests",
    502: "Bad gateway",
    503: "The service is not available, please try again later",
    504: "Gateway time-out",
}

INTERNAL_ERROR = (
    b"<html><body><h1>500 Internal Server Error</h1>"
    b"If you run this application, see its log for what went wrong.</body></html>"
)
SIGN_IN = (
    b"<!DOCTYPE html><html><head><title>Sign in</title></head>"
    b'<body><form action="/users/sign_in"></form></body></html>'
)


def error_body(
    status: int, shape: ErrorShape, body_format: Format | None
) -> tuple[bytes, str]:
    """Return the body of an error response and its content type."""
    if status == 500:
        return INTERNAL_ERROR, "text/html"
    message = _MESSAGES.get(status, f"Error {status}")
    if body_format == "xml":
        text = f"<errors>\n  <error>{escape(message)}</error>\n</errors>\n"
        return text.encode(), "application/xml"
    return json.dumps(_json_errors(message, shape)).encode(), "application/json"


def _json_errors(message: str, shape: ErrorShape) -> dict[str, object]:
    if shape == "string":
        return {"error": message}
    return {"errors": [message] if shape == "array" else {"base": [message]}}
