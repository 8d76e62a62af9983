"""What an edit cost is found out while its row goes on, and is known when the row has ended."""

from pathlib import Path

import pytest

from reelq.store import handling
from tests.queue.farm import CLIP, IN_PROCESS, ON_REDIS, Farm, farm, until
from tests.queue.test_chaos import nothing_is_wrong

LINES = [f"{CLIP},Add a title that says Take {number}" for number in range(4)]
REST = "select count(*) from sends where bears_costs"


def is_known(made: Farm) -> bool:
    """Whether no instruction's costs are open, and they add up to what was charged."""
    return made.sql(REST) == [(0,)] and made.costs() == made.sandbox.ledger()["charged"] > 0


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_costs_are_known_while_the_exports_are_waited_for(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"render_seconds": 600}, reelq_poll_limit=10_000) as made:
        batch = made.submit(LINES)
        made.start_worker()
        until(lambda: made.where(batch) == {("poll", "queued"): len(LINES)}, "exports that are waited for")
        until(lambda: is_known(made), "the costs")
        assert {send.outcome for send in made.sends()} == {"applied"}
        readings = made.sql("select count(*) from credit_readings where moment = 'after'")[0][0]
        assert 1 <= readings <= len(LINES)


@pytest.mark.parametrize("kind", ON_REDIS)
def test_a_row_that_fails_right_after_its_edit_knows_its_costs(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"agent_declines": 1}) as made:
        batch = made.submit(LINES)
        made.start_worker()
        until(lambda: made.over(batch), "the end")
        assert made.sql(REST) == [(0,)]
        assert made.sql("select count(*) > 0 from credit_readings where moment = 'after'") == [(True,)]
        assert made.ends(batch) == {"no_effect": len(LINES)}


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_rows_end_without_a_reading_and_it_is_taken_when_the_service_gives_one_again(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"edit_seconds": 1.5}) as made:
        batch = made.submit(LINES)
        made.start_worker()
        until(lambda: len(made.sends()) == len(LINES), "instructions under way")
        made.sandbox.faults(unavailable={"on": ["balance"]})
        assert made.ended(batch) == {"succeeded": len(LINES)}
        assert made.sql(REST) == [(len(LINES),)]
        made.sandbox.faults(unavailable=None)
        until(lambda: is_known(made), "the costs")
        nothing_is_wrong(made)


@pytest.mark.parametrize("kind", ON_REDIS)
def test_what_goes_on_behind_a_stream_that_was_let_go_of_is_paid_for_by_its_row(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"edit_seconds": 6}, reelq_edit_timeout=10.0) as made:
        batch = made.submit(LINES[:1])
        made.start_worker()
        until(lambda: len(made.sends()) == 1, "an instruction under way")
        handling.cancel_batch(made.store, batch)
        assert made.ended(batch) == {"cancelled": 1}
        assert made.sandbox.ledger()["charged"] == 0  # the service is not done yet; then it charges
        until(lambda: is_known(made), "the costs")
        assert [send.cost for send in made.sends()] == [made.sandbox.ledger()["charged"]]
