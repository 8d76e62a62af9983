"""A manifest handed in again goes on where it stood: nothing is done twice, nothing that was done is lost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from reelq.job import Cause, Stage, Status
from reelq.store import commands, retention
from reelq.store.billing import ledger
from reelq.store.db.engine import Store
from reelq.store.db.models import Batch, BatchState, Job, JobEvent
from reelq.store.db.types import new_id
from reelq.store.jobs import retries, transitions
from reelq.store.jobs.transitions import Position, move
from reelq.store.queries.batch_status import snapshot
from reelq.store.submission import submitter
from reelq.store.submission.request import RowAction
from tests.databases import found, selected
from tests.integration.desks import SERVICE, TWO, Desk, fates, together

# The same manifest again


def test_a_plan_says_what_submitting_does_and_writes_nothing(desk: Desk) -> None:
    plan = desk.plan(*TWO)
    assert (fates(plan), plan.sends, plan.batch_id, desk.count(Batch)) == ([RowAction.NEW] * 2, 2, None, 0)
    assert desk.submit(*TWO).plan == plan
    again = desk.plan(*TWO)
    assert (fates(again), desk.count(Batch)) == ([RowAction.GOES_ON] * 2, 1)


def test_it_renews_what_was_asked_of_the_batch_as_a_whole(desk: Desk) -> None:
    batch_id = desk.submit(*TWO, first=1, limit_credits=10).batch_id
    commands.pause_batch(desk.store, batch_id)
    assert desk.submit(*TWO, limit_credits=500).batch_id == batch_id
    batch = found(desk.store, Batch, batch_id)
    assert (batch.released, batch.limit_credits, batch.state) == (None, 500, BatchState.ACTIVE)


def test_paused_rows_go_on_as_far_as_they_are_released(desk: Desk) -> None:
    batch_id = desk.submit(*TWO).batch_id
    with desk.store.write() as session:
        for job in session.scalars(select(Job)):
            move(session, Position.of(job), Status.WAITING, desk.store.now(session), "paused", cause=Cause.PAUSED)
    desk.submit(*TWO, first=1)
    assert desk.statuses(batch_id) == ["queued", "paused"]
    desk.submit(*TWO)
    assert desk.statuses(batch_id) == ["queued", "queued"]


def test_a_cancelled_batch_goes_on_and_so_does_what_is_about_to_be_cancelled(desk: Desk) -> None:
    batch_id = desk.submit(*TWO).batch_id
    desk.begin(desk.jobs(batch_id)[0])
    commands.cancel_batch(desk.store, batch_id)
    assert desk.statuses(batch_id) == ["running", "cancelled"]
    assert desk.submit(*TWO).plan.actions == (RowAction.GOES_ON, RowAction.GOES_ON)
    assert desk.statuses(batch_id) == ["running", "queued"]
    assert not any(job.cancel_wished for job in desk.jobs(batch_id))


def test_what_failed_runs_again_only_when_that_is_asked_for_and_after_its_edit_for_nothing(desk: Desk) -> None:
    batch_id = desk.submit(*TWO).batch_id
    first, second = desk.jobs(batch_id)
    desk.fail(first)
    kept = desk.submit(*TWO)
    assert (fates(kept), kept.plan.sends) == ([RowAction.FAILED, RowAction.GOES_ON], 1)
    assert desk.statuses(batch_id) == ["failed", "queued"]
    desk.fail(second, Stage.POLL, "render_failed")
    tried = desk.submit(*TWO, retry_failed=True)
    assert (fates(tried), tried.plan.sends) == ([RowAction.RETRIED, RowAction.RETRIED], 1)
    assert desk.statuses(batch_id) == ["queued", "queued"]


def test_a_row_that_succeeded_is_done_for_as_long_as_its_result_is_there(desk: Desk) -> None:
    batch_id = desk.submit(*TWO).batch_id
    result = desk.succeed(desk.jobs(batch_id)[0])
    done = desk.submit(*TWO)
    assert (fates(done), done.plan.sends) == ([RowAction.DONE, RowAction.GOES_ON], 1)
    result.write_bytes(b"cut off")
    fetched = desk.submit(*TWO)
    assert (fates(fetched), fetched.plan.sends) == ([RowAction.FETCHED, RowAction.GOES_ON], 1)
    job = desk.jobs(batch_id)[0]
    assert (job.status, job.stage, job.run, job.renders) == (Status.QUEUED, Stage.DOWNLOAD, 2, 0)
    assert job.result_url
    assert fates(desk.submit(*TWO)) == [RowAction.GOES_ON, RowAction.GOES_ON]


# The manifest was changed


def test_new_rows_make_a_new_batch_to_which_the_known_ones_move_with_all_that_is_theirs(desk: Desk) -> None:
    first = desk.submit(*TWO)
    done, running = desk.jobs(first.batch_id)
    desk.succeed(done)
    at = desk.begin(running, Stage.EDIT)
    third = "beach.mp4,Make it brighter,"
    second = desk.submit(TWO[1], third, TWO[0])
    assert second.batch_id != first.batch_id
    assert fates(second) == [RowAction.GOES_ON, RowAction.NEW, RowAction.DONE]
    moved = desk.jobs(second.batch_id)
    assert [(job.row, job.id) for job in moved if job.id in {done.id, running.id}] == [(1, running.id), (3, done.id)]
    assert desk.jobs(first.batch_id) == []
    with desk.store.read() as session:
        assert session.scalars(select(JobEvent.batch_id).distinct()).all() == [second.batch_id]
        batches, now = (first.batch_id, second.batch_id), desk.store.now(session)
        # By the limit's count, and as it is shown.
        assert [ledger.spent(session, batch_id) for batch_id in batches] == [0, 7]
        assert [snapshot(session, batch_id, now).credits for batch_id in batches] == [0, 7]
    desk.end(at, Status.FAILED, error_code="no_effect")  # its worker knows nothing of the move
    assert selected(desk.store, select(JobEvent.batch_id).distinct()) == [second.batch_id]


def test_rows_that_the_manifest_has_no_more_stay_are_told_of_and_come_back_with_it(desk: Desk) -> None:
    first = desk.submit(*TWO)
    (left,) = desk.plan(TWO[1]).left_behind
    assert desk.submit(TWO[1]).plan.left_behind == (left,)
    assert (left.batch_id, left.rows, desk.statuses(first.batch_id)) == (first.batch_id, 1, ["queued"])
    desk.succeed(desk.jobs(first.batch_id)[0])
    assert fates(desk.submit(*TWO)) == [RowAction.DONE, RowAction.GOES_ON]
    assert desk.count(Job) == 2


OUTPUT = "file,instruction,output"


def test_a_clip_that_was_only_renamed_is_the_same_work_and_a_changed_one_is_other_work(desk: Desk) -> None:
    batch_id = desk.submit("beach.mp4,Add a title,a.mp4", header=OUTPUT).batch_id
    (desk.folder / "beach.mp4").rename(desk.folder / "shore.mp4")
    renamed = ("shore.mp4,Add a title,a.mp4",)
    again = desk.submit(*renamed, header=OUTPUT)
    assert (again.batch_id, fates(again)) == (batch_id, [RowAction.GOES_ON])
    assert desk.jobs(batch_id)[0].file == "shore.mp4"  # it is read from its new place
    (desk.folder / "shore.mp4").write_bytes(b"another clip")
    assert fates(desk.submit(*renamed, header=OUTPUT)) == [RowAction.NEW]


def test_a_changed_priority_is_taken_over_and_makes_no_other_work(desk: Desk) -> None:
    header = "file,instruction,priority"
    desk.submit("beach.mp4,Add a title,1", header=header)
    again = desk.submit("beach.mp4,Add a title,-5", header=header)
    (job,) = desk.jobs(again.batch_id)
    assert (job.priority, fates(again), desk.count(Job)) == (-5, [RowAction.GOES_ON], 1)


def test_results_are_renamed_with_their_rows_even_crosswise(desk: Desk) -> None:
    batch_id = desk.submit("beach.mp4,Add a title,a.mp4", "forest.mp4,Add music,b.mp4", header=OUTPUT).batch_id
    for job in desk.jobs(batch_id):
        desk.succeed(job, job.output.encode())
    renamed = ("beach.mp4,Add a title,b.mp4", "forest.mp4,Add music,deep/c.mp4")
    done = desk.submit(*renamed, header=OUTPUT)
    assert fates(done) == [RowAction.DONE, RowAction.DONE]
    out = desk.folder / "out"
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.mp4")} == {
        "b.mp4": b"a.mp4",
        "deep/c.mp4": b"b.mp4",
    }
    assert [job.result_path for job in desk.jobs(done.batch_id)] == ["b.mp4", "deep/c.mp4"]
    assert fates(desk.submit(*renamed, header=OUTPUT)) == [RowAction.DONE, RowAction.DONE]


def test_a_result_is_not_renamed_over_a_file_of_somebody_elses_but_fetched(desk: Desk) -> None:
    batch_id = desk.submit("beach.mp4,Add a title,a.mp4", header=OUTPUT).batch_id
    desk.succeed(desk.jobs(batch_id)[0])
    (desk.folder / "out" / "b.mp4").write_bytes(b"mine")
    assert fates(desk.submit("beach.mp4,Add a title,b.mp4", header=OUTPUT)) == [RowAction.FETCHED]
    assert (desk.folder / "out" / "b.mp4").read_bytes() == b"mine"


def test_a_download_under_way_to_a_name_that_changed_begins_again_and_the_old_one_is_refused(desk: Desk) -> None:
    batch_id = desk.submit("beach.mp4,Add a title,a.mp4", header=OUTPUT).batch_id
    (job,) = desk.jobs(batch_id)
    desk.begin(job, Stage.DOWNLOAD)
    desk.submit("beach.mp4,Add a title,b.mp4", header=OUTPUT)
    now = desk.job(job.id)
    assert (now.status, now.stage, now.run, now.output) == (Status.QUEUED, Stage.DOWNLOAD, 2, "b.mp4")


# The same work in another manifest


@pytest.mark.parametrize(("is_done", "fate"), [(True, RowAction.TAKEN), (False, RowAction.JOINED)])
def test_a_row_known_elsewhere_takes_that_result_without_a_send(desk: Desk, is_done: bool, fate: RowAction) -> None:
    (original,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    if is_done:
        desk.succeed(original)
    copy = desk.submit(TWO[0], name="other", out="elsewhere")
    assert (fates(copy), copy.plan.sends) == ([fate], 0)
    if not is_done:
        assert desk.statuses(copy.batch_id) == ["twin"]
        assert fates(desk.submit(TWO[0], name="other", out="elsewhere")) == [RowAction.JOINED]
        desk.succeed(original)
    (job,), original = desk.jobs(copy.batch_id), desk.job(original.id)
    for name in ("remote_session_id", "remote_render_id", "result_url", "timeline", "reply", "changes", "account_id"):
        assert getattr(job, name) == getattr(original, name) != ""
    assert (job.status, job.stage, job.same_as) == (Status.QUEUED, Stage.DOWNLOAD, original.id)
    assert f"row 1 of {original.batch_id}" in desk.words(job)[0]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda desk, job: desk.fail(job), id="it fails"),
        pytest.param(lambda desk, job: desk.act(retries.cancel, job), id="it is cancelled"),
        pytest.param(lambda desk, job: commands.cancel_batch(desk.store, job.batch_id), id="its batch is cancelled"),
    ],
)
def test_after_a_bad_end_one_twin_works_and_the_others_wait(desk: Desk, end: Callable[[Desk, Job], object]) -> None:
    (original,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    first, second = (desk.jobs(desk.submit(TWO[0], name=name, out=name).batch_id)[0] for name in ("second", "third"))
    end(desk, original)
    first, second = desk.job(first.id), desk.job(second.id)
    assert (first.status, first.stage, first.same_as) == (Status.QUEUED, Stage.UPLOAD, None)
    assert (second.cause, second.same_as) == (Cause.TWIN, first.id)


def test_a_failed_row_that_is_retried_while_another_does_its_work_waits_for_that(desk: Desk) -> None:
    (failed,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    desk.fail(failed)
    (other,) = desk.jobs(desk.submit(TWO[0], name="other").batch_id)
    assert desk.act(retries.retry, failed)
    failed = desk.job(failed.id)
    assert (failed.cause, failed.same_as) == (Cause.TWIN, other.id)
    assert fates(desk.submit(TWO[0], retry_failed=True)) == [RowAction.JOINED]


@pytest.mark.parametrize("instruction", ["credits", "status"])
def test_what_costs_nothing_and_brings_no_video_simply_runs(desk: Desk, instruction: str) -> None:
    row = f"beach.mp4,{instruction},"
    (original,) = desk.jobs(desk.submit(row).batch_id)
    batch_id = desk.submit(row, name="other").batch_id
    assert desk.statuses(batch_id) == ["twin"]
    desk.succeed(original)
    (twin,) = desk.jobs(batch_id)
    assert (twin.status, twin.same_as) == (Status.QUEUED, None)
    assert fates(desk.submit(row, name="third")) == [RowAction.JOINED]
    desk.succeed(twin)
    assert fates(desk.submit(row, name="fourth")) == [RowAction.JOINED]


def test_a_batch_of_assets_is_a_new_one_each_time_and_pays_nothing_twice(desk: Desk) -> None:
    order = replace(desk.order("https://clips.example/1.mp4,Add a title,"), source=Path())
    first, second = (submitter.submit(desk.store, order, service=SERVICE, account_id=desk.account) for _ in range(2))
    assert first.batch_id != second.batch_id
    assert fates(second) == [RowAction.JOINED]


def test_forgetting_an_original_leaves_those_who_take_from_it_working(desk: Desk) -> None:
    (original,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    (joined,) = desk.jobs(desk.submit(TWO[0], name="joined").batch_id)
    desk.succeed(original)
    (taken,) = desk.jobs(desk.submit(TWO[0], name="taken").batch_id)
    with desk.store.write() as session:
        assert retention.delete_batches(session, transitions.later(desk.store.now(session), 1), 0.0) == 1
    assert desk.count(Job) == 2
    for job in (joined, taken):
        assert desk.job(job.id).result_url
        desk.succeed(desk.job(job.id))


def test_an_owner_shares_no_work_with_another(desk: Desk) -> None:
    desk.submit(TWO[0])
    other = replace(desk.order(TWO[0]), owner="another")
    assert fates(submitter.plan(desk.store, other, service=SERVICE)) == [RowAction.NEW]
    assert fates(submitter.plan(desk.store, desk.order(TWO[0]), service="sandbox")) == [RowAction.NEW]


# One manifest, or the same rows, handed in by several at the same moment


@pytest.mark.parametrize(("names", "batches"), [(("jobs", "jobs", "jobs"), 1), (("one", "two", "three"), 3)])
def test_rows_handed_in_by_several_at_once_are_done_once(desk: Desk, names: tuple[str, ...], batches: int) -> None:
    order = desk.order(*TWO, *(f"beach.mp4,Add a title that says {number}," for number in range(50)))
    orders = iter([replace(order, name=name, out=desk.folder / name) for name in names])

    def submit() -> str:
        with closing(Store(desk.store.url)) as store:
            return submitter.submit(store, next(orders), service=SERVICE, account_id=desk.account).batch_id

    assert len(set(together(len(names), submit))) == desk.count(Batch) == batches
    with desk.store.read() as session:
        own = select(func.count()).select_from(Job).where(Job.same_as.is_(None))
        assert (session.execute(own).scalar_one(), desk.count(Job)) == (52, 52 * batches)


def test_an_order_whose_batch_was_given_its_id_beforehand_is_made_once(desk: Desk) -> None:
    rows = desk.order("https://clips.example/1.mp4,Add a title,")
    order = replace(rows, source=Path(), out=Path(), batch_id=new_id("bat"))
    made = together(6, lambda: submitter.submit(desk.store, order, service=SERVICE, account_id=desk.account))
    assert {each.batch_id for each in made} == {order.batch_id}
    assert (desk.count(Batch), desk.count(Job)) == (1, 1)


def test_rows_that_end_while_they_are_joined_leave_no_twin_waiting(desk: Desk) -> None:
    """Each original ends while another manifest joins it. Whichever is first, the twin gets its result."""
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
