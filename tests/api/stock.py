"""Batches to look at and to act upon: rows of every status, with what went out for them and what happened."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from reelq.job import Cause, Stage, Status
from reelq.store.db.engine import Store
from reelq.store.db.models import Outcome
from reelq.store.db.types import new_id
from reelq.store.jobs.transitions import Position, write_progress
from tests.databases import add_account, add_batch, add_job, add_send, moment


@dataclass
class Stock:
    """What an owner has: a batch with rows of every status, and one in which all has ended."""

    batch: str
    jobs: dict[str, str]
    """By their status; the one that waits waits for credits."""
    ended_batch: str
    ended_job: str

    @property
    def ids(self) -> list[str]:
        """Everything that has an id."""
        return [self.batch, self.ended_batch, self.ended_job, *self.jobs.values()]


_EXTRAS: dict[Status, dict[str, Any]] = {
    Status.WAITING: {"cause": Cause.CREDITS, "stage": Stage.EDIT},
    Status.SUCCEEDED: {"stage": Stage.DOWNLOAD, "result_size": 9, "result_sha256": "a" * 64, "reply": "Done."},
    Status.FAILED: {
        "stage": Stage.VERIFY,
        "error_code": "no_effect",
        "error": "Nothing changed",
        "advice": "Ask again",
    },
}


def fill(store: Store, owner: str) -> Stock:
    """Put both batches into the database."""
    with moment(store) as (session, now):
        account = add_account(session, now, credential=f"of {owner}")

        def put(batch: str, row: int, status: Status) -> str:
            job = add_job(
                session, now, batch_id=batch, account_id=account, row=row, status=status, owner=owner,
                name=f"row {row}", started_at=now, output=f"{row}-beach.mp4",
                lease_until=now + timedelta(minutes=1) if status is Status.RUNNING else None, **_EXTRAS.get(status, {}),
            )  # fmt: skip
            if status in {Status.SUCCEEDED, Status.FAILED}:
                add_send(session, now, job, account, outcome=Outcome.APPLIED, cost=7, bears_costs=False)
            at = Position(job, batch, 1, _EXTRAS.get(status, {}).get("stage", Stage.UPLOAD), status)
            write_progress(session, at, now, "progress", f"{owner}'s row {row} was touched")
            return job

        batch, ended = (add_batch(session, now, id=new_id("bat"), owner=owner, name=f"{owner}.csv") for _ in range(2))
        jobs = {str(status): put(batch, row, status) for row, status in enumerate(Status, 1)}
        return Stock(batch, jobs, ended, put(ended, 1, Status.FAILED))
