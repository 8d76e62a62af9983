"""The outbox of webhook events: each delivery is written in the same transaction as its event.

An event that no endpoint asks for costs one index lookup.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, cast, func, select, update
from sqlalchemy.orm import InstrumentedAttribute

from reelq.job import FINAL, USER_CAUSES, Cause, Status
from reelq.store.billing.ledger import costs_of
from reelq.store.db.client_models import DeliveryState, Webhook, WebhookDelivery
from reelq.store.db.engine import Transaction
from reelq.store.db.models import Batch, Job, JobEvent, Send
from reelq.store.db.statements import add, execute_dml
from reelq.store.db.types import new_id


class Event(StrEnum):
    """An event that an endpoint can subscribe to."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_WAITING = "job.waiting"
    BATCH_FINISHED = "batch.finished"


_EVENT_OF_STATUS: Final = MappingProxyType(
    {Status.SUCCEEDED: Event.JOB_SUCCEEDED, Status.FAILED: Event.JOB_FAILED, Status.WAITING: Event.JOB_WAITING}
)
# The endpoints are locked until the commit: if one were deleted meanwhile, inserting its delivery would fail, and the
# job's transition would be rolled back with it.
_OPEN_ENDPOINTS: Final = select(Webhook.id, Webhook.events).where(Webhook.disabled_at.is_(None))
_ENDPOINTS_OF_JOB: Final = (
    _OPEN_ENDPOINTS.join(Job, Job.owner == Webhook.owner)
    .where(Job.id == bindparam("id"))
    .with_for_update(read=True, key_share=True, of=Webhook)
)
_ENDPOINTS_OF_BATCH: Final = (
    _OPEN_ENDPOINTS.join(Batch, Batch.owner == Webhook.owner)
    .where(Batch.id == bindparam("id"))
    .with_for_update(read=True, key_share=True, of=Webhook)
)
# In PostgreSQL the sum of integers is a decimal.
_COST: Final = cast(func.coalesce(func.sum(Send.cost), 0), BigInteger).label("credits")
# The names of these columns are the keys of the JSON, except that `result` is made of the two that begin with it.
_JOB: Final = select(
    Job.id, Job.batch_id.label("batch"), Job.row, Job.name, Job.status, Job.stage, Job.cause, Job.error_code,
    Job.error, Job.advice, select(_COST).where(Send.job_id == Job.id).scalar_subquery().label("credits"),
    Job.result_size, Job.result_sha256,
).where(Job.id == bindparam("id"))  # fmt: skip
_COUNTS: Final = select(Job.status, func.count()).where(Job.batch_id == bindparam("id")).group_by(Job.status)


def event_of(status: Status, cause: Cause | None) -> Event | None:
    """The event for a job that enters this status; None if there is none, as for a wait that ends by itself."""
    if status is Status.WAITING and cause not in USER_CAUSES:
        return None
    return _EVENT_OF_STATUS.get(status)


def write_job_event(session: Transaction, job_id: str, event: Event, now: datetime) -> None:
    """Write a delivery with the current state of the job for each endpoint that asks for this event."""
    if webhooks := _subscribers(session, _ENDPOINTS_OF_JOB, job_id, event):
        data = session.connection().execute(_JOB, {"id": job_id}).one()._asdict()
        size, sha256 = data.pop("result_size"), data.pop("result_sha256")
        result = {"size": size, "sha256": sha256, "href": f"/v1/jobs/{job_id}/output"}
        data["result"] = result if data["status"] is Status.SUCCEEDED and sha256 else None
        _write_deliveries(session, webhooks, event, now, data["batch"], job_id, data)


def _write_batch_event(session: Transaction, batch_id: str, now: datetime) -> None:
    """Write a delivery with the result of the batch for each endpoint that asks for it."""
    webhooks = _subscribers(session, _ENDPOINTS_OF_BATCH, batch_id, Event.BATCH_FINISHED)
    if not webhooks:
        return
    counts = {Status(status): count for status, count in session.execute(_COUNTS, {"id": batch_id})}
    name = session.execute(select(Batch.name).where(Batch.id == batch_id)).scalar_one()
    by_status = {str(status): counts.get(status, 0) for status in Status}
    data = {"id": batch_id, "name": name, "counts": by_status, "credits": costs_of(session, batch_id).credits}
    _write_deliveries(session, webhooks, Event.BATCH_FINISHED, now, batch_id, None, data)


