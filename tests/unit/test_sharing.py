"""A drop of the balance is shared out to the credit."""

from hypothesis import given
from hypothesis import strategies as st

from reelq.store.credits import share


@given(st.integers(0, 10**9), st.integers(1, 300))
def test_the_parts_add_up_to_the_drop_and_differ_by_one_credit_at_most_which_the_oldest_bear(
    drop: int, count: int
) -> None:
    parts = share(drop, count)
    assert sum(parts) == drop
    assert len(parts) == count
    assert parts == sorted(parts, reverse=True)
    assert 0 <= parts[0] - parts[-1] <= 1
    assert parts[-1] >= 0


def test_a_hundred_credits_among_three_are_34_33_and_33() -> None:
    assert share(100, 3) == [34, 33, 33]
