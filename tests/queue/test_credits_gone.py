"""Credits, plans and tokens that run out in the midst of a batch: rows wait with a named cause, and go on."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from reelq.store import commands
from tests.queue.farm import IN_PROCESS, ON_REDIS, Farm, farm, lines, until
from tests.queue.sizes import PROVING, size
from tests.queue.test_chaos import nothing_is_wrong

ROWS = size(10, 100)
CREDITS = size(150, 1_500)
DEAREST_EDIT = 50
TOP_UP = 2 * ROWS * DEAREST_EDIT  # some rows have a second edit


def at_rest(made: Farm, batch: str) -> bool:
    """Whether nothing of it is queued or running."""
    return not {"queued", "running"} & {status for _, status in made.where(batch)}


def ends(made: Farm, batch: str) -> "Counter[str]":
    """How many rows succeeded, failed or wait, those with their cause."""
    return Counter(f"waiting for {job.cause}" if job.cause else str(job.status) for job in made.jobs(batch))


@pytest.mark.timeout(400 if PROVING else 150)
@pytest.mark.parametrize("kind", ON_REDIS)
def test_rows_wait_for_credits_and_go_on_by_themselves_after_a_top_up(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, sandbox={"credits": CREDITS}) as made:
        batch = made.submit(lines(ROWS))
        made.start_worker()
        until(lambda: at_rest(made, batch), "a batch at rest", 180)
        held = ends(made, batch)
        assert set(held) == {"succeeded", "waiting for credits"}  # what was edited is exported, which is free
        assert CREDITS - made.sandbox.ledger()["charged"] < DEAREST_EDIT  # not before they had to
        told = len(made.heard())
        time.sleep(made.settings.reelq_poll_interval * 6)
        assert len(made.heard()) == told  # the rest of the credits tempts nobody
        assert ends(made, batch) == held

        made.sandbox.top_up(TOP_UP)
        assert made.ended(batch, 180) == {"succeeded": ROWS}
        nothing_is_wrong(made)
        charged = made.sandbox.ledger()["charged"]
        assert made.costs() == charged
        assert made.sql("select sum(top_up) from credit_readings") == [(TOP_UP,)]
        last = made.sql("select available + frozen from credit_readings order by id desc limit 1")
        assert last == [(CREDITS + TOP_UP - charged,)]


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_a_plan_that_forbids_exports_keeps_the_edits_until_it_is_resumed(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"plan_required": {"on": "render"}}) as made:
        batch = made.submit(lines(6))
        made.start_worker()
        until(lambda: at_rest(made, batch), "a batch at rest")
        assert ends(made, batch) == {"waiting for plan": 6}
        told = len(made.heard())
        assert told >= 6  # an agent that asks back is answered
        made.sandbox.faults(plan_required=None)
        commands.resume_batch(made.store, batch)
        assert made.ended(batch) == {"succeeded": 6}
        assert len(made.heard()) == told  # none for an edit that was there
        nothing_is_wrong(made)


NEW_TOKEN = "nmv_usr_of_now"


@pytest.mark.parametrize(
    ("settings", "end", "free_tokens"),
    [
        pytest.param({"nemo_token": SecretStr(NEW_TOKEN)}, "succeeded", 0, id="there is another token by now"),
        pytest.param({"reelq_max_in_flight": 16}, "succeeded", 1, id="the free account does"),
        pytest.param({"reelq_max_in_flight": 1}, "succeeded", 1, id="the free account does, a row at a time"),
        pytest.param({"reelq_anonymous_fallback": False}, "waiting for token", 0, id="nothing else is wanted"),
    ],
)
def test_rows_not_begun_go_on_with_another_token_when_the_users_is_refused(
    settings: dict[str, Any], end: str, free_tokens: int, tmp_path: Path
) -> None:
    options: dict[str, object] = {"token": f"{NEW_TOKEN}=900"}
    with farm("in-process", tmp_path, sandbox=options, nemo_token=SecretStr("nmv_usr_of_last_year")) as made:
        batch = made.submit(lines(8))
        made.settings = made.settings.model_copy(update=settings)
        made.start_worker()
        until(lambda: at_rest(made, batch), "a batch at rest")
        assert ends(made, batch) == {end: 8}
        assert [len(each) for each in made.sandbox.ledger()["token_requests"].values()] == [1] * free_tokens
        told = made.sql("select count(distinct job_id) from job_events where words like 'NEMO_TOKEN was refused%'")
        assert told == [(8 * free_tokens,)]  # loudly
        assert len({job.account_id for job in made.jobs(batch)}) == 1
        nothing_is_wrong(made)


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_rows_end_without_a_reading_and_it_is_taken_when_the_service_gives_one_again(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"edit_seconds": 1.5}) as made:
        batch = made.submit(lines(4))
        made.start_worker()
        until(lambda: len(made.sends()) == 4, "instructions under way")
        made.sandbox.faults(unavailable={"on": ["balance"]})
        assert made.ended(batch) == {"succeeded": 4}
        rest = "select count(*) from sends where bears_costs"
        assert made.sql(rest) == [(4,)]
        made.sandbox.faults(unavailable=None)
        until(lambda: made.sql(rest) == [(0,)], "the costs")
        assert made.costs() == made.sandbox.ledger()["charged"] > 0
        nothing_is_wrong(made)
