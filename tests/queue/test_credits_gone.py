"""Credits, plans and tokens that run out in the midst of a batch: rows wait with a named cause, and go on."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from reelq.store import handling
from tests.queue.farm import CLIP, IN_PROCESS, KINDS, ON_REDIS, Farm, farm, until
from tests.queue.sizes import PROVING, crossed, size
from tests.queue.test_chaos import nothing_is_wrong

ROWS = size(10, 100)
CREDITS = size(150, 1_500)
DEAREST_EDIT = 50
TOP_UP = 2 * ROWS * DEAREST_EDIT  # some rows have a second edit


def lines(count: int, what: str = "Take") -> list[str]:
    """Rows that differ in what they say."""
    return [f"{CLIP},Add a title that says {what} {number}" for number in range(count)]


def at_rest(made: Farm, batch: str) -> bool:
    """Whether nothing of it is queued or running."""
    return not {"queued", "running"} & {status for _, status in made.where(batch)}


def ends(made: Farm, batch: str) -> "Counter[str]":
    """How many rows succeeded, failed or wait, those with their cause."""
    return Counter(f"waiting for {job.cause}" if job.cause else str(job.status) for job in made.jobs(batch))


def messages(made: Farm) -> list[dict[str, Any]]:
    """All that the agent was told, refusals included."""
    return [message for one in made.sandbox.ledger()["sessions"].values() for message in one["messages"]]


@pytest.mark.timeout(400 if PROVING else 150)
@pytest.mark.parametrize("kind", ON_REDIS)
def test_rows_wait_for_credits_and_go_on_by_themselves_after_a_top_up(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with farm(kind, tmp_path, sandbox={"credits": CREDITS}) as made:
        batch = made.submit(lines(ROWS))
        made.start_worker()
        until(lambda: at_rest(made, batch), "a batch at rest", 180)
        held = ends(made, batch)
        assert set(held) == {"succeeded", "waiting for credits"}  # what was edited is exported, which is free
        assert CREDITS - made.sandbox.ledger()["charged"] < DEAREST_EDIT  # not before they had to
        told = len(messages(made))
        time.sleep(made.settings.reelq_poll_interval * 6)
        assert len(messages(made)) == told  # the rest of the credits tempts nobody
        assert ends(made, batch) == held

        made.sandbox.top_up(TOP_UP)
        assert made.ended(batch, 180) == {"succeeded": ROWS}
        nothing_is_wrong(made)
        charged = made.sandbox.ledger()["charged"]
        with capsys.disabled():
            print(f"\n{kind}: {dict(held)}, then all; {charged} credits charged, {made.costs()} accounted for")
        assert made.costs() == charged
        assert made.sql("select sum(top_up) from credit_readings") == [(TOP_UP,)]
        last = made.sql("select available + frozen from credit_readings order by id desc limit 1")
        assert last == [(CREDITS + TOP_UP - charged,)]


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_a_batch_spends_no_more_than_its_limit_until_it_is_resumed(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path) as made:
        batch = made.submit(lines(10), limit_credits=210)
        other = made.submit(lines(2, "Scene"))
        made.start_worker()
        until(lambda: at_rest(made, batch), "a batch at rest")
        spent = sum(message["charge"] for message in messages(made) if "Take" in message["text"])
        assert 0 < spent <= 210
        assert set(ends(made, batch)) == {"succeeded", "waiting for paused"}
        assert made.ended(other) == {"succeeded": 2}  # the limit is the batch's own
        handling.resume_batch(made.store, batch)
        assert made.ended(batch) == {"succeeded": 10}
        nothing_is_wrong(made)


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_a_plan_that_forbids_exports_keeps_the_edits_until_it_is_resumed(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"plan_required": {"on": "render"}}) as made:
        batch = made.submit(lines(6))
        made.start_worker()
        until(lambda: at_rest(made, batch), "a batch at rest")
        assert ends(made, batch) == {"waiting for plan": 6}
        told = len(messages(made))
        assert told >= 6  # an agent that asks back is answered
        made.sandbox.faults(plan_required=None)
        handling.resume_batch(made.store, batch)
        assert made.ended(batch) == {"succeeded": 6}
        assert len(messages(made)) == told  # none for an edit that was there
        nothing_is_wrong(made)


@pytest.mark.parametrize(("kind", "window"), crossed(KINDS, [1, 16]))
def test_rows_not_begun_go_on_with_the_free_account_when_the_users_token_is_refused(
    kind: str, window: int, tmp_path: Path
) -> None:
    token = SecretStr("nmv_usr_of_last_year")
    with farm(kind, tmp_path, nemo_token=token, reelq_max_in_flight=window) as made:
        batch = made.submit(lines(8))
        made.start_worker()
        assert made.ended(batch) == {"succeeded": 8}
        assert [len(each) for each in made.sandbox.ledger()["token_requests"].values()] == [1]
        told = made.sql("select count(distinct job_id) from job_events where words like 'NEMO_TOKEN is refused%'")
        assert told == [(8,)]  # loudly
        nothing_is_wrong(made)


def test_rows_not_begun_go_on_with_the_token_of_now_when_the_one_of_before_is_refused(tmp_path: Path) -> None:
    old, new = SecretStr("nmv_usr_of_last_year"), "nmv_usr_of_now"
    with farm("in-process", tmp_path, sandbox={"token": f"{new}=900"}, nemo_token=old) as made:
        batch = made.submit(lines(3))
        made.settings = made.settings.model_copy(update={"nemo_token": SecretStr(new)})
        made.start_worker()
        assert made.ended(batch) == {"succeeded": 3}
        assert made.sandbox.ledger()["token_requests"] == {}  # the free account was not needed
        assert len({job.account_id for job in made.jobs(batch)}) == 1
        nothing_is_wrong(made)


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_rows_wait_for_a_token_when_the_users_is_refused_and_nothing_else_is_wanted(kind: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "nemo_token": SecretStr("nmv_usr_of_last_year"),
        "reelq_anonymous_fallback": False,
    }
    with farm(kind, tmp_path, **settings) as made:
        batch = made.submit(lines(8))
        made.start_worker()
        until(lambda: at_rest(made, batch), "a batch at rest")
        assert ends(made, batch) == {"waiting for token": 8}
        assert made.sandbox.ledger()["token_requests"] == {}


@pytest.mark.parametrize("kind", ON_REDIS)
def test_twenty_threads_that_meet_a_dead_token_at_once_ask_for_one_new_token(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"edit_seconds": 4}, concurrency=20, reelq_edit_timeout=30.0) as made:
        batch = made.submit(lines(20))
        made.start_worker()
        until(lambda: sum(one["outcome"] == "under way" for one in messages(made)) == 20, "twenty open streams")
        time.sleep(1)  # the token has to be older than what is old now
        made.sandbox.faults(tokens_expire={"seconds": 1})
        until(lambda: issued(made) == 2, "a new token")
        made.sandbox.faults(tokens_expire=None)
        assert made.ended(batch) == {"succeeded": 20}
        ledger = made.sandbox.ledger()
        assert ledger["refusals"]["1001"] >= 1
        assert [len(each) for each in ledger["token_requests"].values()] == [2]
        nothing_is_wrong(made)


def issued(made: Farm) -> int:
    """How many tokens were given out."""
    requests = made.sandbox.ledger()["token_requests"].values()
    return sum(each["outcome"] == "issued" for client in requests for each in client)
