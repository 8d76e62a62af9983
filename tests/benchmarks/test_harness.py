"""The harness itself: that it sees what a contender does, and what becomes of one that is killed."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import killing, race
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.grounds import ROOMY, Latencies, ground
from tests.benchmarks.usage import cpu_seconds, memory_mb
from tests.servers import HAS_POSTGRES, HAS_REDIS, Postgres, own_postgres

pytestmark = pytest.mark.benchmark

ROWS = 3
TIMES = Latencies("tiny", upload=0.05, edit=0.4, render=0.25, look_every=0.1, keep_alive=5)

_BURN = """
import sys, time
while time.process_time() < 0.4: pass
"""
_WAIT = "print('burnt', flush=True); sys.stdin.read()"
_PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {_BURN!r}])
print("burnt", flush=True)
subprocess.Popen([sys.executable, "-c", {_BURN + _WAIT!r}])
held = bytearray(50_000_000)
sys.stdin.read()
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
    assert seen["stage_delay_s"]["count"] == 4 * ROWS
    assert seen["noticed_s"]["count"] == ROWS
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
        seen = killing.kill(CONTENDERS["asyncio-bare"], place, 30, patience=5)
    assert seen["killed"]
    assert (seen["lost"], seen["sent_twice"]) == (0, seen["under_way"])
    assert seen["under_way"] >= ROWS / 2
    assert seen["human"] == [killing.AGAIN]
    assert 0 < seen["all_going_on_s"] < seen["whole_after_s"]


def test_what_children_used_counts_the_living_and_the_ended() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
        time.sleep(0.2)
        used, held = cpu_seconds([process.pid]), memory_mb([process.pid])
        process.kill()
    assert 0.8 <= used < 3
    assert 45 < held < 120


def test_a_process_that_has_ended_has_used_what_it_used(tmp_path: Path) -> None:
    run = race.Run([sys.executable, "-c", _BURN], dict(os.environ), tmp_path / "log")
    assert race.until(lambda: run.over, 30)
    assert 0.4 <= run.cpu_seconds < 2
