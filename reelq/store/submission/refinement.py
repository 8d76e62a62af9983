"""Refinements: a further instruction, or the answer to the agent's question, in the remote session of a row."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from reelq import intent
from reelq.errors import CannotRefine
from reelq.job import FINAL, ROUTES, Cause, Route, Stage, Status, makes_video
from reelq.manifest import output
from reelq.manifest.columns import INTEGERS
from reelq.store.db.models import Batch, BatchState, Job
from reelq.store.db.types import new_id
from reelq.store.jobs.dependents import followers, is_done_with_session, session_columns
from reelq.store.submission.request import REFINES

_FAILED_OR_CANCELLED: Final = frozenset({Status.FAILED, Status.CANCELLED})
_COPIED_COLUMNS: Final = ("account_id", "owner", "language", "skill", "session", *INTEGERS, "extra")


def refine(session: Session, job: Job, instruction: str, now: datetime, new: str = "") -> str:
    """Insert a job that continues in the remote session of this one, in a batch of its own. Returns its id.

    The job waits while the session is in use. Nothing is uploaded again: the session has the files.
    """
    route = route_of(job, instruction)
    batch = session.get_one(Batch, job.batch_id)
    before = last_in_session(session, job)
    start: dict[str, Any] = {"stage": ROUTES[route][0], "status": Status.WAITING, "cause": Cause.SESSION}
    if before.status in FINAL or is_done_with_session(before):
        stage = next(stage for stage in ROUTES[route] if stage is not Stage.UPLOAD)
        start = {**session_columns(job), "stage": stage, "status": Status.QUEUED}
    new_batch = {
        "id": new_id("bat"),
        "name": f"refine of row {job.row} of {batch.name}",
        "columns": [],
        "options": {},
        "state": BatchState.ACTIVE,
        "created_at": now,
    }
    copied = {"owner": batch.owner, "source": batch.source, "out": batch.out}
    session.execute(insert(Batch).values(**new_batch, **copied))
    job_id = new or new_id("job")
    values = {
        **{name: getattr(job, name) for name in _COPIED_COLUMNS},
        **start,
        "id": job_id,
        "key": f"{REFINES}{job_id}",
        "batch_id": new_batch["id"],
        "row": 1,
        "name": job.name,
        "instruction": instruction.strip(),
        "route": route,
        "output": _output(session, batch, job) if makes_video(route) else "",
        "after_id": before.id,
        "file": "",
        "references": [],
        "changes": [],
        "due_at": now,
        "created_at": now,
    }
    session.execute(insert(Job).values(**values))
    return job_id


def last_in_session(session: Session, job: Job) -> Job:
    """The last job, behind this one, that works or will work in its session."""
    while follower_ids := [
        follower.id
        for follower in followers(session, job.id)
        # It works in the session that this job has now: either may have restarted in another.
        if follower.status not in _FAILED_OR_CANCELLED and follower.remote_session_id in {"", job.remote_session_id}
    ]:
        job = session.get_one(Job, max(follower_ids))
    return job


def route_of(job: Job, instruction: str) -> Route:
    """The route of the instruction. Raises CannotRefine if the job has no session to run it in."""
    route = intent.route(instruction, has_file=True)
    if route is Route.UPLOAD:
        raise CannotRefine("The instruction is empty")
    if not job.remote_session_id:
        not_yet = "" if job.status in FINAL else " yet"
        raise CannotRefine(f"Row {job.row} has no session with the service{not_yet}")
    if job.error_code == "session_lost":
        raise CannotRefine(f"The session of row {job.row} is lost")
    return route


def _output(session: Session, batch: Batch, job: Job) -> str:
    """`<stem>-2.mp4`, or the next number that neither a file nor another row of the folder uses."""
    name = job.output or output.default(job.row, Path(job.file).stem or job.instruction)
    stem, number = name.removesuffix(Path(name).suffix), 2
    if not batch.out:  # names in storage don't collide
        return f"{stem}-{number}.mp4"
    while _is_taken(session, batch, f"{stem}-{number}.mp4"):
        number += 1
    return f"{stem}-{number}.mp4"


def _is_taken(session: Session, batch: Batch, name: str) -> bool:
    same_folder = select(Job.id).join(Batch).where(Batch.owner == batch.owner, Batch.out == batch.out)
    return Path(batch.out, name).exists() or session.execute(same_folder.where(Job.output == name)).first() is not None
