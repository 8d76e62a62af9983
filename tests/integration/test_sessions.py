"""More is told in a row's own session: each refinement a job with a result of its own, one after the other."""

import pytest

from reelq.errors import CannotRefine
from reelq.job import Cause, Route, Stage, Status
from reelq.store import commands
from reelq.store.db.models import Batch, Job, Outcome
from reelq.store.jobs import retries
from reelq.store.jobs.claims import Claimed, NotClaimed
from reelq.store.submission import refinement
from reelq.store.submission.request import RowAction
from tests.databases import change, found
from tests.integration.desks import REEL, TWO, Desk, claim, fates

OTHER = ",Add other music,reel"


def _refine(desk: Desk, job: Job, instruction: str = "Make it brighter") -> Job:
    with desk.store.write() as session:
        made = refinement.refine(session, session.get_one(Job, job.id), instruction, desk.store.now(session))
    return desk.job(made)


def _done(desk: Desk, *rows: str) -> list[Job]:
    """All of these rows have succeeded."""
    there = desk.jobs(desk.submit(*rows).batch_id)
    for job in there:
        desk.succeed(desk.job(job.id))
    return [desk.job(job.id) for job in there]


# More is told in a row's own session: each refinement a job with a result of its own, one after the other.


def test_a_refinement_goes_on_in_the_session_of_its_row_with_a_result_of_its_own(desk: Desk) -> None:
    job, other = _done(desk, *TWO)
    desk.out_of(job).with_name("1-beach-2.mp4").write_bytes(b"mine")
    refined, again = _refine(desk, job), _refine(desk, job, "And louder")
    assert (refined.stage, refined.status, refined.route) == (Stage.EDIT, Status.QUEUED, Route.EDIT)
    assert refined.remote_session_id == job.remote_session_id != ""
    assert (refined.file, refined.output, again.output) == ("", "1-beach-3.mp4", "1-beach-4.mp4")
    assert _refine(desk, other, "export").stage is Stage.RENDER  # what the session shows needs no edit
    assert found(desk.store, Batch, refined.batch_id).name == "refine of row 1 of jobs"
    with pytest.raises(CannotRefine, match="empty"):
        _refine(desk, job, "  ")


def test_refinements_wait_for_whatever_is_at_work_in_the_session_and_for_each_other(desk: Desk) -> None:
    first, second = desk.jobs(desk.submit(*REEL[:2]).batch_id)
    desk.succeed(first)
    at = desk.begin(desk.job(second.id), Stage.RENDER)
    refined, again = _refine(desk, first), _refine(desk, first, "And louder")
    assert [(job.cause, job.after_id) for job in (refined, again)] == [
        (Cause.SESSION, second.id),
        (Cause.SESSION, refined.id),
    ]
    desk.end(at, Status.SUCCEEDED)
    assert desk.job(refined.id).status is Status.QUEUED
    assert desk.job(again.id).status is Status.WAITING


def test_a_row_added_to_the_manifest_goes_on_behind_the_refinements(desk: Desk) -> None:
    (first,) = _done(desk, REEL[0])
    refined = _refine(desk, first)
    added = desk.submit(*REEL[:2])
    assert fates(added) == [RowAction.DONE, RowAction.NEW]
    second = desk.jobs(added.batch_id)[1]
    assert (second.cause, second.after_id) == (Cause.SESSION, refined.id)


