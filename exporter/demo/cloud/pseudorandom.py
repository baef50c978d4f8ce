"""Random numbers without state: the same key always gives the same number.

The events of a server depend only on the seed and on its own key. Additional servers
and a different order of events do not change them.
"""

from hashlib import blake2b

Key = str | int | float

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_IDENTIFIER_LENGTH = 14


def _hash(key: tuple[Key, ...]) -> int:
    text = "/".join(map(str, key)).encode()
    return int.from_bytes(blake2b(text, digest_size=10).digest())


def fraction(*key: Key) -> float:
    """Return a number from 0 (inclusive) to 1 (exclusive)."""
    return (_hash(key) >> 27) / (1 << 53)


def uniform(low: float, high: float, *key: Key) -> float:
    """Return a number between two others."""
    return low + (high - low) * fraction(*key)


def random_identifier(*key: Key) -> str:
    """Return an identifier like the panel's: 14 letters and digits."""
    number = _hash(key)
    letters = [_ALPHABET[number % 26]]
    for _ in range(_IDENTIFIER_LENGTH - 1):
        number, digit = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return "".join(letters)
