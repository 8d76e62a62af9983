"""How long a manifest of 100,000 rows takes to be checked, and how much memory it needs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

ROWS = 100_000
LIMIT_SECONDS = 10
LIMIT_MB = 300

_CHECK = """
import sys, time
from pathlib import Path
from reelq import manifest, skills
from tests.benchmarks.usage import peak_mb

known = skills.load()
began = time.monotonic()
checked = manifest.check_file(Path(sys.argv[1]), skills=known)
print(len(checked.rows), len(checked.faults), time.monotonic() - began, peak_mb())
"""


def _write(path: Path, *, missing_every: int) -> None:
    for number in range(1000):
        (path.parent / f"clip{number}.mp4").write_bytes(b"x")
    with path.open("w") as file:
        file.write("file,instruction,client\n")
        for row in range(ROWS):
            name = "none.mp4" if missing_every and row % missing_every == 0 else f"clip{row % 1000}.mp4"
            file.write(f'{name},"Trim to {row % 7 + 3} s, warm the colours, add the title ""Take {row}""",Northwind\n')


@pytest.mark.parametrize(("what", "missing_every"), [("sound", 0), ("1,000 faults", 100)])
def test_a_manifest_of_100000_rows_is_checked_within_10_seconds(what: str, missing_every: int, tmp_path: Path) -> None:
    _write(tmp_path / "jobs.csv", missing_every=missing_every)
    command = [sys.executable, "-c", _CHECK, str(tmp_path / "jobs.csv")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=110).stdout
    rows, faults, seconds, peak = map(float, printed.split())
    print(f"\ncheck of {ROWS:,} rows, {what}: {seconds:.1f} s (limit {LIMIT_SECONDS}), {peak:.0f} MB at most")
    assert (rows, faults) == (ROWS - (ROWS // missing_every if missing_every else 0), 1000 if missing_every else 0)
    assert seconds < LIMIT_SECONDS
    assert peak < LIMIT_MB


def test_a_fault_in_each_of_30000_rows_is_told_within_20_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"gone/{number}.mp4,Cut the pauses in {number}\n" for number in range(30_000))
    (tmp_path / "jobs.csv").write_text(f"file,instruction\n{rows}")
    command = [str(Path(sys.executable).with_name("reelq")), "check", "jobs.csv"]
    began = time.monotonic()
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=110)
    took = time.monotonic() - began
    with capsys.disabled():
        print(f"\ncheck of 30,000 rows with a fault in each: {took:.1f} s (limit 20)")
    assert done.stdout.splitlines()[-1] == "30,000 faults, 0 warnings: it can't run."
    assert took < 20
