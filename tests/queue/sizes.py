"""How large a proof is: small within the tests, as the promise states it where REELQ_PROVE is set."""

import os
from collections.abc import Sequence
from itertools import cycle, product
from typing import Final, TypeVar

One = TypeVar("One")
Other = TypeVar("Other")

PROVING: Final = bool(os.environ.get("REELQ_PROVE"))


def size(small: int, full: int) -> int:
    """The number for this run."""
    return full if PROVING else small


def crossed(ones: Sequence[One], others: Sequence[Other]) -> list[tuple[One, Other]]:
    """Each of one kind with each of another; in the small form every one of either comes up, but not with all."""
    if PROVING:
        return list(product(ones, others))
    longer = max(len(ones), len(others))
    return [(one, other) for one, other, _ in zip(cycle(ones), cycle(others), range(longer), strict=False)]
