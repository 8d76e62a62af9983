"""One manifest, or the same rows, handed in by several at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from reelq.job import Stage, Status
from reelq.store import submissions
from reelq.store.ids import new_id
from reelq.store.models import Batch, Job
from reelq.store.session import Store
from tests.integration.desks import SERVICE, TWO, Desk
from tests.integration.threads import together


def _at_once(desk: Desk, *names: str) -> list[str]:
    """The batches that so many come to, each of which hands in the same rows through a store of its own."""
    order = desk.order(*TWO, *(f"beach.mp4,Add a title that says {number}," for number in range(50)))
    orders = iter([replace(order, name=name, out=desk.folder / name) for name in names])

    def submit() -> str:
        with closing(Store(desk.store.url)) as store:
            return submissions.submit(store, next(orders), service=SERVICE, account_id=desk.account).batch_id

    return together(len(names), submit)


def test_of_those_that_hand_in_one_manifest_at_once_one_inserts_and_the_others_find_it(desk: Desk) -> None:
    assert len(set(_at_once(desk, "jobs", "jobs", "jobs"))) == 1
    assert (desk.count(Batch), desk.count(Job)) == (1, 52)


def test_of_those_that_hand_in_the_same_rows_from_different_manifests_one_does_the_work(desk: Desk) -> None:
    assert len(set(_at_once(desk, "one", "two", "three"))) == 3
    with desk.store.read() as session:
        own = select(func.count()).select_from(Job).where(Job.same_as.is_(None))
        assert session.execute(own).scalar_one() == 52
    assert desk.count(Job) == 3 * 52


def test_an_order_whose_batch_was_given_its_id_beforehand_is_made_once(desk: Desk) -> None:
    rows = desk.order("https://clips.example/1.mp4,Add a title,")
    order = replace(rows, source=Path(), out=Path(), batch_id=new_id("bat"))
    made = together(6, lambda: submissions.submit(desk.store, order, service=SERVICE, account_id=desk.account))
    assert {each.batch_id for each in made} == {order.batch_id}
    assert (desk.count(Batch), desk.count(Job)) == (1, 1)


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
