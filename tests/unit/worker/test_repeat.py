"""A duty is done again and again: at its usual distance, or sooner where it asks for that and was quick itself."""

import threading
import time
from itertools import pairwise
from typing import Final

import pytest

from worker.repeat import repeat


def times_of(every: float, wish: float | None, takes: float = 0.0, rounds: int = 4, works: float = 0.0) -> list[float]:
    """When each round began."""
    began: list[float] = []
    over = threading.Event()

    def act() -> float | None:
        began.append(time.monotonic())
        if len(began) == rounds:
            over.set()
        time.sleep(takes)
        until = time.thread_time() + works
        while time.thread_time() < until:
            pass
        return wish

    repeat("test", act, every, over).join(20)
    assert len(began) == rounds
    return began


def least(began: list[float]) -> float:
    """Of the times between two rounds."""
    return min(later - earlier for earlier, later in pairwise(began))


_LATE: Final = 0.01
"""A round that begins late itself has the next one that much sooner behind it."""


@pytest.mark.parametrize(("wish", "wanted"), [(None, 0.3), (0.1, 0.1), (9.0, 0.3), (0.0, 0.02), (-1.0, 0.02)])
def test_it_is_done_again_when_it_asks_for_it_and_no_later_than_usual(wish: float | None, wanted: float) -> None:
    assert wanted <= least(times_of(0.3, wish)) + _LATE < wanted + 0.15


def test_a_round_that_takes_long_is_followed_by_a_rest_as_long_however_soon_it_asks() -> None:
    assert 0.4 <= least(times_of(2.0, 0.0, takes=0.2, rounds=3)) < 1.5


def test_a_round_that_keeps_the_processor_is_followed_by_a_longer_rest() -> None:
    assert least(times_of(2.0, 0.0, rounds=3, works=0.04)) >= 0.44


def test_no_round_rests_longer_than_usual() -> None:
    assert least(times_of(0.3, 0.0, rounds=3, works=0.1)) < 0.8
