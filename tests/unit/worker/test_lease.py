"""A job in hand is let go of when its lease has lapsed or was lost, and cancelled when somebody wishes so."""

import time
from contextlib import nullcontext

import pytest

from worker.desk import Cancelled, LetGo
from worker.lease import Hands


@pytest.mark.parametrize(
    ("began", "renewed", "wishes", "ended_by"),
    [
        pytest.param(0, None, {}, None, id="a lease that goes on"),
        pytest.param(-61, None, {}, LetGo, id="one that has lapsed, though nobody took it"),
        pytest.param(-61, 0, {"job_1": False}, None, id="a renewed one"),
        pytest.param(-61, -61, {"job_1": False}, LetGo, id="one whose renewal began too long ago"),
        pytest.param(0, 0, {}, LetGo, id="a job that the renewal found elsewhere"),
        pytest.param(0, 0, {"job_1": True}, Cancelled, id="a wish to cancel that came with the renewal"),
    ],
)
def test_a_job_is_kept_while_its_lease_goes_on_and_nobody_wishes_otherwise(
    began: float, renewed: float | None, wishes: dict[str, bool], ended_by: type[Exception] | None
) -> None:
    hands, now = Hands(lease_seconds=60), time.monotonic()
    with hands.holding("job_1", 1, now + began) as held:
        if renewed is not None:
            hands.renewed({"job_1": held}, wishes, now + renewed)
        with pytest.raises(ended_by) if ended_by else nullcontext():
            hands.check(held)
        assert hands.all() == [held]
    assert hands.all() == []


def test_everything_is_let_go_of_when_the_worker_must() -> None:
    hands = Hands(lease_seconds=60)
    with hands.holding("job_1", 1, time.monotonic()) as held:
        hands.must_let_go.set()
        with pytest.raises(LetGo):
            hands.check(held)
