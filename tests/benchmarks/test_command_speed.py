"""How long `reelq check` and `reelq run` take over many rows, and what they use."""

import json
import time
from pathlib import Path

import pytest

from tests.acceptance.running import REELQ, User
from tests.benchmarks.race import Used, seen_through
from tests.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

CHECK_MB = 300
ROWS = 1000
IN_FLIGHT = 64
EDIT, RENDER = 0.5, 0.5
LIMIT = 1.5
"""Most of the processor's time for a row, in yardsticks; it takes about 1."""
SPAN = 2
"""Longest that it may take, in times of what the service needs and the processor is busy, one after the other."""
GROWS_MB = 90
"""Most that the process grows over one that has next to nothing to do."""


@pytest.mark.parametrize(
    ("rows", "fault_every", "ends", "limit"),
    [
        (100_000, 0, "100,000 rows (100000 edit), 0 warnings: ready to run.", 10),
        (100_000, 100, "1,000 faults, 0 warnings: can't run.", 10),
        (30_000, 1, "30,000 faults, 0 warnings: can't run.", 20),
    ],
)
def test_a_large_manifest_is_checked_within_seconds(
    rows: int, fault_every: int, ends: str, limit: float, tmp_path: Path
) -> None:
    user = User(tmp_path)
    for number in range(1000):
        (tmp_path / f"clip{number}.mp4").write_bytes(b"x")
    clips = (f"gone/{row}" if fault_every and row % fault_every == 0 else f"clip{row % 1000}" for row in range(rows))
    words = '"Trim to {} s, warm the colours, add the title ""Take {}""",Northwind'
    lines = [f"{clip}.mp4,{words.format(row % 7 + 3, row)}" for row, clip in enumerate(clips)]
    user.writes(lines, header="file,instruction,client")
    log = tmp_path / "check.log"
    used = seen_through([REELQ, "check", "jobs.csv"], user.environment, log, code=2 if fault_every else 0)
    print(f"\ncheck of {rows:,} rows: {used.seconds:.1f} s (limit {limit}), {used.peak_mb:.0f} MB at most; {ends}")
    assert ends in log.read_text().splitlines()
    assert used.seconds < limit
    assert used.peak_mb < CHECK_MB


def test_many_rows_cost_little_more_than_the_service_takes(tmp_path: Path) -> None:
    def run(rows: int, name: str) -> Used:
        """The same instruction in every row: the stand-in encodes one video."""
        user.writes(["beach.mp4,Add a title that says Hello"] * rows, name=f"{name}.csv")
        return seen_through([REELQ, "run", f"{name}.csv"], user.environment, user.folder / f"{name}.log")

    faults = {"silent_edit": 0, "temporary_issue": 0, "edit_seconds": EDIT, "render_seconds": RENDER}
    with SandboxProcess.start(faults=faults, no_latency=True, credits=1_000_000, keep_alive=5) as service:
        user = User(tmp_path, service, REELQ_MAX_IN_FLIGHT=str(IN_FLIGHT), REELQ_POLL_INTERVAL=str(RENDER))
        few, before = run(2, "few"), _yardstick()
        many, after = run(ROWS, "many"), _yardstick()
    ideal = ROWS / IN_FLIGHT * (EDIT + RENDER)
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


def _yardstick() -> float:
    """Seconds of processor that a fixed piece of work takes here and now: on a slow or busy machine, more."""
    began = time.process_time()
    for _ in range(20):
        json.loads(json.dumps([{"row": number, "what": "Add a title"} for number in range(5_000)]))
    return time.process_time() - began
