"""Measures pools of workers beside each other: `python -m tests.queue.measure_pools DATABASE POOL CONCURRENCY ROWS`.

One worker, a service that answers at once but for edits of 5 s and renders of 3 s; prints the makespan beside the
ideal, the worker's CPU per row, its peak memory, and the delay between one stage's end and the next one's start.
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tests.queue.farm import CLIP, Farm, farm
from tests.queue.parts import Process, worker_command

EDIT, RENDER, LOOK = 5.0, 3.0, 1.0
IDEAL: Final = EDIT + 4 * LOOK
"""A row's own critical path: the edit, and the first look after the render is done, four intervals on.

Some rows have a second edit, as the agent asks for it; the delays tell more than the makespan.
"""


def main(database: str, pool: str, concurrency: int, rows: int) -> None:
    """One measurement, one line."""
    faults: dict[str, object] = {"edit_seconds": EDIT, "render_seconds": RENDER}
    waits: dict[str, Any] = {
        "reelq_max_in_flight": rows,
        "reelq_poll_interval": LOOK,
        "reelq_edit_timeout": 60.0,
        "reelq_silence_timeout": 30.0,
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        farm("redis", Path(folder), faults=faults, concurrency=concurrency, database_kind=database, **waits) as made,
    ):
        batch = made.submit([f"{CLIP},Add a title that says Take one"] * rows)
        worker = Process(
            [*worker_command("measured", concurrency), "-P", pool], made.environment(), made.folder / "worker.log"
        )
        worker.start()
        assert worker.running
        began = time.monotonic()
        ends = made.ended(batch, 300)
        took = time.monotonic() - began
        cpu, peak = _used(worker.running.pid)
        print(
            f"{database:10} {pool:8} {concurrency:5} at once, {rows:5} rows: {took:5.1f} s (ideal {IDEAL:g}), "
            f"CPU {1000 * cpu / rows:4.0f} ms a row, {peak:4.0f} MB, delay {_delay(made):4.0f} ms; {dict(ends)}",
            flush=True,
        )
        worker.stop(signal.SIGKILL)


def _used(pid: int) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of a process that still runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(peak.split()[1]) / 1024


def _delay(made: Farm) -> float:
    """The median time from a stage's record to the next one's claim, where nothing had to be waited for."""
    events = made.sql("select job_id, what, stage, at from job_events order by job_id, id")
    gaps = []
    for before, after in pairwise(events):
        at_once = before.what in {"upload done", "edit done", "verify done", "poll done"} and after.what == "running"
        if at_once and before.job_id == after.job_id:
            gaps.append((_seconds(after.at) - _seconds(before.at)) * 1000)
    return statistics.median(gaps) if gaps else 0


def _seconds(moment: datetime | str) -> float:
    """SQLite gives a text, PostgreSQL a moment."""
    return (datetime.fromisoformat(moment) if isinstance(moment, str) else moment).timestamp()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
