"""What happens to a contender whose worker is killed half-way, and what its user then has to do."""

import time
from typing import Final

import psycopg

from tests.benchmarks.contenders import Contender
from tests.benchmarks.grounds import Ground
from tests.benchmarks.race import Figures, Race, prepared, until

PATIENCE: Final = 100.0
"""Seconds without a request after which a user gives up waiting and hands in again."""
AGAIN: Final = "the same command again"
WORKER: Final = "start the worker again"
IN: Final = "hand the manifest in again"
RETRY: Final = "retry what it says has failed"
NOTHING: Final = "look through the results by hand"
_LOOK_EVERY: Final = 1.0
_CLAIMED_AGAIN: Final = """
SELECT extract(epoch FROM max(taken)), extract(epoch FROM max(claimed)), count(*) FILTER (WHERE claimed IS NULL)
FROM (
  SELECT min(at) FILTER (WHERE what = 'rescued') AS taken,
    min(at) FILTER (WHERE what = 'running' AND at > to_timestamp(%(killed)s)) AS claimed
  FROM job_events GROUP BY job_id
  HAVING min(at) FILTER (WHERE what = 'running') <= to_timestamp(%(killed)s)
    AND max(at) > to_timestamp(%(killed)s)
) AS under_way
"""


def kill(contender: Contender, ground: Ground, limit: float, patience: float = PATIENCE) -> Figures:
    """SIGKILL when half of the rows are in the edit or beyond, then what a user would do, step by step."""
    with prepared(contender, ground) as race:
        race.hand_in()
        began = time.monotonic()
        half = ground.rows / 2
        if not until(lambda: ground.asked("edit") >= half or race.is_given_up(), limit, ground.look_every):
            return {"killed": False, "said": "half of the rows did not come to the edit in time"}
        killed, at = time.monotonic(), time.time()
        race.kill_workers()
        if not race.is_given_up():
            raise RuntimeError("a worker outlived SIGKILL")
        steps = _mend(race, limit, patience)
        books, done = ground.books(), ground.done()
        gone = list(books.going_on(killed).values())
        events = _events(ground, at) if contender.keeps_events else {}
    seconds = [each for each in gone if each is not None]
    return {
        "killed": True,
        "killed_after_s": killed - began,
        "under_way": len(gone),
        "lost": ground.rows - len(done),
        "sent_twice": books.sent_twice(),
        "first_going_on_s": min(seconds, default=None),
        "all_going_on_s": max(seconds) if gone and len(seconds) == len(gone) else None,
        "never_went_on": len(gone) - len(seconds),
        "human": steps,
        "whole_after_s": max(done) - at if len(done) >= ground.rows else None,
        **events,
    }


def _events(ground: Ground, killed: float) -> Figures:
    """When the last row was taken back from the dead worker, and when each that had been begun was claimed again."""
    with psycopg.connect(ground.database) as connection:
        row = connection.execute(_CLAIMED_AGAIN, {"killed": killed}).fetchone()
    taken, claimed, never = row or (None, None, 0)
    return {
        "taken_back_s": None if taken is None else float(taken) - killed,
        "claimed_again_s": None if claimed is None or never else float(claimed) - killed,
    }


def _mend(race: Race, limit: float, patience: float) -> list[str]:
    """What it took until all rows had results: the steps of a user who tries the least first."""
    steps = (
        [(AGAIN, race.hand_in)]
        if race.contender.works_by_itself
        else [(WORKER, race.start_workers), (IN, race.hand_in)]
    )
    if race.contender.retry:
        steps.append((RETRY, race.retry))
    taken = []
    for words, act in steps:
        act()
        taken.append(words)
        _watch(race, limit, patience)
        if race.is_complete():
            return taken
    return [*taken, NOTHING]


def _watch(race: Race, limit: float, patience: float) -> None:
    """Until all is there, or nothing has been asked of the service for too long."""
    deadline, quiet_since, asked = time.monotonic() + limit, time.monotonic(), -1
    while not race.is_complete() and time.monotonic() < min(deadline, quiet_since + patience):
        if race.contender.works_by_itself and race.handed_in[-1].over:
            return
        count = sum(race.ground.sandbox.ledger()["requests"].values())
        if count != asked:
            asked, quiet_since = count, time.monotonic()
        time.sleep(_LOOK_EVERY)
