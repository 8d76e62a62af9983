"""A drop of the balance is shared out to the credit."""

from hypothesis import given
from hypothesis import strategies as st

from reelq.store.credits import share

drops = st.integers(0, 10**9)
bearers = st.integers(1, 300)


@given(drops, bearers)
def test_the_parts_add_up_to_the_drop_and_everybody_has_one(drop: int, count: int) -> None:
    parts = share(drop, count)
    assert sum(parts) == drop
    assert len(parts) == count


@given(drops, bearers)
def test_the_parts_are_equal_but_for_one_credit_and_none_is_negative(drop: int, count: int) -> None:
    parts = share(drop, count)
    assert max(parts) - min(parts) <= 1
    assert min(parts) >= 0


@given(drops, bearers)
def test_what_is_left_over_goes_to_the_oldest_sends(drop: int, count: int) -> None:
    assert share(drop, count) == sorted(share(drop, count), reverse=True)


def test_a_hundred_credits_among_three_are_34_33_and_33() -> None:
    assert share(100, 3) == [34, 33, 33]
