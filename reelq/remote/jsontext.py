"""JSON as text, both ways: what can be taken in without harm, sent back, shown to people, or read as a number."""

import json
import math
import re
from typing import Any, Final, NoReturn

from reelq import errors
from reelq.remote.redact import redact

_WHOLE: Final = re.compile(r"-?\d{1,18}")
_LARGEST_WHOLE: Final = 2**63 - 1
_RAW_READ: Final = 20_000
"""Bytes of an answer that are looked through for people: far more than an error keeps."""


def parse(body: bytes | str) -> Any:
    """The JSON in `body`; ValueError for what is none, could not be sent back (NaN, 1e999) or nests too deep."""
    try:
        return json.loads(body, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_constant(digits)


def dump(value: object) -> str:
    """JSON that is safe to send whatever the strings hold."""
    try:
        return json.dumps(value, ensure_ascii=True, default=dict)
    except RecursionError:
        raise errors.Unintelligible("It nests too deep to be sent back") from None


def shown(body: bytes, secret: str = "") -> str:
    """The beginning of an answer for people to see, without tokens; cut after them, so that no half of one stays."""
    return redact(plain(body[:_RAW_READ].decode("utf-8", "replace")), secret)


def plain(text: str) -> str:
    """Text that any database and terminal can hold: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def whole(value: object) -> int | None:
    """A whole number however it is written, as far as a database can hold it; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = int(value) if _WHOLE.fullmatch(value.strip()) else None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if isinstance(value, int) and abs(value) <= _LARGEST_WHOLE else None


def finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
