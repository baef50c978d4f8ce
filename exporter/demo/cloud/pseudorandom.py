"""Random numbers without state: the same key always gives the same number.

What happens to one server depends only on the seed and its own key: an additional
server, or another order of events, changes nothing for it.
"""

from hashlib import blake2b

Key = str | int | float

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_IDENTIFIER_LENGTH = 14


def _hash(key: tuple[Key, ...]) -> int:
    text = "/".join(map(str, key)).encode()
    return int.from_bytes(blake2b(text, digest_size=10).digest())


def fraction(*key: Key) -> float:
    """Return a number from 0 up to, but not including, 1."""
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
