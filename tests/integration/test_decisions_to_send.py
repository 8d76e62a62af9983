"""A decision to send is written by the worker that holds the job, and one is open at a time."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from reelq.errors import NotSent
from reelq.job import Stage
from reelq.settings import Settings
from reelq.store import jobs
from reelq.store.jobs import Claimed, Lease
from reelq.store.models import Job, Outcome, Send
from reelq.store.session import Store
from tests.databases import add_job
from worker.desk import LetGo
from worker.verdict import PARKED
from worker.workbench import Workbench

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def bench(store: Store) -> Workbench:
    """The desk of a worker that has just claimed an edit."""
    with store.write() as session:
        job_id = add_job(session, NOW, stage=Stage.EDIT)
    with store.write() as session:
        claimed = jobs.claim(session, NOW, job_id, 1, Stage.EDIT, Lease("worker-1", 30), PARKED)
    assert isinstance(claimed, Claimed)
    nobody: Any = None
    return Workbench(store, Settings(), nobody, claimed.at, claimed.account.id, lambda: None)


def _outcomes(store: Store) -> list[Outcome]:
    with store.read() as session:
        return list(session.scalars(select(Send.outcome).order_by(Send.number)))


def test_a_decision_is_open_until_it_is_withdrawn_and_then_another_may_follow(store: Store, bench: Workbench) -> None:
    decided = bench.intend(None)
    assert bench.sending() is not None
    with pytest.raises(IntegrityError):
        bench.intend(None)
    bench.withdraw(decided, NotSent())
    assert bench.sending() is None
    bench.intend(None)
    assert _outcomes(store) == [Outcome.NOT_SENT, Outcome.OPEN]


def test_a_worker_whose_job_goes_on_elsewhere_decides_nothing(store: Store, bench: Workbench) -> None:
    with store.write() as session:
        session.execute(update(Job).values(run=2))
    with pytest.raises(LetGo):
        bench.intend(None)
    assert _outcomes(store) == []
