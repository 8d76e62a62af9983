"""What is written down in one statement, and committed with it: there must be no second one that could be missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import event, select

from reelq.errors import RateLimited
from reelq.job import Route, Stage, Status
from reelq.remote.receipts import Session
from reelq.settings import Settings
from reelq.store.jobs import Claimed
from reelq.store.models import Account, Job, JobEvent
from reelq.store.moves import StaleMove
from reelq.store.secrets import Vault
from reelq.store.session import Store
from tests.databases import change, found
from tests.integration.claims import claim_one
from worker.desk import LetGo, NotYet
from worker.recorder import Recorder
from worker.stages.render import Rendered
from worker.stages.upload import Uploaded
from worker.workbench import Workbench

RECEIPTS: Final[dict[str, tuple[Stage, object]]] = {
    "an upload": (Stage.UPLOAD, Uploaded(Session("ses_1", "task_1", "anon_1"), 1)),
    "an export": (Stage.RENDER, Rendered("render_1")),
    "a look": (Stage.VERIFY, NotYet(2, "the edit does not show yet")),
}
Deeds = dict[str, Callable[[Workbench], object]]
DEEDS: Final[Deeds] = {
    "words": lambda bench: bench.say("uploading, 1.0 of 2.0 MB"),
    "an export's id": lambda bench: bench.reserve_render(),
    "a draft's fingerprint": lambda bench: bench.remember_upload("f" * 64),
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


@contextmanager
def _counted(store: Store) -> Iterator[list[str]]:
    """The statements that are made, but for SQLite's beginnings and a question of what time it is."""
    made: list[str] = []
    with _before_each_statement(store, made.append):
        yield made
    made[:] = [each for each in made if "clock_timestamp" not in each and not each.startswith("BEGIN")]


def _recorder(store: Store, folder: Path) -> Recorder:
    return Recorder(store, Vault("a key for tests, long enough"), Settings(reelq_data_dir=folder), folder)


def _bench(store: Store, claimed: Claimed, folder: Path) -> Workbench:
    settings: Any = Settings(reelq_data_dir=folder)
    return Workbench(store, settings, None, claimed.at, claimed.account.id, lambda: None)  # type: ignore[arg-type]


def _told(store: Store, claimed: Claimed) -> int:
    with store.read() as session:
        return len(session.scalars(select(JobEvent.id).where(JobEvent.job_id == claimed.at.job_id)).all())


@pytest.mark.parametrize(("stage", "receipt"), RECEIPTS.values(), ids=RECEIPTS)
def test_a_receipt_that_only_moves_its_row_on_is_one_statement(
    store: Store, stage: Stage, receipt: object, tmp_path: Path
) -> None:
    claimed = claim_one(store, stage)
    with _counted(store) as made:
        _recorder(store, tmp_path).record(claimed, receipt)
    assert len(made) == (2 if store.is_sqlite else 1), made  # SQLite writes the event by itself, in one transaction
    assert found(store, Job, claimed.at.job_id).status is Status.QUEUED


@pytest.mark.parametrize(("stage", "receipt"), RECEIPTS.values(), ids=RECEIPTS)
def test_it_changes_nothing_of_a_row_that_goes_on_elsewhere(
    store: Store, stage: Stage, receipt: object, tmp_path: Path
) -> None:
    claimed = claim_one(store, stage)
    change(store, Job, claimed.at.job_id, run=2)  # it goes on elsewhere
    before = _told(store, claimed)
    with pytest.raises(StaleMove):
        _recorder(store, tmp_path).record(claimed, receipt)
    assert _told(store, claimed) == before
    job = found(store, Job, claimed.at.job_id)
    assert (job.status, job.stage, job.remote_session_id) == (Status.RUNNING, stage, "")


def test_the_end_of_a_row_is_more_than_one_statement_and_all_of_it_or_nothing(store: Store, tmp_path: Path) -> None:
    claimed = claim_one(store, Stage.UPLOAD, route=Route.UPLOAD)
    with _plug_pulled(store, "SELECT webhooks"), pytest.raises(RuntimeError, match="pulled"):
        _recorder(store, tmp_path).record(claimed, RECEIPTS["an upload"][1])
    assert found(store, Job, claimed.at.job_id).status is Status.RUNNING


def test_what_an_error_does_to_row_and_account_is_done_together_or_not_at_all(store: Store, tmp_path: Path) -> None:
    claimed = claim_one(store, Stage.RENDER)
    with _plug_pulled(store, "UPDATE jobs", "WITH moved"), pytest.raises(RuntimeError, match="pulled"):
        _recorder(store, tmp_path).record(claimed, RateLimited("slower, please"))
    assert found(store, Account, claimed.account.id).blocked_until is None


@contextmanager
def _plug_pulled(store: Store, *statements: str) -> Iterator[None]:
    """Instead of making one of these statements, the process ends."""

    def pull(statement: str) -> None:
        if statement.startswith(statements):
            raise RuntimeError("the plug was pulled")

    with _before_each_statement(store, pull):
        yield


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_what_a_stage_writes_down_on_its_way_is_one_statement(
    store: Store, deed: Callable[[Workbench], object], tmp_path: Path
) -> None:
    bench = _bench(store, claim_one(store, Stage.RENDER), tmp_path)
    with _counted(store) as made:
        deed(bench)
    assert len(made) == 1


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_and_is_refused_where_the_row_goes_on_elsewhere(
    store: Store, deed: Callable[[Workbench], object], tmp_path: Path
) -> None:
    claimed = claim_one(store, Stage.RENDER)
    bench = _bench(store, claimed, tmp_path)
    change(store, Job, claimed.at.job_id, run=2)  # it goes on elsewhere
    before = _told(store, claimed)
    with pytest.raises(LetGo):
        deed(bench)
    assert _told(store, claimed) == before


@pytest.mark.parametrize(("anew", "looks"), [(False, 4), (True, 0)])
def test_a_second_export_is_given_as_many_looks_as_the_first(
    store: Store, anew: bool, looks: int, tmp_path: Path
) -> None:
    claimed = claim_one(store, Stage.POLL, looks=3)
    _recorder(store, tmp_path).record(claimed, NotYet(30, "the export came to no end; a second one began", anew=anew))
    assert found(store, Job, claimed.at.job_id).looks == looks