def _subscribers(session: Transaction, query: Select[str, list[str]], subject_id: str, event: Event) -> list[str]:
    rows = session.connection().execute(query, {"id": subject_id})
    return [webhook_id for webhook_id, events in rows if event in events]


def _write_deliveries(
    session: Transaction,
    webhooks: list[str],
    event: Event,
    now: datetime,
    batch_id: str,
    job_id: str | None,
    data: Mapping[str, Any],
) -> None:
    payload = {"type": event, "timestamp": now.astimezone(UTC).isoformat().replace("+00:00", "Z"), "data": data}
    body = json.dumps(payload, separators=(",", ":"))
    values: dict[str, Any] = {"event": str(event), "batch_id": batch_id, "job_id": job_id, "body": body}
    values |= {"state": DeliveryState.PENDING, "attempts": 0, "due_at": now, "error": "", "created_at": now}
    for webhook_id in webhooks:
        add(session, WebhookDelivery, {"id": new_id("msg"), "webhook_id": webhook_id, **values})


_OPEN_STATUSES: Final = tuple(status for status in Status if status not in FINAL)


def newest_event(session: Transaction) -> int:
    """The id of the newest event. Later events have higher ids, except those of transactions that are still open."""
    return session.execute(select(func.max(JobEvent.id))).scalar_one() or 0


def unmarked_finished(
    session: Transaction, most: int, since: int | None = None, batch_id: str | None = None
) -> list[str]:
    """Batches that are not marked as finished although all their rows have ended.

    With `since`, only batches with an event after that one. Without it, all of them, each with one index lookup.
    """
    query = select(Batch.id).where(Batch.finished_at.is_(None), *_all_rows_ended(Batch.id))
    if since is not None:
        query = query.where(Batch.id.in_(select(JobEvent.batch_id).where(JobEvent.id > since)))
    if batch_id is not None:
        query = query.where(Batch.id == batch_id)
    return list(session.scalars(query.order_by(Batch.id).limit(most)))


def mark_finished(session: Transaction, batch_id: str, now: datetime) -> bool:
    """Mark the batch as finished and notify its endpoints; False if it has not finished or is marked already."""
    unfinished = select(Batch.id).where(Batch.id == batch_id, Batch.finished_at.is_(None))
    if session.execute(unfinished.with_for_update(skip_locked=True, key_share=True)).first() is None:
        return False
    # A separate statement, after the lock: only now no other transaction can reopen the batch.
    statement = update(Batch).where(Batch.id == batch_id, *_all_rows_ended(Batch.id)).values(finished_at=now)
    if not execute_dml(session, statement):
        return False
    _write_batch_event(session, batch_id, now)
    return True


def lock_batch(session: Transaction, job_id: str) -> bool:
    """Keep others from finishing the job's batch until this transaction ends. Returns whether it had finished.

    Call this before a job leaves a final status. To lock both rows, lock the batch's first, then the job's.
    """
    its_batch = select(Job.batch_id).where(Job.id == bindparam("job_id")).scalar_subquery()
    query = select(Batch.finished_at).where(Batch.id == its_batch).with_for_update(key_share=True)
    return session.execute(query, {"job_id": job_id}).scalar_one_or_none() is not None


def reopen(session: Transaction, job_id: str) -> None:
    """Mark the job's batch as unfinished, because the job runs again. Endpoints are notified again when it finishes."""
    its_batch = select(Job.batch_id).where(Job.id == job_id).scalar_subquery()
    execute_dml(session, update(Batch).where(Batch.id == its_batch).values(finished_at=None))


def _all_rows_ended(batch_id: InstrumentedAttribute[str]) -> tuple[ColumnElement[bool], ...]:
    """Conditions for a batch that has rows, none of them open."""
    rows = select(Job.id).where(Job.batch_id == batch_id)
    return ~rows.where(Job.status.in_(_OPEN_STATUSES)).exists(), rows.exists()
