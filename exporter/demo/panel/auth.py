"""Who may come in: HTTP Basic, the lock-out after wrong tries, sessions."""

import hashlib
from base64 import b64decode
from binascii import Error as NotBase64
from collections import Counter, deque

_SESSIONS_KEPT = 10_000


class Gate:
    """Counts the tries of every account and the sessions that were opened."""

    def __init__(self) -> None:
        """Begin without any."""
        self.attempts: Counter[str] = Counter()
        """Refused tries by account."""
        self.locked: set[str] = set()
        self.sessions_opened = 0
        self._in_a_row: Counter[str] = Counter()
        self._sessions: deque[str] = deque(maxlen=_SESSIONS_KEPT)
        self._known: set[str] = set()

    def admits(
        self, header: str | None, right: tuple[str, str], lock_after: int | None
    ) -> bool:
        """Check an Authorization header and count it when it is wrong."""
        account, password = _credentials(header)
        if (account, password) == right and account not in self.locked:
            self._in_a_row.pop(account, None)
            return True
        self.refuse(account, lock_after)
        return False

    def refuse(self, account: str, lock_after: int | None) -> None:
        """Count a refused try; lock the account after so many in a row."""
        self.attempts[account] += 1
        self._in_a_row[account] += 1
        if lock_after is not None and self._in_a_row[account] >= lock_after:
            self.locked.add(account)

    def unlock(self) -> None:
        """Let every account try again."""
        self.locked.clear()
        self._in_a_row.clear()

    def new_session(self, cookie: str | None) -> str | None:
        """Open a session, unless the cookie is that of an open one."""
        if cookie in self._known:
            return None
        self.sessions_opened += 1
        session = hashlib.md5(
            str(self.sessions_opened).encode(), usedforsecurity=False
        ).hexdigest()
        if len(self._sessions) == _SESSIONS_KEPT:
            self._known.discard(self._sessions[0])
        self._sessions.append(session)
        self._known.add(session)
        return session

    def close_sessions(self) -> None:
        """Forget every session, as a restarted panel does."""
        self._sessions.clear()
        self._known.clear()


def account_of(header: str | None) -> str:
    """Return the account an Authorization header names."""
    return _credentials(header)[0]


def _credentials(header: str | None) -> tuple[str, str]:
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        account, _, password = b64decode(encoded).decode().partition(":")
    except (NotBase64, UnicodeDecodeError):
        return "", ""
    return account, password
