"""Several questions at once: each has its own answer, and none keeps the others waiting."""

import threading

from reelq.cli.deadline import Late, side_by_side


def test_a_question_without_end_costs_no_more_than_the_time_that_all_have() -> None:
    never = threading.Event()
    try:
        first, second, third = side_by_side([lambda: 1, lambda: int(never.wait()), lambda: int("x")], 0.05)
    finally:
        never.set()
    assert first == 1
    assert isinstance(second, Late)
    assert isinstance(third, ValueError)
