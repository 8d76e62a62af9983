"""What a row loses, and what it keeps, when it goes back to a stage: on a retry, on its own, or by its twin's end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from reelq.errors import ReelqError, ResultMissing, SessionGone
from reelq.job import Route, Stage, Status
from reelq.store.db.engine import Store
from reelq.store.db.models import Job
from reelq.store.jobs import dependents, retries
from reelq.store.jobs.transitions import Position
from tests.databases import add_job, change, found, moment, on_sqlite
from tests.integration.desks import NOW, claim_one, record

pytestmark = on_sqlite

FULL: Final[dict[str, Any]] = {
    "remote_session_id": "ses", "remote_task_id": "task", "remote_user_id": "user", "upload_baseline": "print",
    "remote_render_id": "render", "renders": 2, "looks": 3, "result_url": "https://cdn.example/1.mp4",
    "attempts": 4, "lapses": 5, "to_send": "And music", "follow_ups": 1, "resend": True,
    "timeline": "one clip", "changes": ["a title"], "reply": "Done.",
    "error": "It failed", "advice": "Retry", "raw": "{}", "result_path": "1.mp4", "result_size": 9,
    "result_sha256": "a hash",
}  # fmt: skip
"""Something in every column that a stage leaves behind."""
COUNTS: Final = {"attempts", "looks", "lapses"}
ERROR: Final = {"error", "advice", "raw"}
EXPORT: Final = {"remote_render_id", "renders", "result_url"}
SESSION: Final = {"remote_session_id", "remote_task_id", "upload_baseline"}
EDIT: Final = {"to_send", "follow_ups", "resend", "timeline", "changes", "reply"}


def lost(store: Store, job_id: str) -> set[str]:
    """The columns that have nothing in them any more."""
    job = found(store, Job, job_id)
    return {name for name in FULL if not getattr(job, name)}


def a_job(store: Store, **values: Any) -> str:
    with moment(store) as (session, now):
        return add_job(session, now, **FULL | values)


@pytest.mark.parametrize(
    ("stage", "code", "back_to", "loses"),
    [
        pytest.param(Stage.VERIFY, "no_effect", Stage.EDIT, set(), id="an edit without effect"),
        pytest.param(Stage.DOWNLOAD, "session_lost", Stage.UPLOAD, SESSION | EXPORT, id="no session"),
        pytest.param(Stage.UPLOAD, "file_too_large", Stage.UPLOAD, SESSION | EXPORT, id="a bad file"),
        pytest.param(Stage.POLL, "render_failed", Stage.RENDER, EXPORT, id="a failed export"),
        pytest.param(Stage.DOWNLOAD, "result_missing", Stage.RENDER, EXPORT, id="a result that is gone"),
        pytest.param(Stage.POLL, "connection_lost", Stage.POLL, {"result_url"}, id="a fault while polling"),
        pytest.param(Stage.DOWNLOAD, "cannot_write", Stage.DOWNLOAD, set(), id="a full disk"),
        pytest.param(Stage.VERIFY, "connection_lost", Stage.VERIFY, set(), id="a fault while verifying"),
    ],
)
def test_a_retry_keeps_all_that_its_stage_can_build_on(
    store: Store, stage: Stage, code: str, back_to: Stage, loses: set[str]
) -> None:
    job_id = a_job(store, stage=stage, status=Status.FAILED, error_code=code)
    with moment(store) as (session, now):
        assert retries.retry(session, session.get_one(Job, job_id), now)
    assert found(store, Job, job_id).stage is back_to
    assert lost(store, job_id) == COUNTS | ERROR | loses


def test_a_refused_file_leaves_a_shared_session_as_it_is(store: Store) -> None:
    before = a_job(store, status=Status.SUCCEEDED, stage=Stage.DOWNLOAD)
    job_id = a_job(store, stage=Stage.UPLOAD, status=Status.FAILED, error_code="file_too_large", after_id=before)
    with moment(store) as (session, now):
        assert retries.retry(session, session.get_one(Job, job_id), now)
    assert lost(store, job_id) == COUNTS | ERROR | {"upload_baseline"}


@pytest.mark.parametrize(
    ("again", "status", "loses"),
    [
        pytest.param(retries.download_again, Status.SUCCEEDED, {"renders"}, id="only the download"),
        pytest.param(retries.restart, Status.FAILED, SESSION | EXPORT | EDIT, id="everything, in a new session"),
    ],
)
def test_a_row_that_is_started_again_loses_what_it_would_not_get_anew(
    store: Store, again: Callable[..., None], status: Status, loses: set[str]
) -> None:
    job_id = a_job(store, stage=Stage.DOWNLOAD, status=status, error_code="cannot_write")
    with moment(store) as (session, now):
        again(session, session.get_one(Job, job_id), now, "again")
    assert lost(store, job_id) == COUNTS | ERROR | loses


@pytest.mark.parametrize(
    ("error", "stage", "kept", "back_to", "loses"),
    [
        pytest.param(SessionGone(), Stage.RENDER, {}, Stage.UPLOAD, SESSION | EXPORT | {"looks"}, id="no session"),
        pytest.param(
            ResultMissing(), Stage.DOWNLOAD, {"renders": 0}, Stage.RENDER, EXPORT | {"looks"}, id="an old export"
        ),
        pytest.param(
            ResultMissing(), Stage.DOWNLOAD, {"renders": 2}, Stage.DOWNLOAD, set(), id="a result that may yet come"
        ),
    ],
)
def test_a_row_that_goes_back_by_itself_loses_the_same(
    store: Store, tmp_path: Path, error: ReelqError, stage: Stage, kept: dict[str, Any], back_to: Stage, loses: set[str]
) -> None:
    claimed = claim_one(store, stage, **FULL | kept)
    record(store, claimed, error, tmp_path)
    job = found(store, Job, claimed.job.id)
    assert (job.stage, job.attempts) == (back_to, 5)
    assert lost(store, job.id) == loses


def test_a_twin_takes_a_result_and_counts_its_own_exports(store: Store) -> None:
    job_id = a_job(store, stage=Stage.DOWNLOAD, status=Status.RUNNING, lease_until=NOW, route=Route.EDIT)
    empty = {name: type(value)() for name, value in FULL.items()} | {"result_size": None}
    twin = a_job(store, status=Status.WAITING, cause="twin", same_as=job_id, **empty)
    change(store, Job, twin, renders=2)
    with moment(store) as (session, now):
        dependents.end(session, Position.of(session.get_one(Job, job_id)), Status.SUCCEEDED, now, "done")
    job = found(store, Job, twin)
    assert (job.stage, job.status) == (Stage.DOWNLOAD, Status.QUEUED)
    taken = {name for name in FULL if getattr(job, name)}
    assert taken == {"remote_session_id", "remote_task_id", "remote_user_id", "remote_render_id", "result_url",
                     "timeline", "changes", "reply"}  # fmt: skip
