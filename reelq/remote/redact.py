"""Takes tokens out of text that is kept or shown: raw answers, above all."""

import re
from typing import Final
from urllib.parse import quote

GONE: Final = "[token removed]"

# A backslash belongs to it: some write "/" within JSON as "\/", and the rest of the token would stay.
_SHAPED: Final = re.compile(r"\b(?:nmv_[a-z]+|clm|rq)_[\w.~+/=\\-]+|(?<=bearer )[\w.~+/=\\-]+", re.IGNORECASE)
# What stands under such a name is a secret whatever its shape; the quotes may themselves be escaped.
_NAMED: Final = re.compile(
    r"""((?:token|authorization|api[_-]?key)\\*["']?\s*[:=]\s*\\*["']?)([^\s"'\\,;}&]+)""", re.IGNORECASE
)
_ERRNO: Final = re.compile(r"\[Errno -?\d+\] ")


def without(text: str, secret: str) -> str:
    """`text` without this very secret, as it is and as JSON or an address would write it."""
    if secret:
        for form in (secret, secret.replace("/", r"\/"), quote(secret, safe="")):
            text = text.replace(form, GONE)
    return text


def redact(text: str, secret: str = "") -> str:
    """`text` without the given secret and without anything shaped or named like a token."""
    text = _SHAPED.sub(GONE, without(text, secret))
    return _NAMED.sub(lambda found: found[0] if GONE.startswith(found[2]) else found[1] + GONE, text)


def said(error: BaseException) -> str:
    """What an error of the network says, to be shown: without a token, the system's number before it and the stop."""
    return _ERRNO.sub("", redact(str(error))).rstrip(".") or type(error).__name__
