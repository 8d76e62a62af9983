"""The harness itself: that it sees what a contender does, and what becomes of one that is killed."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import race
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.grounds import ROOMY, Latencies, ground
from tests.benchmarks.usage import memory_mb
from tests.servers import HAS_POSTGRES, HAS_REDIS, Postgres, own_postgres

pytestmark = pytest.mark.benchmark

ROWS = 3
TIMES = Latencies("tiny", upload=0.05, edit=0.4, render=0.25, look_every=0.1, keep_alive=5)

_BURN = """
import time
while time.process_time() < 0.4: pass
"""
_PARENT = f"""
import subprocess, sys, time
subprocess.run([sys.executable, "-c", {_BURN!r}])
print("burnt", flush=True)
subprocess.Popen([sys.executable, "-c", {_BURN!r} + "print('burnt', flush=True); time.sleep(60)"])
held = bytearray(50_000_000)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Postgres]:
    if not (HAS_REDIS and HAS_POSTGRES):
        pytest.skip("the bench needs redis-server and PostgreSQL")
    with own_postgres(ROOMY) as made:
        yield made


def test_a_race_is_measured_from_outside(postgresql: Postgres) -> None:
    with ground(TIMES, ROWS, 0, postgresql) as place:
        seen = race.run(CONTENDERS["asyncio-bare"], place, 30)
    assert (seen["done"], seen["finished"], seen["sent_twice"]) == (ROWS, True, 0)
    assert TIMES.one_row < seen["makespan_s"] < TIMES.one_row + 10
    assert seen["ideal_s"] == pytest.approx(0.7)
    assert (seen["stage_delay_s"]["count"], seen["noticed_s"]["count"]) == (4 * ROWS, ROWS)
    assert 0 <= seen["noticed_s"]["median"] < 5
    assert seen["cpu_s"]["worker"] > 0.1
    assert seen["cpu_s"]["sandbox"] > 0
    assert seen["cpu_s"]["handing_in"] == 0


def test_one_that_does_not_end_in_time_is_stopped_and_told_apart(postgresql: Postgres) -> None:
    with ground(TIMES, ROWS, 0, postgresql) as place:
        seen = race.run(CONTENDERS["serial"], place, 1.5)
    assert seen["done"] < ROWS
    assert (seen["finished"], seen["makespan_s"], seen["over_ideal"]) == (False, None, None)


def test_a_script_that_keeps_nothing_sends_everything_twice_when_it_is_killed(postgresql: Postgres) -> None:
    with ground(TIMES, ROWS, 0, postgresql) as place:
        seen = race.kill(CONTENDERS["asyncio-bare"], place, 30, patience=5)
    assert seen["killed"]
    assert (seen["lost"], seen["sent_twice"]) == (0, seen["under_way"])
    assert seen["under_way"] >= ROWS / 2
    assert seen["human"] == ["the same command again"]
    assert 0 < seen["all_going_on_s"] < seen["whole_after_s"]


def test_what_a_process_and_its_children_use_is_counted_while_they_live_and_after_their_end(tmp_path: Path) -> None:
    run = race.Run([sys.executable, "-c", _PARENT], dict(os.environ), tmp_path / "log")
    assert race.until(lambda: run.tail().count("burnt") == 2, 30)
    held = memory_mb(run.pid)
    assert 0.8 <= run.cpu_seconds < 3
    assert 45 < held < 120
    run.kill()
    assert run.over
    assert 0.4 <= run.cpu_seconds < 2
