"""Workers are killed at random, again and again: every row comes through, and nothing is sent twice."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

from reelq.store.jobs import retries
from tests.queue.farm import KINDS, Farm, farm, lines, until
from tests.queue.sizes import PROVING, size
from tests.queue.test_chaos import nothing_is_wrong

ROWS = size(16, 200)
KILLS = size(4, 40)
SEED = 20


def _kill_again_and_again(made: Farm, batch: str, kills: int) -> list[float]:
    """Kill a worker at random moments and start another; how long each time until its rows were claimed again."""
    draw = random.Random(SEED)
    waits: list[float] = []
    limit = made.settings.reelq_lease_seconds + 60
    while len(waits) < kills and not made.over(batch):
        time.sleep(draw.uniform(0.3, 1.5))
        victim = draw.choice([process for process in made.workers if process.poll() is None])
        victim.kill()
        victim.wait()
        made.start_worker()
        began = time.monotonic()
        until(lambda dead=victim: not _held_by(made, dead.pid), "other hands for the rows of a dead worker", limit)  # type: ignore[misc]
        waits.append(time.monotonic() - began)
    return waits


def _held_by(made: Farm, pid: int) -> list[Any]:
    return made.sql(f"select id from jobs where status = 'running' and worker like '%:{pid}:%'")


@pytest.mark.timeout(1500 if PROVING else 240)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_workers_lose_no_row_and_send_nothing_twice(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = size(1, 4)  # long enough that the run outlasts the kills
    faults: dict[str, object] = {"silent_edit": 0.3, "screen_talk": 1, "edit_seconds": edit, "render_seconds": 1}
    # A lease lapses by itself here; and what was never sent is soon known not to have arrived.
    waits: dict[str, Any] = {"reelq_lease_seconds": 2.0, "reelq_edit_timeout": 8.0, "reelq_silence_timeout": 7.0}
    with farm(kind, tmp_path, faults={**faults, "upload_seconds": 0.2}, concurrency=8, **waits) as made:
        batch = made.submit(lines(ROWS))
        for _ in range(1 if kind == "in-process" else 2):
            made.start_worker()
        # Killed while it asks for the one token of seven days, a worker takes it along: test_kill_points has that.
        until(lambda: made.sql("select id from accounts where token is not null"), "a token")
        rescues = _kill_again_and_again(made, batch, KILLS)
        ends = made.ended(batch, 600 if PROVING else 120)
        unconfirmed = [job for job in made.jobs(batch) if job.error_code == "edit_unconfirmed"]
        nothing_is_wrong(made)
        for job in unconfirmed:
            with made.store.write() as session:
                retries.retry(session, job, made.store.now(session))
        final = made.ended(batch, 120)
        with capsys.disabled():
            print(f"\n{kind}: {ROWS} rows, {len(rescues)} kills: {dict(ends)}, after retry {dict(final)};", end=" ")
            middle = sorted(rescues)[len(rescues) // 2]
            print(f"from a kill to its rows claimed again {middle:.1f} s, {max(rescues):.1f} at most")
        assert len(rescues) >= size(3, KILLS)
        assert set(ends) <= {"succeeded", "edit_unconfirmed"}
        assert set(final) == {"succeeded"}
        nothing_is_wrong(made)
