"""Makes JSON and error texts safe to store and show: no tokens, no broken characters, no huge numbers."""

import json
import math
import re
from typing import Any, Final, NoReturn
from urllib.parse import quote

from reelq import errors

_INTEGER: Final = re.compile(r"-?\d{1,18}")
_LARGEST_INTEGER: Final = 2**63 - 1
_RAW_READ: Final = 20_000
"""Bytes of a response that are decoded for people to read: far more than an error keeps."""


def parse(body: bytes | str) -> Any:
    """Parse JSON; raises ValueError if it is invalid, nests too deep, or could not be sent back (NaN, 1e999)."""
    try:
        return json.loads(body, parse_constant=_reject_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _reject_constant(digits)


def dump(value: object) -> str:
    """JSON that is safe to send, whatever its strings hold."""
    try:
        return json.dumps(value, ensure_ascii=True, default=dict)
    except RecursionError:
        raise errors.Unintelligible("The JSON is nested too deeply to be sent back") from None


def excerpt(body: bytes, secret: str = "") -> str:
    """The start of a response, without tokens. Errors cut it only after this, so that no half of a token stays."""
    return redact(without_invalid_characters(body[:_RAW_READ].decode("utf-8", "replace")), secret)


def without_invalid_characters(text: str) -> str:
    """Text that any database and terminal can hold, without NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def to_int(value: object) -> int | None:
    """An integer in any notation, as far as a database can hold it; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = int(value) if _INTEGER.fullmatch(value.strip()) else None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if isinstance(value, int) and abs(value) <= _LARGEST_INTEGER else None


def to_float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


REMOVED: Final = "[token removed]"
# A token may hold a backslash: some JSON writes "/" as "\/", and the rest of the token would stay.
_TOKEN_SHAPE: Final = re.compile(r"\b(?:nmv_[a-z]+|clm|rq)_[\w.~+/=\\-]+|(?<=bearer )[\w.~+/=\\-]+", re.IGNORECASE)
# A value under such a name is a secret, whatever its shape; its quotes may be escaped.
_NAMED_SECRET: Final = re.compile(
    r"""((?:token|authorization|api[_-]?key)\\*["']?\s*[:=]\s*\\*["']?)([^\s"'\\,;}&]+)""", re.IGNORECASE
)
_ERRNO: Final = re.compile(r"\[Errno -?\d+\] ")


def remove_secret(text: str, secret: str) -> str:
    """`text` without this secret, whether it is written as it is, as in JSON or as in a URL."""
    if secret:
        for form in (secret, secret.replace("/", r"\/"), quote(secret, safe="")):
            text = text.replace(form, REMOVED)
    return text


def redact(text: str, secret: str = "") -> str:
    """`text` without the given secret, and without anything that is shaped or named like a token."""
    text = _TOKEN_SHAPE.sub(REMOVED, remove_secret(text, secret))
    return _NAMED_SECRET.sub(lambda match: match[0] if REMOVED.startswith(match[2]) else match[1] + REMOVED, text)


def message_of(error: BaseException) -> str:
    """The message of a network error, without tokens, the errno prefix and the final full stop."""
    return _ERRNO.sub("", redact(str(error))).rstrip(".") or type(error).__name__
