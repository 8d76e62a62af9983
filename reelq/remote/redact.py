"""Takes tokens out of text that is kept or shown: raw answers, above all."""

import re
from typing import Final

GONE: Final = "[token removed]"

_SHAPED: Final = re.compile(r"\b(?:nmv_[a-z]+|clm)_[\w.~+/=-]+|(?<=bearer )[\w.~+/=-]+", re.IGNORECASE)
# What stands under such a name is a secret whatever its shape; the quotes may themselves be escaped.
_NAMED: Final = re.compile(
    r"""((?:\b|_)(?:token|authorization|api_?key)\\*["']?\s*[:=]\s*\\*["']?)([^\s"'\\,;}&]+)""", re.IGNORECASE
)


def redact(text: str, *secrets: str) -> str:
    """`text` without the given secrets and without anything shaped or named like a token."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, GONE)
    text = _SHAPED.sub(GONE, text)
    return _NAMED.sub(lambda found: found[0] if GONE.startswith(found[2]) else found[1] + GONE, text)
