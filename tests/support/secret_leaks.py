"""Search for secrets in texts: plain, escaped or encoded."""

from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus


def encodings(secret: str) -> set[str]:
    """Return every form of a secret from which it can be read back."""
    whole = secret.encode()
    found = {
        secret,
        secret[::-1],
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        html.escape(secret, quote=False),
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        whole.hex(),
    }
    for offset in range(3):
        # What stands in Base64 of any text with the secret in it, wherever it does.
        for encode in (b64encode, urlsafe_b64encode):
            text = encode(b"\0" * offset + whole).decode().rstrip("=")
            found.add(text[(offset * 8 + 5) // 6 : (offset + len(whole)) * 8 // 6])
    return found


def leaks(output: Mapping[str, str], secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Return which text holds which secret, ignoring case."""
    lowered = {where: text.lower() for where, text in output.items()}
    return [
        (where, secret)
        for secret in secrets
        for form in sorted(encodings(secret))
        for where, text in lowered.items()
        if form.lower() in text
    ]
