"""What is handed in: a batch, one row, or more words about a row."""

import json
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Body, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller
from api.handing_in import Received, RowsIn, Wish, hand_in, judge, order, receive
from api.idempotency import Key, Made, fingerprint, once
from api.problems import FaultShown, faults
from api.routes import batches, jobs
from api.routes.jobs import JobId
from api.service import Here, Service
from reelq import manifest
from reelq.storage import Storage
from reelq.store import batchlist, handling, rows, submissions
from reelq.store.estimates import estimate
from reelq.store.standing import standing

_MOST: Final = 1_000_000_000
Name = Annotated[
    str | None,
    Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="What the batch is called."),
]
Skill = Annotated[str, Query(max_length=200, description="The skill of rows that name none.")]
First = Annotated[int | None, Query(ge=1, le=_MOST, description="Run so many rows, then wait for `resume`.")]
Limit = Annotated[int | None, Query(ge=0, le=_MOST, description="Spend no more credits than this.")]
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
    "description": "A manifest, with the files that it names where those are no assets or addresses.",
    "content": {
        "text/csv": {"schema": {"type": "string"}},
        "application/jsonl": {"schema": {"type": "string"}},
        "application/x-ndjson": {"schema": {"type": "string"}},
        "application/json": {"schema": RowsIn.model_json_schema()},
        "multipart/form-data": {"schema": _FORM},
    },
}


class Estimated(BaseModel):
    """What it would cost, at the most that one instruction has cost yet, or else at what is usual."""

    rows: int
    sends: int
    generations: int
    credits: int
    seen: bool
    available: int | None
    """The balance when it was read last."""


class Foretold(BaseModel):
    """What a batch would be, and what is wrong with it."""

    faults: list[FaultShown]
    warnings: list[FaultShown]
    rows: int
    estimate: Estimated


class RowIn(BaseModel):
    """One row: a manifest's columns, and any of your own."""

    model_config = ConfigDict(extra="allow")

    file: str | None = None
    instruction: str | None = None


class RefineIn(BaseModel):
    """More words about a row."""

    model_config = ConfigDict(extra="forbid")

    instruction: str = Field(min_length=1, max_length=20_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")


async def add_batch(
    here: Here,
    caller: Caller,
    request: Request,
    name: Name = None,
    skill: Skill = manifest.DEFAULT_SKILL,
    first: First = None,
    limit_credits: Limit = None,
    dry_run: DryRun = False,
    key: Key = None,
) -> Response:
    """Hand in a batch. With `dry_run` it is only checked, which is answered with 200 whatever is found."""
    wish = Wish(name, skill, first, limit_credits)
    with ExitStack() as open_files:
        came = await receive(request, Storage.of(here.settings), open_files)
        if dry_run:
            return await run_in_threadpool(_foretell, here, caller.owner, came, wish)
        asked = fingerprint(request, came.content)
        make = partial(_make_batch, here, caller.owner, came, wish)
        return await run_in_threadpool(once, here.store, caller.owner, key, asked, "bat", make)


def add_job(
    here: Here,
    caller: Caller,
    request: Request,
    row: Annotated[RowIn, Body()],
    name: Name = None,
    skill: Skill = manifest.DEFAULT_SKILL,
    limit_credits: Limit = None,
    key: Key = None,
) -> Response:
    """Hand in one row: a batch of its own."""
    said = json.dumps(row.model_dump(exclude_none=True))
    came = Received(said.encode(), "job", "manifest.jsonl")
    make = partial(_make_job, here, caller.owner, came, Wish(name, skill, None, limit_credits))
    return once(here.store, caller.owner, key, fingerprint(request, said), "bat", make)


def refine_job(
    here: Here, caller: Caller, request: Request, job_id: JobId, more: RefineIn, key: Key = None
) -> Response:
    """Tell the agent more where this row left off. The answer is a row of its own, in a batch of its own."""
    jobs.own(here, caller, job_id)

    def make(made_id: str) -> Response:
        batch_id, _ = handling.refine_row(here.store, job_id, more.instruction, made_id)
        return _only_job(here, caller.owner, batch_id)

    return once(here.store, caller.owner, key, fingerprint(request, more.model_dump_json()), "job", make)


def _make_batch(here: Service, owner: str, came: Received, wish: Wish, batch_id: str) -> Response:
    _hand_in(here, owner, came, wish, batch_id)
    return Made(batches.shown(here.store, owner, batch_id), f"/v1/batches/{batch_id}")


def _make_job(here: Service, owner: str, came: Received, wish: Wish, batch_id: str) -> Response:
    _hand_in(here, owner, came, wish, batch_id)
    return _only_job(here, owner, batch_id)


def _hand_in(here: Service, owner: str, came: Received, wish: Wish, batch_id: str) -> None:
    with here.store.read() as session:
        was_made = batchlist.is_of(session, owner, batch_id)
    if not was_made:  # by an earlier try, whose answer nobody heard
        hand_in(here, owner, came, wish, batch_id)


def _only_job(here: Service, owner: str, batch_id: str) -> Response:
    with here.store.read() as session:
        (job,) = rows.rows_of(session, batch_id, 0, 1, rows.Sieve())
    return Made(jobs.shown(here.store, owner, job.id), f"/v1/jobs/{job.id}")


def _foretell(here: Service, owner: str, came: Received, wish: Wish) -> Response:
    """What the sound rows of it would cost; the others have to be mended first."""
    judged = judge(here, owner, came, wish)
    checked, known = judged.checked, standing(here.store, here.settings)
    planned = submissions.plan(here.store, order(owner, came, wish, judged), service=here.settings.nemo_api_url)
    cost = estimate(planned.sends, planned.generations, highest=known.highest if known else 0)
    told: dict[str, Any] = {"rows": len(checked.rows), "generations": planned.generations}
    told |= {"sends": cost.sends, "credits": cost.credits, "seen": cost.seen}
    told |= {"available": known.reading.available if known and known.reading else None}
    found = {"faults": faults(checked.faults), "warnings": faults(checked.warnings), "rows": len(checked.rows)}
    return JSONResponse(Foretold(**found, estimate=Estimated(**told)).model_dump(mode="json"))
