"""A decision to send is written by the worker that holds the job, and one is open at a time."""

from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from reelq.errors import NotSent
from reelq.job import Stage
from reelq.settings import Settings
from reelq.store.models import Job, Outcome, Send
from reelq.store.session import Store
from tests.databases import found
from tests.integration.claims import claim_one
from worker.desk import LetGo
from worker.workbench import Workbench


@pytest.fixture
def bench(store: Store) -> Workbench:
    """The desk of a worker that has just claimed an edit."""
    claim = claim_one(store, Stage.EDIT)
    nobody: Any = None
    return Workbench(store, Settings(), nobody, claim.at, claim.account.id, lambda: None)


def _outcomes(store: Store) -> list[Outcome]:
    with store.read() as session:
        return list(session.scalars(select(Send.outcome).order_by(Send.number)))


def test_a_decision_is_open_until_it_is_withdrawn_and_then_another_may_follow(store: Store, bench: Workbench) -> None:
    decided = bench.intend(None)
    send = found(store, Send, decided.id)
    job = found(store, Job, send.job_id)
    assert (send.batch_id, send.text) == (job.batch_id, job.instruction)
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
