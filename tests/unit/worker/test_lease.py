"""A job in hand is let go of when its lease has lapsed or was lost, and cancelled when somebody wishes so."""

import time

import pytest

from worker.desk import Cancelled, LetGo
from worker.lease import Hands


def test_a_job_under_a_lease_that_goes_on_is_kept() -> None:
    hands = Hands(lease_seconds=60)
    with hands.holding("job_1", 1, time.monotonic()) as held:
        hands.check(held)
        assert hands.all() == [held]
    assert hands.all() == []


def test_a_job_whose_lease_has_lapsed_is_let_go_of_though_nobody_took_it() -> None:
    hands = Hands(lease_seconds=60)
    with hands.holding("job_1", 1, time.monotonic() - 61) as held, pytest.raises(LetGo):
        hands.check(held)


def test_a_renewed_lease_counts_from_when_its_renewal_began() -> None:
    hands = Hands(lease_seconds=60)
    with hands.holding("job_1", 1, time.monotonic() - 61) as held:
        hands.renewed({"job_1": held}, {"job_1": False}, time.monotonic())
        hands.check(held)
        hands.renewed({"job_1": held}, {"job_1": False}, time.monotonic() - 61)
        with pytest.raises(LetGo):
            hands.check(held)


def test_a_job_that_the_renewal_found_elsewhere_is_let_go_of() -> None:
    hands = Hands(lease_seconds=60)
    with hands.holding("job_1", 1, time.monotonic()) as held:
        hands.renewed({"job_1": held}, {}, time.monotonic())
        with pytest.raises(LetGo):
            hands.check(held)


def test_a_wish_to_cancel_reaches_the_worker_with_the_renewal() -> None:
    hands = Hands(lease_seconds=60)
    with hands.holding("job_1", 1, time.monotonic()) as held:
        hands.renewed({"job_1": held}, {"job_1": True}, time.monotonic())
        with pytest.raises(Cancelled):
            hands.check(held)


def test_everything_is_let_go_of_when_the_worker_must() -> None:
    hands = Hands(lease_seconds=60)
    with hands.holding("job_1", 1, time.monotonic()) as held:
        hands.must_let_go.set()
        with pytest.raises(LetGo):
            hands.check(held)
