"""How long `reelq run` takes over many rows beside the time that the service alone would need, and what it uses."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.running import REELQ, User
from tests.benchmarks.race import Used, seen_through
from tests.sandbox_process import SandboxProcess

ROWS = 1000
IN_FLIGHT = 64
EDIT, RENDER = 0.5, 0.5
LIMIT = 1.5
"""Most of the processor's time for a row, in yardsticks; it takes about 1."""
SPAN = 2
"""Longest that it may take, in times of what the service needs and the processor is busy, one after the other."""
GROWS_MB = 90
"""Most that the process grows over one that has next to nothing to do."""


@pytest.fixture
def service() -> Iterator[SandboxProcess]:
    faults = {"silent_edit": 0, "temporary_issue": 0, "edit_seconds": EDIT, "render_seconds": RENDER}
    with SandboxProcess.start(faults=faults, no_latency=True, credits=1_000_000, keep_alive=5) as started:
        yield started


def run(user: User, rows: int, name: str) -> Used:
    """The same instruction in every row: the stand-in encodes one video."""
    user.writes(["beach.mp4,Add a title that says Hello"] * rows, name=f"{name}.csv")
    command = [REELQ, "run", f"{name}.csv"]
    return seen_through(command, user.environment, user.folder / f"{name}.log")


def yardstick() -> float:
    """Seconds of processor that a fixed piece of work takes here and now: on a slow or busy machine, more."""
    began = time.process_time()
    for _ in range(20):
        json.loads(json.dumps([{"row": number, "what": "Add a title"} for number in range(5_000)]))
    return time.process_time() - began


@pytest.mark.benchmark
@pytest.mark.timeout(600)
def test_many_rows_cost_little_more_than_the_service_takes(tmp_path: Path, service: SandboxProcess) -> None:
    user = User(tmp_path, service, REELQ_MAX_IN_FLIGHT=str(IN_FLIGHT), REELQ_POLL_INTERVAL=str(RENDER))
    few, before = run(user, 2, "few"), yardstick()
    many, after = run(user, ROWS, "many"), yardstick()
    ideal = ROWS / min(IN_FLIGHT, ROWS) * (EDIT + RENDER)
    cpu, grown = (many.cpu - few.cpu) / (ROWS - 2), many.peak_mb - few.peak_mb
    limit = LIMIT * (before + after) / 2
    print(
        f"\nrun of {ROWS:,} rows: {many.seconds:.1f} s, where the service alone needs {ideal:.1f}; "
        f"{cpu * 1000:.0f} ms of processor a row (limit {limit * 1000:.0f}); "
        f"{many.peak_mb:.0f} MB at most, {grown:.0f} more than for two rows (limit {GROWS_MB})"
    )
    assert len(user.videos("many")) == ROWS
    assert cpu < limit
    assert grown < GROWS_MB
    assert many.seconds < SPAN * (ideal + many.cpu)
