"""The few sums of the bench: percentiles, the ideal, and what changed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """How values lie: the middle, what nineteen of twenty don't exceed, and the worst."""

    median: float
    p95: float
    most: float
    count: int


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest of the values that so large a part of them does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def spread(values: Sequence[float]) -> Spread | None:
    """None where nothing was seen, which is not the same as no delay."""
    if not values:
        return None
    return Spread(percentile(values, 0.5), percentile(values, 0.95), max(values), len(values))


def ideal_seconds(rows: int, one_row: float, window: int) -> float:
    """The critical path of one row, once for each time that the window has to be filled; 0 is an open window."""
    return one_row * math.ceil(rows / (window or rows))


def change(before: float | None, now: float) -> str:
    """How a figure stands to its last one, in words of a few letters."""
    if before is None:
        return "new"
    if before == now:
        return "the same"
    return f"{(now - before) / before:+.0%}".replace("%", " %") if before else "from 0"
