"""What endpoints are to be told: written with the event itself, in one transaction, or not at all.

An event that nobody asked for costs one look at an index.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, cast, func, select

from reelq.job import Cause, Status
from reelq.store.clients import DeliveryState, Webhook, WebhookDelivery
from reelq.store.ids import new_id
from reelq.store.models import Batch, Job, Send
from reelq.store.overview import FOR_THE_USER, costs_of
from reelq.store.session import Transaction
from reelq.store.statements import add


class Event(StrEnum):
    """What an endpoint can ask to be told of."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_WAITING = "job.waiting"
    BATCH_FINISHED = "batch.finished"


_OF_STATUS: Final = MappingProxyType(
    {
        Status.SUCCEEDED: Event.JOB_SUCCEEDED,
        Status.FAILED: Event.JOB_FAILED,
        Status.WAITING: Event.JOB_WAITING,
    }
)
# Held as they are until this is committed: a delivery for an endpoint that is deleted meanwhile would be an error, and
# the job's end would be lost with it.
_OPEN: Final = select(Webhook.id, Webhook.events).where(Webhook.disabled_at.is_(None))
_OF_JOB: Final = (
    _OPEN.join(Job, Job.owner == Webhook.owner)
    .where(Job.id == bindparam("id"))
    .with_for_update(read=True, key_share=True, of=Webhook)
)
_OF_BATCH: Final = (
    _OPEN.join(Batch, Batch.owner == Webhook.owner)
    .where(Batch.id == bindparam("id"))
    .with_for_update(read=True, key_share=True, of=Webhook)
)
# PostgreSQL adds whole numbers up to decimals.
_COST: Final = cast(func.coalesce(func.sum(Send.cost), 0), BigInteger).label("credits")
_JOB: Final = select(
    Job.id, Job.batch_id, Job.row, Job.name, Job.status, Job.stage, Job.cause, Job.error_code, Job.error, Job.advice,
    Job.result_size, Job.result_sha256, select(_COST).where(Send.job_id == Job.id).scalar_subquery().label("credits"),
).where(Job.id == bindparam("id"))  # fmt: skip
_COUNTS: Final = select(Job.status, func.count()).where(Job.batch_id == bindparam("id")).group_by(Job.status)


def event_of(status: Status, cause: Cause | None) -> Event | None:
    """What it is to an endpoint that a job comes to this status; a wait that ends by itself is nothing to it."""
    if status is Status.WAITING and cause not in FOR_THE_USER:
        return None
    return _OF_STATUS.get(status)


def tell_of_job(session: Transaction, job_id: str, event: Event, now: datetime) -> None:
    """Write down for each endpoint that asked for it what the job has come to, as it stands now."""
    if ids := list(_asked(session, _OF_JOB, job_id, event)):
        job = session.connection().execute(_JOB, {"id": job_id}).one()
        _write(session, ids, event, now, job.batch_id, job.id, _told_of(job))


def tell_of_batch(session: Transaction, batch_id: str, now: datetime) -> None:
    """Write down for each endpoint that asked for it what the batch has come to."""
    if not (ids := list(_asked(session, _OF_BATCH, batch_id, Event.BATCH_FINISHED))):
        return
    found = {Status(status): count for status, count in session.execute(_COUNTS, {"id": batch_id})}
    name = session.execute(select(Batch.name).where(Batch.id == batch_id)).scalar_one()
    data = {
        "id": batch_id,
        "name": name,
        "counts": {str(status): found.get(status, 0) for status in Status},
        "credits": costs_of(session, batch_id).credits,
    }
    _write(session, ids, Event.BATCH_FINISHED, now, batch_id, None, data)


def _asked(session: Transaction, query: Any, of: str, event: Event) -> Iterator[str]:
    for webhook_id, events in session.connection().execute(query, {"id": of}):
        if event in events:
            yield webhook_id


def _told_of(job: Any) -> dict[str, Any]:
    result = {"size": job.result_size, "sha256": job.result_sha256, "href": f"/v1/jobs/{job.id}/output"}
    return {
        "id": job.id,
        "batch": job.batch_id,
        "row": job.row,
        "name": job.name,
        "status": job.status,
        "stage": job.stage,
        "cause": job.cause,
        "error_code": job.error_code,
        "error": job.error,
        "advice": job.advice,
        "credits": job.credits,
        "result": result if job.status is Status.SUCCEEDED and job.result_sha256 else None,
    }


def _write(
    session: Transaction,
    webhooks: list[str],
    event: Event,
    now: datetime,
    batch_id: str,
    job_id: str | None,
    data: Mapping[str, Any],
) -> None:
    told = {"type": event, "timestamp": now.astimezone(UTC).isoformat().replace("+00:00", "Z"), "data": data}
    body = json.dumps(told, separators=(",", ":"))
    for webhook_id in webhooks:
        values = {
            "id": new_id("msg"),
            "webhook_id": webhook_id,
            "event": str(event),
            "batch_id": batch_id,
            "job_id": job_id,
            "body": body,
            "state": DeliveryState.PENDING,
            "attempts": 0,
            "due_at": now,
            "error": "",
            "created_at": now,
        }
        add(session, WebhookDelivery, values)
