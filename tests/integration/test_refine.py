"""More is told in a row's own session: each refinement a job with a result of its own, one after the other."""

from pathlib import Path

import pytest

from reelq.errors import CannotRefine
from reelq.job import Cause, Route, Stage, Status
from reelq.store import submissions
from reelq.store.models import Batch, Job
from reelq.store.orders import Fate
from tests.databases import found
from tests.integration.desks import REEL, TWO, Desk, fates


def _refine(desk: Desk, job: Job, instruction: str = "Make it brighter") -> Job:
    with desk.store.write() as session:
        made = submissions.refine(session, session.get_one(Job, job.id), instruction, desk.store.now(session))
    return desk.job(made)


def test_a_refinement_goes_on_in_the_session_of_its_row_with_a_result_of_its_own(desk: Desk) -> None:
    (job,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    desk.succeed(job)
    refined = _refine(desk, job)
    assert (refined.stage, refined.status, refined.route) == (Stage.EDIT, Status.QUEUED, Route.EDIT)
    assert refined.remote_session_id == desk.job(job.id).remote_session_id != ""
    assert (refined.file, refined.output) == ("", "1-beach-2.mp4")
    assert found(desk.store, Batch, refined.batch_id).name == "refine of row 1 of jobs"


def test_no_refinement_writes_over_another_or_over_a_file_that_is_there(desk: Desk) -> None:
    (job,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    Path(desk.succeed(job)).with_name("1-beach-2.mp4").write_bytes(b"mine")
    assert [_refine(desk, job).output for _ in range(2)] == ["1-beach-3.mp4", "1-beach-4.mp4"]


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


def test_the_answer_to_an_agent_that_asked_back_goes_out_at_once(desk: Desk) -> None:
    (job,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    desk.fail(job)
    answer = _refine(desk, job, "The blue one")
    assert (answer.stage, answer.status) == (Stage.EDIT, Status.QUEUED)


def test_an_export_of_what_a_session_shows_now_needs_no_edit(desk: Desk) -> None:
    (job,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    desk.succeed(job)
    assert _refine(desk, job, "export").stage is Stage.RENDER


def test_a_row_added_to_the_manifest_goes_on_behind_the_refinements(desk: Desk) -> None:
    (first,) = desk.jobs(desk.submit(REEL[0]).batch_id)
    desk.succeed(first)
    refined = _refine(desk, first)
    added = desk.submit(*REEL[:2])
    assert fates(added) == [Fate.DONE, Fate.NEW]
    assert (desk.jobs(added.batch_id)[1].cause, desk.jobs(added.batch_id)[1].after_id) == (Cause.SESSION, refined.id)


@pytest.mark.parametrize(("code", "words"), [("session_lost", "is gone"), ("file_too_large", "no session")])
def test_a_row_without_a_session_is_refused_with_words(desk: Desk, code: str, words: str) -> None:
    (job,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    with pytest.raises(CannotRefine, match="yet"):
        _refine(desk, job)
    desk.fail(job, Stage.EDIT if code == "session_lost" else Stage.UPLOAD, code)
    with pytest.raises(CannotRefine, match=words):
        _refine(desk, job)


def test_an_empty_instruction_is_refused(desk: Desk) -> None:
    (job,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    desk.succeed(job)
    with pytest.raises(CannotRefine, match="empty"):
        _refine(desk, job, "  ")
