"""What is written down in one statement, and committed with it: there must be no second one that could be missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError

from reelq.errors import NotSent, RateLimited
from reelq.job import Route, Stage, Status
from reelq.nemo.types import Session
from reelq.settings import Settings
from reelq.store.db.engine import Store
from reelq.store.db.models import Account, Job, JobEvent, Outcome, Send
from reelq.store.jobs.claims import Claimed
from reelq.store.jobs.transitions import StaleMove
from tests.databases import change, found
from tests.integration.desks import claim_one, columns, record
from worker.context import JobReleased, NotYet
from worker.db_context import DatabaseContext
from worker.stages.render import Rendered
from worker.stages.upload import Uploaded


@dataclass
class Worker:
    """One that has just claimed a job."""

    store: Store
    claimed: Claimed
    folder: Path

    @property
    def bench(self) -> DatabaseContext:
        nobody: Any = None
        settings = Settings(reelq_data_dir=self.folder)
        return DatabaseContext(self.store, settings, nobody, self.claimed, lambda: None)

    def record(self, receipt: object) -> None:
        record(self.store, self.claimed, receipt, self.folder)

    def rows(self) -> tuple[Any, ...]:
        """All that could be written of the job."""
        job_id = self.claimed.at.job_id
        with self.store.read() as session:
            job = columns(session.get_one(Job, job_id))
            told = session.scalars(select(JobEvent.id).where(JobEvent.job_id == job_id)).all()
            return job, told, session.scalars(select(Send.outcome).order_by(Send.number)).all()


UPLOADED: Final = Uploaded(Session("ses_1", "task_1", "anon_1"), 1)
Deed = Callable[[Worker], object]
RECEIPTS: Final[dict[str, tuple[Stage, Deed]]] = {
    "an upload": (Stage.UPLOAD, lambda worker: worker.record(UPLOADED)),
    "an export": (Stage.RENDER, lambda worker: worker.record(Rendered("render_1"))),
    "a look": (Stage.VERIFY, lambda worker: worker.record(NotYet(2, "the edit does not show yet"))),
}
NOTES: Final[dict[str, tuple[Stage, Deed]]] = {
    "words": (Stage.RENDER, lambda worker: worker.bench.say("uploading, 1.0 of 2.0 MB")),
    "an export's id": (Stage.RENDER, lambda worker: worker.bench.reserve_render()),
    "a draft's fingerprint": (Stage.RENDER, lambda worker: worker.bench.remember_upload("f" * 64)),
}
DECISION: Final[dict[str, tuple[Stage, Deed]]] = {
    "a decision to send": (Stage.EDIT, lambda worker: worker.bench.intend(None))
}


@contextmanager
def _before_each_statement(store: Store, act: Callable[[str], None]) -> Iterator[None]:
    def called(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        act(statement)

    event.listen(store.engine, "before_cursor_execute", called)
    try:
        yield
    finally:
        event.remove(store.engine, "before_cursor_execute", called)


@pytest.mark.parametrize(("stage", "deed"), (RECEIPTS | NOTES).values(), ids=RECEIPTS | NOTES)
def test_a_receipt_and_a_note_are_one_statement(store: Store, stage: Stage, deed: Deed, tmp_path: Path) -> None:
    worker = Worker(store, claim_one(store, stage), tmp_path)
    made: list[str] = []
    with _before_each_statement(store, made.append):
        deed(worker)
    # But for SQLite's beginnings and a question of what time it is.
    made = [each for each in made if "clock_timestamp" not in each and not each.startswith("BEGIN")]
    is_receipt = (stage, deed) in RECEIPTS.values()
    assert len(made) == (2 if store.is_sqlite and is_receipt else 1), made  # it writes the event by itself
    assert (found(store, Job, worker.claimed.at.job_id).status is Status.QUEUED) == is_receipt


@pytest.mark.parametrize(("stage", "deed"), (RECEIPTS | NOTES | DECISION).values(), ids=RECEIPTS | NOTES | DECISION)
def test_it_is_refused_where_the_row_is_elsewhere(store: Store, stage: Stage, deed: Deed, tmp_path: Path) -> None:
    worker = Worker(store, claim_one(store, stage), tmp_path)
    change(store, Job, worker.claimed.at.job_id, run=2)
    before = worker.rows()
    with pytest.raises(StaleMove if (stage, deed) in RECEIPTS.values() else JobReleased):
        deed(worker)
    assert worker.rows() == before


def test_the_end_of_a_row_is_more_than_one_statement_and_all_of_it_or_nothing(store: Store, tmp_path: Path) -> None:
    worker = Worker(store, claim_one(store, Stage.UPLOAD, route=Route.UPLOAD), tmp_path)
    with _plug_pulled(store, "SELECT webhooks"), pytest.raises(RuntimeError, match="pulled"):
        worker.record(UPLOADED)
    assert found(store, Job, worker.claimed.at.job_id).status is Status.RUNNING


def test_what_an_error_does_to_row_and_account_is_done_together_or_not_at_all(store: Store, tmp_path: Path) -> None:
    worker = Worker(store, claim_one(store, Stage.RENDER), tmp_path)
    with _plug_pulled(store, "UPDATE jobs", "WITH moved"), pytest.raises(RuntimeError, match="pulled"):
        worker.record(RateLimited("slower, please"))
    assert found(store, Account, worker.claimed.account.id).blocked_until is None


@contextmanager
def _plug_pulled(store: Store, *statements: str) -> Iterator[None]:
    """Instead of making one of these statements, the process ends."""

    def pull(statement: str) -> None:
        if statement.startswith(statements):
            raise RuntimeError("the plug was pulled")

    with _before_each_statement(store, pull):
        yield


@pytest.mark.parametrize(("anew", "looks"), [(False, 4), (True, 0)])
def test_a_second_export_has_looks_of_its_own(store: Store, anew: bool, looks: int, tmp_path: Path) -> None:
    worker = Worker(store, claim_one(store, Stage.POLL, looks=3), tmp_path)
    worker.record(NotYet(30, "the export did not finish; started a second one", new_export=anew))
    assert found(store, Job, worker.claimed.at.job_id).looks == looks


def test_a_decision_is_open_until_it_is_withdrawn_and_then_another_may_follow(store: Store, tmp_path: Path) -> None:
    worker = Worker(store, claim_one(store, Stage.EDIT), tmp_path)
    bench = worker.bench
    text = bench.intend(None)
    decided = bench.open_send()
    assert decided is not None
    send, job = found(store, Send, decided.id), found(store, Job, worker.claimed.at.job_id)
    assert (send.job_id, send.batch_id, send.text, text) == (job.id, job.batch_id, job.instruction, job.instruction)
    with pytest.raises(IntegrityError):
        bench.intend(None)
    bench.withdraw(NotSent())
    assert bench.open_send() is None
    bench.intend(None)
    assert worker.rows()[2] == [Outcome.NOT_SENT, Outcome.OPEN]
