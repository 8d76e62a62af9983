"""How much is under way, and whose: the window gives way to a 429 and grows again, and no batch waits for another."""

from pathlib import Path

import pytest

from tests.queue.farm import KINDS, Farm, farm, lines, until
from tests.queue.sizes import size
from tests.queue.test_chaos import nothing_is_wrong

BIG = size(28, 200)
SMALL = 4
WINDOW = 8


def window(made: Farm) -> float:
    return float(made.sql("select accounts.window from accounts")[0][0])


def most_at_once(made: Farm) -> int:
    """The most sessions in which the service had work at one moment, by what the jobs' events tell."""
    told = made.sql("select job_id, after, what, stage from job_events order by id")
    open_: set[str] = set()
    most = 0
    for event in told:
        if event.what == "running":
            open_.add(event.job_id)
        if event.after in {"succeeded", "failed", "cancelled", "waiting"}:
            open_.discard(event.job_id)
        most = max(most, len(open_))
    return most


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_batch_is_not_stuck_behind_a_big_one_nor_the_window_at_half_after_a_burst_of_429(
    kind: str, tmp_path: Path
) -> None:
    with farm(kind, tmp_path, concurrency=WINDOW, reelq_max_in_flight=WINDOW) as made:
        big = made.submit(lines(BIG, "Big"), name="big")
        made.sandbox.faults(rate_limited={"count": 3, "on": ["upload"]})  # at once: the whole batch is yet to come
        made.start_worker()
        until(lambda: window(made) < WINDOW, "a window that gave way")
        assert window(made) >= WINDOW / 2  # once for all three
        small = made.submit(lines(SMALL, "Small"), name="small")
        assert made.ended(small) == {"succeeded": SMALL}
        assert made.ended(big, 120 + BIG) == {"succeeded": BIG}
        while_small = f"(select min(created_at) from jobs where batch_id = '{small}')"
        while_small += f" and (select max(finished_at) from jobs where batch_id = '{small}')"
        ((ended,),) = made.sql(
            f"select count(*) from jobs where batch_id = '{big}' and finished_at between {while_small}"
        )
        assert ended < BIG / 2 + WINDOW / 2, "the small one has waited for the big one"
        assert most_at_once(made) <= WINDOW
        assert window(made) > WINDOW / 2 + 1  # it grows with what succeeds
        nothing_is_wrong(made)
