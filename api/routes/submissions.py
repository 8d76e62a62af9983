"""Submissions: a batch, a single row, or a further instruction for a row."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Annotated, Final

from fastapi import Body, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.batch_intake import BatchOptions, ReceivedBatch, RowsIn, check, order_for, receive, submit
from api.deps import Caller, Here, Service
from api.errors import FaultShown, faults
from api.idempotency import CreatedResponse, Key, fingerprint, run_once
from api.routes import batches, jobs
from api.routes.jobs import JobId
from api.schemas import BatchShown, JobWhole
from reelq.manifest import checks
from reelq.storage import Storage
from reelq.store import commands
from reelq.store.billing.spending import estimate
from reelq.store.queries import lookup, rows
from reelq.store.queries.account import account_state
from reelq.store.submission import submitter

_MAX_NUMBER: Final = 1_000_000_000
Name = Annotated[
    str | None,
    Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="The name of the batch."),
]
Skill = Annotated[str, Query(max_length=200, description="The skill of rows that name none.")]
First = Annotated[int | None, Query(ge=1, le=_MAX_NUMBER, description="Run this many rows, then pause until `resume`.")]
Limit = Annotated[int | None, Query(ge=0, le=_MAX_NUMBER, description="Spend no more credits than this.")]
DryRun = Annotated[bool, Query(description="Only check and estimate: nothing is kept, nothing is run.")]

_FORM: Final = {
    "type": "object",
    "required": ["manifest"],
    "properties": {
        "manifest": {"type": "string", "format": "binary", "description": "CSV or JSON Lines"},
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": 1000},
        "assets": {"type": "string", "contentMediaType": "application/json", "description": "As in the JSON form"},
    },
}
BATCH_BODY: Final = {
    "required": True,
    "description": "A manifest, with the files that it names unless they are assets or URLs.",
    "content": {
        "text/csv": {"schema": {"type": "string"}},
        "application/jsonl": {"schema": {"type": "string"}},
        "application/x-ndjson": {"schema": {"type": "string"}},
        "application/json": {"schema": RowsIn.model_json_schema()},
        "multipart/form-data": {"schema": _FORM},
    },
}


class EstimateShown(BaseModel):
    """The estimated cost, from the highest cost of an instruction so far, or from a typical one if none is known."""

    rows: int
    sends: int
    generations: int
    credits: int
    seen: bool
    available: int | None
    """The balance at its last reading."""


class DryRunResult(BaseModel):
    """The result of a dry run: errors, warnings and the estimated cost."""

    faults: list[FaultShown]
    warnings: list[FaultShown]
    rows: int
    estimate: EstimateShown


class RowIn(BaseModel):
    """A row: the columns of a manifest, and any columns of your own."""

    model_config = ConfigDict(extra="allow")

    file: str | None = None
    instruction: str | None = None


class RefineIn(BaseModel):
    """A further instruction for a row."""

    model_config = ConfigDict(extra="forbid")

    instruction: str = Field(min_length=1, max_length=20_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")


async def add_batch(
    here: Here,
    caller: Caller,
    request: Request,
    name: Name = None,
    skill: Skill = checks.DEFAULT_SKILL,
    first: First = None,
    limit_credits: Limit = None,
    dry_run: DryRun = False,
    key: Key = None,
) -> Response:
    """Submit a batch. With `dry_run`, only check it: the status is 200 even if there are errors."""
    options = BatchOptions(name, skill, first, limit_credits)
    with ExitStack() as open_files:
        received = await receive(request, Storage.of(here.settings), open_files)
        if dry_run:
            return await run_in_threadpool(_dry_run, here, caller.owner, received, options)
        request_hash = fingerprint(request, received.content)
        make = partial(_create_batch, here, caller.owner, received, options)
        return await run_in_threadpool(run_once, here.store, caller.owner, key, request_hash, "bat", make)


def add_job(
    here: Here,
    caller: Caller,
    request: Request,
    row: Annotated[RowIn, Body()],
    name: Name = None,
    skill: Skill = checks.DEFAULT_SKILL,
    limit_credits: Limit = None,
    key: Key = None,
) -> Response:
    """Submit a single row, as a batch of its own."""
    text = json.dumps(row.model_dump(exclude_none=True))
    received = ReceivedBatch(text.encode(), "job", "manifest.jsonl")
    make = partial(_create_job, here, caller.owner, received, BatchOptions(name, skill, None, limit_credits))
    return run_once(here.store, caller.owner, key, fingerprint(request, text), "bat", make)


def refine_job(
    here: Here, caller: Caller, request: Request, job_id: JobId, more: RefineIn, key: Key = None
) -> Response:
    """Send a further instruction where this row left off. This creates a new row in a new batch."""
    jobs.own(here, caller, job_id)

    def make(made_id: str) -> Response:
        batch_id, _ = commands.refine_row(here.store, job_id, more.instruction, made_id)
        return _created_job(here, caller.owner, batch_id)

    return run_once(here.store, caller.owner, key, fingerprint(request, more.model_dump_json()), "job", make)


def _create_batch(here: Service, owner: str, received: ReceivedBatch, options: BatchOptions, batch_id: str) -> Response:
    _submit_once(here, owner, received, options, batch_id)
    batch = BatchShown.model_validate(batches.shown(here.store, owner, batch_id))
    return CreatedResponse(batch, f"/v1/batches/{batch_id}")


def _create_job(here: Service, owner: str, received: ReceivedBatch, options: BatchOptions, batch_id: str) -> Response:
    _submit_once(here, owner, received, options, batch_id)
    return _created_job(here, owner, batch_id)


def _submit_once(here: Service, owner: str, received: ReceivedBatch, options: BatchOptions, batch_id: str) -> None:
    with here.store.read() as session:
        exists = lookup.is_owned_by(session, owner, batch_id)
    if not exists:  # or an earlier request created it, but its response was lost
        submit(here, owner, received, options, batch_id)


def _created_job(here: Service, owner: str, batch_id: str) -> Response:
    with here.store.read() as session:
        (row,) = rows.rows_of(session, batch_id, 0, 1)
    job = JobWhole.model_validate(jobs.shown(here.store, owner, row.id))
    return CreatedResponse(job, f"/v1/jobs/{job.id}")


def _dry_run(here: Service, owner: str, received: ReceivedBatch, options: BatchOptions) -> Response:
    """Check a batch, and estimate the cost of its valid rows."""
    judged = check(here, owner, received, options)
    checked, account = judged.checked, account_state(here.store, here.settings)
    plan = submitter.plan(here.store, order_for(owner, received, options, judged), service=here.settings.nemo_api_url)
    cost = estimate(plan.sends, plan.generations, highest=account.highest if account else 0)
    available = account.reading.available if account and account.reading else None
    count = len(checked.rows)
    result = DryRunResult(
        faults=faults(checked.faults),
        warnings=faults(checked.warnings),
        rows=count,
        estimate=EstimateShown(**asdict(cost), rows=count, generations=plan.generations, available=available),
    )
    return JSONResponse(result.model_dump(mode="json"))