@pytest.mark.parametrize(
    ("stage", "code", "words"),
    [
        (Stage.VERIFY, "no_effect", ""),  # an agent that asked back is answered at once
        (Stage.EDIT, "session_lost", "is lost"),
        (Stage.UPLOAD, "file_too_large", "no session"),
    ],
)
def test_a_row_without_a_session_is_refused_with_words(desk: Desk, stage: Stage, code: str, words: str) -> None:
    (job,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    with pytest.raises(CannotRefine, match="yet"):
        _refine(desk, job)
    desk.fail(job, stage, code)
    if words:
        with pytest.raises(CannotRefine, match=words):
            _refine(desk, job)
    else:
        assert (_refine(desk, job).stage, _refine(desk, job).status) == (Stage.EDIT, Status.WAITING)


# Rows of one session, whose manifest has changed, and those of another manifest


def test_a_row_added_at_the_end_goes_on_in_the_session_of_those_before_it(desk: Desk) -> None:
    _done(desk, *REEL[:2])
    added = desk.submit(*REEL)
    assert (fates(added), added.plan.sends) == ([RowAction.DONE, RowAction.DONE, RowAction.NEW], 1)
    _, second, third = desk.jobs(added.batch_id)
    assert (third.status, third.after_id) == (Status.QUEUED, second.id)
    assert third.remote_session_id == second.remote_session_id != ""


def test_a_row_added_behind_one_that_failed_runs_when_that_is_retried(desk: Desk) -> None:
    (first,) = desk.jobs(desk.submit(REEL[0]).batch_id)
    desk.fail(first)
    added = desk.submit(*REEL)
    assert (fates(added), added.plan.sends) == ([RowAction.FAILED] * 3, 0)
    assert desk.statuses(added.batch_id) == ["failed", "cancelled", "cancelled"]
    assert fates(desk.submit(*REEL, retry_failed=True)) == [RowAction.RETRIED, RowAction.GOES_ON, RowAction.GOES_ON]
    assert desk.statuses(added.batch_id) == ["queued", "queued", "queued"]


def test_a_change_to_an_earlier_row_runs_the_session_again_in_a_new_one_and_says_so_before(desk: Desk) -> None:
    _done(desk, *REEL)
    changed = (REEL[0], OTHER, REEL[2])
    plan = desk.plan(*changed)
    assert (fates(plan), plan.sends, plan.count(RowAction.AGAIN)) == (
        [RowAction.AGAIN, RowAction.NEW, RowAction.NEW],
        3,
        1,
    )
    done = desk.submit(*changed)
    first, second, third = desk.jobs(done.batch_id)
    assert (first.status, first.stage, first.remote_session_id, first.run) == (Status.QUEUED, Stage.UPLOAD, "", 2)
    assert [(job.cause, job.after_id) for job in (second, third)] == [
        (Cause.SESSION, first.id),
        (Cause.SESSION, second.id),
    ]


@pytest.mark.parametrize("at_work", [True, False])
def test_a_change_behind_a_row_that_is_at_work_or_failed_needs_no_new_session(desk: Desk, at_work: bool) -> None:
    first, replaced = desk.jobs(desk.submit(*REEL[:2]).batch_id)
    at = desk.begin(first, Stage.EDIT)
    if not at_work:
        desk.end(at, Status.FAILED, error_code="no_effect")
    done = desk.submit(REEL[0], OTHER)
    assert fates(done) == ([RowAction.GOES_ON, RowAction.NEW] if at_work else [RowAction.FAILED, RowAction.FAILED])
    # Or both would work in the session at once, or come back with the retry.
    assert desk.job(replaced.id).status is Status.CANCELLED
    desk.end(at, Status.SUCCEEDED) if at_work else desk.act(retries.retry, first)
    assert desk.statuses(done.batch_id) == ["succeeded" if at_work else "queued", "queued"]
    assert desk.job(replaced.id).status is Status.CANCELLED


def test_rows_of_a_session_begin_anew_even_while_one_of_them_is_at_work(desk: Desk) -> None:
    old = desk.submit(*REEL).batch_id
    desk.succeed(desk.jobs(old)[0])
    at = desk.begin(desk.jobs(old)[1], Stage.EDIT)
    desk.sent(desk.jobs(old)[1], Outcome.OPEN)
    assert fates(desk.submit(REEL[0], OTHER)) == [RowAction.AGAIN, RowAction.NEW]
    desk.end(at, Status.SUCCEEDED)  # what the manifest has no more ends in the session where it began


@pytest.mark.parametrize(("is_done", "fate"), [(True, RowAction.TAKEN), (False, RowAction.JOINED)])
def test_a_session_is_taken_or_joined_whole_or_done_anew(desk: Desk, is_done: bool, fate: RowAction) -> None:
    first, second = desk.jobs(desk.submit(*REEL[:2]).batch_id)
    if is_done:
        desk.succeed(first)
        desk.succeed(desk.job(second.id))
    else:
        desk.begin(first, Stage.EDIT)
    assert fates(desk.submit(*REEL[:2], name="whole")) == [fate, fate]
    assert fates(desk.plan(*REEL, name="longer")) == [RowAction.NEW] * 3
    longer = desk.submit(*REEL, name="whole")  # the session that it took from is another manifest's
    assert fates(longer) == [RowAction.AGAIN, RowAction.AGAIN, RowAction.NEW]


def test_a_session_that_is_longer_than_one_under_way_elsewhere_does_its_own_work(desk: Desk) -> None:
    desk.begin(desk.jobs(desk.submit(*REEL[:2]).batch_id)[0], Stage.EDIT)
    longer = desk.submit(*REEL, name="longer")
    assert fates(longer) == [RowAction.NEW] * 3
    first, second, third = desk.jobs(longer.batch_id)
    assert (first.same_as, second.same_as, third.same_as) == (first.id, second.id, None)


def test_a_row_behind_one_that_has_ended_badly_is_told_so_and_comes_with_its_retry(desk: Desk) -> None:
    first, second, third = desk.jobs(desk.submit(*REEL).batch_id)
    desk.fail(first)
    assert desk.act(retries.retry, second)
    assert claim(desk.store, second.id, Stage.UPLOAD, run=2) is NotClaimed.HELD
    told = desk.job(second.id)
    assert (told.status, told.error_code) == (Status.CANCELLED, "predecessor")
    assert "`reelq retry` on that row" in told.error
    assert desk.act(retries.retry, first)
    assert [desk.job(job.id).status for job in (first, second, third)] == [Status.QUEUED] * 3
    assert claim(desk.store, second.id, Stage.UPLOAD, run=3) is NotClaimed.HELD
    assert desk.job(second.id).cause is Cause.SESSION


@pytest.mark.parametrize("by_manifest", [False, True])
def test_a_row_whose_session_is_lost_begins_again_with_those_that_it_builds_on(desk: Desk, by_manifest: bool) -> None:
    first, second, third = desk.jobs(desk.submit(*REEL).batch_id)
    desk.succeed(first)
    desk.fail(desk.job(second.id), Stage.EDIT, "session_lost")
    plan = desk.plan(*REEL, retry_failed=True)
    assert (desk.plan(*REEL).sends, plan.sends, plan.count(RowAction.AGAIN)) == (0, 3, 3)
    if by_manifest:
        assert set(fates(desk.submit(*REEL, retry_failed=True))) == {RowAction.AGAIN}
    else:
        assert desk.act(retries.retry, second)
        assert "the session that it builds on is lost" in desk.words(first)[-1]
    for job in (first, second, third):
        again = desk.job(job.id)
        assert (again.status, again.stage, again.remote_session_id) == (Status.QUEUED, Stage.UPLOAD, "")
    assert claim(desk.store, second.id, Stage.UPLOAD, run=2) is NotClaimed.HELD
    assert desk.job(second.id).cause is Cause.SESSION


def test_a_row_that_comes_late_works_in_the_session_of_the_row_before_it_all_the_same(desk: Desk) -> None:
    batch = desk.submit(*REEL[:2]).batch_id
    first, second = desk.jobs(batch)
    desk.succeed(first)
    desk.fail(desk.job(second.id), Stage.EDIT, "session_lost")
    assert desk.act(retries.retry, second)
    desk.end(desk.begin(desk.job(first.id), Stage.DOWNLOAD), Status.SUCCEEDED)  # before the second one is taken
    claimed = claim(desk.store, second.id, Stage.UPLOAD, run=2)
    assert isinstance(claimed, Claimed)
    assert claimed.job.remote_session_id == desk.job(first.id).remote_session_id != ""


def test_a_refinement_whose_session_is_lost_has_nothing_to_begin_again_with(desk: Desk) -> None:
    (first,) = _done(desk, REEL[0])
    (refined,) = desk.jobs(commands.refine_row(desk.store, first.id, "Make it brighter")[0])
    desk.fail(refined, Stage.EDIT, "session_lost")
    with pytest.raises(CannotRefine, match="is lost"):
        commands.retry_row(desk.store, refined.id)
    assert commands.retry_batch(desk.store, refined.batch_id).done == 0
    assert (desk.job(first.id).status, desk.job(refined.id).status) == (Status.SUCCEEDED, Status.FAILED)


def test_a_session_that_is_built_up_once_more_leaves_refinements_out(desk: Desk) -> None:
    (first,) = _done(desk, REEL[0])
    (refined,) = desk.jobs(commands.refine_row(desk.store, first.id, "Make it brighter")[0])
    desk.succeed(refined)
    batch = desk.submit(*REEL[:2]).batch_id
    second = desk.jobs(batch)[1]
    assert second.after_id == refined.id
    desk.fail(second, Stage.EDIT, "session_lost")
    desk.submit(*REEL[:2], retry_failed=True)
    assert [(job.after_id, job.stage) for job in desk.jobs(batch)] == [(None, Stage.UPLOAD), (first.id, Stage.UPLOAD)]
    assert desk.job(refined.id).status is Status.SUCCEEDED


def test_a_file_that_was_refused_goes_into_the_session_that_its_row_shares(desk: Desk) -> None:
    first, second = desk.jobs(desk.submit(REEL[0], "forest.mp4,Add music,reel").batch_id)
    desk.succeed(first)
    shared = desk.job(second.id).remote_session_id
    assert shared
    change(desk.store, Job, second.id, upload_baseline="as it was")
    desk.fail(desk.job(second.id), Stage.UPLOAD, "file_unreadable")
    assert desk.act(retries.retry, second)
    again = desk.job(second.id)
    # With what the draft was like before, one that has changed since would say that the file is there.
    assert (again.remote_session_id, again.upload_baseline) == (shared, "")
