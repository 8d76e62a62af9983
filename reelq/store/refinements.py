"""Telling the agent more about a row, in the session that the row left: a refinement, or the answer to its question."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from reelq import intent
from reelq.errors import CannotRefine
from reelq.job import FINAL, ROUTES, Cause, Route, Stage, Status
from reelq.manifest import output
from reelq.store.ends import followers, is_done_with_session, session_of
from reelq.store.ids import new_id
from reelq.store.models import Batch, BatchState, Job
from reelq.store.orders import REFINES

_ENDED_BADLY: Final = frozenset({Status.FAILED, Status.CANCELLED})
_ALIKE: Final = ("account_id", "owner", "language", "skill", "session", "priority", "extra")


def refine(session: Session, job: Job, instruction: str, now: datetime, new: str = "") -> str:
    """A new job, in a batch of its own, that goes on where this one leaves its remote session; its id.

    It waits while that session is at work. Nothing is uploaded again: the session has the files.
    """
    route = route_of(job, instruction)
    batch = session.get_one(Batch, job.batch_id)
    before = tail(session, job)
    values = {
        **{name: getattr(job, name) for name in _ALIKE},
        **(_at_once(job, route) if before.status in FINAL or is_done_with_session(before) else _after(route)),
        "id": new or new_id("job"),
        "batch_id": _batch(session, batch, job, now),
        "row": 1,
        "name": job.name,
        "instruction": instruction.strip(),
        "route": route,
        "output": _output(session, batch, job) if ROUTES[route][-1] is Stage.DOWNLOAD else "",
        "after_id": before.id,
        "file": "",
        "references": [],
        "changes": [],
        "due_at": now,
        "created_at": now,
    }
    values["key"] = f"{REFINES}{values['id']}"
    session.execute(insert(Job).values(**values))
    return str(values["id"])


def tail(session: Session, job: Job) -> Job:
    """The last row that is, or will be, at work in this one's session behind it."""
    while behind := [each.id for each in followers(session, job.id) if _is_in_session_of(job, each)]:
        job = session.get_one(Job, max(behind))
    return job


def _is_in_session_of(job: Job, behind: Job) -> bool:
    """Whether the row behind works in the session that this one has now; each may have begun anew in another."""
    return behind.status not in _ENDED_BADLY and behind.remote_session_id in {"", job.remote_session_id}


def route_of(job: Job, instruction: str) -> Route:
    """What is asked for; CannotRefine where there is no session to ask it in."""
    route = intent.route(instruction, has_file=True)
    if route is Route.UPLOAD:
        raise CannotRefine("The instruction is empty")
    if not job.remote_session_id:
        yet = "" if job.status in FINAL else " yet"
        raise CannotRefine(f"Row {job.row} has no session with the service{yet}")
    if job.error_code == "session_lost":
        raise CannotRefine(f"The session of row {job.row} is gone")
    return route


def _at_once(job: Job, route: Route) -> dict[str, Any]:
    stage = next(stage for stage in ROUTES[route] if stage is not Stage.UPLOAD)
    return {**session_of(job), "stage": stage, "status": Status.QUEUED}


def _after(route: Route) -> dict[str, Any]:
    return {"stage": ROUTES[route][0], "status": Status.WAITING, "cause": Cause.SESSION}


def _batch(session: Session, batch: Batch, job: Job, now: datetime) -> str:
    values = {
        "id": new_id("bat"),
        "owner": batch.owner,
        "name": f"refine of row {job.row} of {batch.name}",
        "source": batch.source,
        "out": batch.out,
        "columns": [],
        "options": {},
        "state": BatchState.ACTIVE,
        "created_at": now,
    }
    session.execute(insert(Batch).values(**values))
    return str(values["id"])


def _output(session: Session, batch: Batch, job: Job) -> str:
    """`<stem>-2.mp4`, or the next number that neither a file nor another row of this folder has."""
    name = job.output or output.default(job.row, Path(job.file).stem or job.instruction)
    stem, number = name.removesuffix(Path(name).suffix), 2
    if not batch.out:  # in storage it is in nobody's way
        return f"{stem}-{number}.mp4"
    while _is_taken(session, batch, f"{stem}-{number}.mp4"):
        number += 1
    return f"{stem}-{number}.mp4"


def _is_taken(session: Session, batch: Batch, name: str) -> bool:
    same_folder = select(Job.id).join(Batch).where(Batch.owner == batch.owner, Batch.out == batch.out)
    return Path(batch.out, name).exists() or session.execute(same_folder.where(Job.output == name)).first() is not None
