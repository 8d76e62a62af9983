"""Play goes on when its stand-in service has ended: what was begun there begins anew, what succeeded is kept."""

import pytest

from reelq.job import Stage, Status
from reelq.store import submissions
from reelq.store.models import Outcome, Send
from tests.databases import add_account
from tests.integration.desks import REEL, TWO, Desk


@pytest.fixture
def new_account(desk: Desk) -> str:
    """The account with the service that is there now."""
    with desk.store.write() as session:
        return add_account(session, desk.store.now(session), service_url="http://127.0.0.1:2")


def _begin_anew(desk: Desk, account: str, batch_id: str) -> int:
    with desk.store.write() as session:
        return submissions.begin_anew(session, account, batch_id, desk.store.now(session))


def test_begun_rows_begin_anew_idle_ones_move_over_and_done_ones_are_kept(desk: Desk, new_account: str) -> None:
    batch_id = desk.submit(*TWO, "beach.mp4,Trim it,").batch_id
    done, begun, idle = desk.jobs(batch_id)
    desk.succeed(done)
    desk.begin(begun, Stage.EDIT)
    desk.sent(begun, Outcome.OPEN)
    assert _begin_anew(desk, new_account, batch_id) == 1
    done, begun, idle = desk.jobs(batch_id)
    assert (done.status, done.account_id) == (Status.SUCCEEDED, desk.account)
    assert (begun.status, begun.stage, begun.run) == (Status.QUEUED, Stage.UPLOAD, 2)
    assert (begun.remote_session_id, begun.account_id, idle.account_id) == ("", new_account, new_account)
    with desk.store.read() as session:
        (send,) = [send for send in session.query(Send) if send.job_id == begun.id]
    assert (send.outcome, send.bears_costs) == (Outcome.UNCONFIRMED, False)
    assert _begin_anew(desk, new_account, batch_id) == 0


def test_all_rows_of_a_session_begin_anew_together(desk: Desk, new_account: str) -> None:
    batch_id = desk.submit(*REEL).batch_id
    desk.succeed(desk.jobs(batch_id)[0])
    assert _begin_anew(desk, new_account, batch_id) == 2
    first, second, third = desk.jobs(batch_id)
    assert [job.remote_session_id for job in (first, second, third)] == ["", "", ""]
    assert (first.stage, first.status, third.status) == (Stage.UPLOAD, Status.QUEUED, Status.WAITING)
    assert {job.account_id for job in (first, second, third)} == {new_account}


def test_rows_that_the_batch_waits_for_begin_anew_with_it_and_others_stay(desk: Desk, new_account: str) -> None:
    awaited, other = desk.jobs(desk.submit(*TWO).batch_id)
    for job in (awaited, other):
        desk.begin(job, Stage.EDIT)
    mine = desk.submit(TWO[0], name="mine").batch_id
    assert _begin_anew(desk, new_account, mine) == 1
    assert (desk.job(awaited.id).account_id, desk.job(other.id).account_id) == (new_account, desk.account)


def test_a_row_that_takes_a_file_that_is_there_needs_no_service(desk: Desk, new_account: str) -> None:
    (original,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    result = desk.succeed(original)
    taken = desk.submit(TWO[0], name="mine").batch_id
    assert _begin_anew(desk, new_account, taken) == 0
    result.unlink()
    with desk.store.write() as session:
        account = add_account(session, desk.store.now(session), service_url="http://127.0.0.1:3")
    assert _begin_anew(desk, account, taken) == 1
