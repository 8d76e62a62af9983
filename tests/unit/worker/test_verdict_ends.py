"""A passing fault is tried again so often, and not once more."""

import pytest

from reelq.errors import ServerTrouble
from reelq.job import Stage
from worker.verdict import RETRIES, Case, GiveUp, RetryIn, judge


@pytest.mark.parametrize(("attempts", "follows"), [(0, RetryIn), (RETRIES - 1, RetryIn), (RETRIES, GiveUp)])
def test_a_passing_fault_is_met_with_as_many_tries_as_are_said(attempts: int, follows: type[object]) -> None:
    case = Case(
        stage=Stage.EDIT,
        attempts=attempts,
        anything_sent=False,
        has_session=True,
        block_seconds=0,
        blocked_lately=False,
        quota_met=False,
        jitter=0,
        rate_limit_wait=30,
        poll_interval=30,
        own_token=True,
    )
    assert isinstance(judge(ServerTrouble(), case), follows)
