"""How large a proof is: small within the tests, as the promise states it where REELQ_PROVE is set."""

import os
from typing import Final

PROVING: Final = bool(os.environ.get("REELQ_PROVE"))


def size(small: int, full: int) -> int:
    """The number for this run."""
    return full if PROVING else small
