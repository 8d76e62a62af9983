"""Ids that sort by the time of their creation."""

import secrets
import time
from typing import Final, Literal

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u, which are easily misread
_TIME_DIGITS: Final = 10
_RANDOM_DIGITS: Final = 12
Kind = Literal["bat", "job", "acc", "key", "hook", "msg"]


def new_id(kind: Kind) -> str:
    """A new id such as `job_01k9z3…`, of the current millisecond and 60 random bits."""
    return f"{kind}_{_digits(time.time_ns() // 1_000_000, _TIME_DIGITS)}{_digits(secrets.randbits(60), _RANDOM_DIGITS)}"


def _digits(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
