"""Authentication: HTTP Basic, the lock-out after failed attempts, and sessions."""

import hashlib
from base64 import b64decode
from binascii import Error as NotBase64
from collections import Counter, deque

_MAX_SESSIONS = 10_000


class Authenticator:
    """Checks credentials, locks accounts and opens sessions."""

    def __init__(self) -> None:
        """Start without sessions."""
        self.failed_attempts: Counter[str] = Counter()
        """The number of failed attempts by account."""
        self.locked: set[str] = set()
        self.sessions_opened = 0
        self._consecutive_failures: Counter[str] = Counter()
        self._session_order: deque[str] = deque(maxlen=_MAX_SESSIONS)
        self._open_sessions: set[str] = set()

    def authenticate(
        self, header: str | None, expected: tuple[str, str], lock_after: int | None
    ) -> bool:
        """Return whether an Authorization header is right; count a wrong one."""
        account, password = credentials(header)
        if (account, password) == expected and account not in self.locked:
            self._consecutive_failures.pop(account, None)
            return True
        self.count_failure(account, lock_after)
        return False

    def count_failure(self, account: str, lock_after: int | None) -> None:
        """Count a failed attempt; lock the account after `lock_after` in a row."""
        self.failed_attempts[account] += 1
        self._consecutive_failures[account] += 1
        if lock_after is not None and self._consecutive_failures[account] >= lock_after:
            self.locked.add(account)

    def unlock(self) -> None:
        """Unlock every account."""
        self.locked.clear()
        self._consecutive_failures.clear()

    def new_session(self, cookie: str | None) -> str | None:
        """Open a session and return its cookie; None: the cookie's session is open."""
        if cookie in self._open_sessions:
            return None
        self.sessions_opened += 1
        session = hashlib.md5(
            str(self.sessions_opened).encode(), usedforsecurity=False
        ).hexdigest()
        if len(self._session_order) == _MAX_SESSIONS:
            self._open_sessions.discard(self._session_order[0])
        self._session_order.append(session)
        self._open_sessions.add(session)
        return session

    def close_sessions(self) -> None:
        """Close every session, as a restart of the panel does."""
        self._session_order.clear()
        self._open_sessions.clear()


def credentials(header: str | None) -> tuple[str, str]:
    """Return account and password of an Authorization header, or empty strings."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        account, _, password = b64decode(encoded).decode().partition(":")
    except (NotBase64, UnicodeDecodeError):
        return "", ""
    return account, password
