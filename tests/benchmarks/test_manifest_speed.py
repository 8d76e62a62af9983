"""How long a large manifest takes to be checked, with its faults, and how much memory it needs."""

from pathlib import Path

import pytest

from tests.acceptance.running import BARE, REELQ
from tests.benchmarks.race import seen_through

pytestmark = pytest.mark.benchmark

LIMIT_MB = 300


@pytest.mark.parametrize(
    ("rows", "fault_every", "ends", "limit"),
    [
        (100_000, 0, "100,000 rows (100000 edit), 0 warnings: it can run.", 10),
        (100_000, 100, "1,000 faults, 0 warnings: it can't run.", 10),
        (30_000, 1, "30,000 faults, 0 warnings: it can't run.", 20),
    ],
)
def test_a_large_manifest_is_checked_within_seconds(
    rows: int, fault_every: int, ends: str, limit: float, tmp_path: Path
) -> None:
    for number in range(1000):
        (tmp_path / f"clip{number}.mp4").write_bytes(b"x")
    with (tmp_path / "jobs.csv").open("w") as file:
        file.write("file,instruction,client\n")
        for row in range(rows):
            name = f"gone/{row}.mp4" if fault_every and row % fault_every == 0 else f"clip{row % 1000}.mp4"
            file.write(f'{name},"Trim to {row % 7 + 3} s, warm the colours, add the title ""Take {row}""",Northwind\n')
    log = tmp_path / "check.log"
    used = seen_through([REELQ, "check", "jobs.csv"], BARE | {"HOME": str(tmp_path)}, log, code=2 if fault_every else 0)
    print(f"\ncheck of {rows:,} rows, {used.seconds:.1f} s (limit {limit}), {used.peak_mb:.0f} MB at most; {ends}")
    assert ends in log.read_text().splitlines()
    assert used.seconds < limit
    assert used.peak_mb < LIMIT_MB
