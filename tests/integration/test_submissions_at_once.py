"""One manifest handed in by several at the same moment, and manifests of a hundred thousand rows."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from reelq.job import Route, Stage, Status
from reelq.manifest import Row
from reelq.store import due, jobs, submissions, turns
from reelq.store.models import Batch, Job
from reelq.store.orders import Fate, Order
from reelq.store.session import Store
from tests.databases import shown
from tests.integration.test_submissions import SERVICE, TWO, Desk, desk
from tests.queue.sizes import size

__all__ = ["desk"]  # the fixture

BULK = size(10_000, 100_000)
LIMIT_SECONDS = 30
FEWER = size(2_000, 20_000)
TICK_SECONDS = 0.5
"""It comes five times a second, and takes its time only while there is something to let in."""

_SUBMIT = """
import sys
from pathlib import Path
from sqlalchemy import make_url
from reelq import manifest, skills
from reelq.store import submissions
from reelq.store.orders import Order
from reelq.store.session import Store

url, service, account, name = sys.argv[1:]
folder = Path.cwd()
rows = manifest.check_file(folder / "jobs.csv", skills=skills.load()).rows_or_raise()
store = Store(make_url(url))
print("ready", flush=True)
sys.stdin.readline()
order = Order("me", name, folder, folder / name, rows)
print(submissions.submit(store, order, service=service, account_id=account).batch_id)
store.close()
"""


def _at_once(desk: Desk, *names: str) -> list[str]:
    """The batches that so many processes come to, each of which hands in the same rows."""
    desk.order(*TWO, *(f"beach.mp4,Add a title that says {number}," for number in range(200)))
    pipe = subprocess.PIPE
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n" + _SUBMIT]
    started = [
        subprocess.Popen(
            [*command, shown(desk.store.url), SERVICE, desk.account, name],
            cwd=desk.folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True,
        )
        for name in names
    ]  # fmt: skip
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert [end[1:] for end in ends] == [("", 0)] * len(names)
    return [end[0].strip() for end in ends]


def test_of_processes_that_hand_in_one_manifest_at_once_one_inserts_and_the_others_find_it(desk: Desk) -> None:
    assert len(set(_at_once(desk, "jobs", "jobs", "jobs"))) == 1
    assert (desk.count(Batch), desk.count(Job)) == (1, 202)


def test_of_processes_that_hand_in_the_same_rows_from_different_manifests_one_does_the_work(desk: Desk) -> None:
    assert len(set(_at_once(desk, "one", "two", "three"))) == 3
    with desk.store.read() as session:
        own = select(func.count()).select_from(Job).where(Job.same_as.is_(None))
        assert session.execute(own).scalar_one() == 202
    assert desk.count(Job) == 3 * 202


def test_rows_that_end_while_they_are_joined_leave_no_twin_waiting(desk: Desk) -> None:
    """Each original ends while another manifest joins it: whoever comes first, the twin comes to its result."""
    rows = [f"beach.mp4,Add a title that says {number}," for number in range(40)]
    running = [desk.begin(job, Stage.DOWNLOAD) for job in desk.jobs(desk.submit(*rows).batch_id)]
    values: dict[str, Any] = {"result_path": "x.mp4", "result_size": 1, "result_sha256": "0" * 64}
    with ThreadPoolExecutor(8) as pool:
        ends = [pool.submit(desk.end, at, Status.SUCCEEDED, **values) for at in running]
        batch_id = desk.submit(*rows, name="other").batch_id
        for end in ends:
            end.result()
    assert set(desk.statuses(batch_id)) == {"queued"}
    assert {job.stage for job in desk.jobs(batch_id)} == {Stage.DOWNLOAD}


def _order(folder: Path, count: int, name: str = "bulk") -> Order:
    rows = [
        Row(
            number=number, line=number + 1, id=str(number), file="beach.mp4", references=(), skill="video-models",
            instruction=f"Add a title that says {number}", language="en", session="", priority=0,
            output=f"{number}-beach.mp4", route=Route.EDIT, extra={"shelf": str(number % 7)},
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
    return Order("me", name, folder, folder / name, rows, limit_credits=None)


def _timed(what: str, store: Store, act: Any, limit: float, capsys: pytest.CaptureFixture[str]) -> Any:
    began = time.monotonic()
    result = act()
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{what}, {store.url.get_backend_name()}: {seconds:.2f} s (limit {limit:g})")  # noqa: T201
    assert seconds < limit
    return result


@pytest.mark.benchmark
@pytest.mark.timeout(600)
def test_a_large_manifest_is_handed_in_again_and_changed_and_joined_within_seconds(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    order = _order(desk.folder, BULK)

    def submit(order: Order) -> submissions.Submitted:
        return submissions.submit(desk.store, order, service=SERVICE, account_id=desk.account)

    first = _timed(f"{BULK:,} rows handed in", desk.store, lambda: submit(order), LIMIT_SECONDS, capsys)
    again = _timed("… and again", desk.store, lambda: submit(order), LIMIT_SECONDS, capsys)
    assert (again.batch_id, again.plan.count(Fate.GOES_ON)) == (first.batch_id, BULK)
    less = _order(desk.folder, FEWER, "other")
    other = _timed(f"{FEWER:,} rows joined", desk.store, lambda: submit(less), LIMIT_SECONDS, capsys)
    assert other.plan.count(Fate.JOINED) == FEWER
    less = replace(less, rows=less.rows[1:])
    moved = _timed("… and less one row", desk.store, lambda: submit(less), LIMIT_SECONDS, capsys)
    assert (moved.plan.count(Fate.JOINED), moved.left_behind[0].rows) == (FEWER - 1, 1)
    for batch_id in (None, first.batch_id, moved.batch_id):
        _ticks(desk, batch_id, capsys)


def _ticks(desk: Desk, batch_id: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """What the lifeline asks five times a second, as often as it is asked within one."""
    with desk.store.write() as session:
        session.execute(update(Job).where(Job.admitted).values(admitted=False))

    def tick() -> None:
        with desk.store.write() as session:
            now = desk.store.now(session)
            jobs.rescue(session, now, 200, 30, 20, batch_id=batch_id)
            due.due(session, now, 500, batch_id)
            turns.admit(session, now, batch_id)

    tick()
    _timed(f"a tick, {'a batch alone' if batch_id else 'everything'}", desk.store, tick, TICK_SECONDS, capsys)
