"""Rows that are new to the queue: begun at once, behind another of their session, or with another manifest's result."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from reelq.job import FINAL, Cause, Stage, Status
from reelq.store import ends
from reelq.store.ids import new_id
from reelq.store.jobs import starting_stage
from reelq.store.models import Job, JobEvent
from reelq.store.moves import Position, StaleMove
from reelq.store.orders import REFINES, Fate, Order, inputs_of
from reelq.store.plans import Known, Step, pieces
from reelq.store.refinements import tail

Values = dict[str, Any]
Other = Row[Any]
_OF_OTHERS: Final = tuple(getattr(Job, name) for name in ("id", "batch_id", "row", "status", *ends.TAKEN_ALONG))


@dataclass(slots=True)
class Arrivals:
    """The rows of one submission on their way into a batch, in the manifest's order."""

    session: Session
    batch_id: str
    order: Order
    account_id: str
    now: datetime
    _last_in: dict[str, str | Known] = field(default_factory=dict)
    """By session the row before: its id, where it is as new as the next one."""
    _behind_failed: list[tuple[str, Job]] = field(default_factory=list)

    def come(self, steps: Sequence[Step], window: int) -> None:
        """Insert those that are not there yet, so many in a statement."""
        for some in pieces(steps, window):
            others = self._others(some)
            new = [values for step in some if (values := self._job(step, others))]
            if new:
                self.session.execute(insert(Job), new)
            if told := [self._event(values, others) for values in new if values["same_as"] in others]:
                self.session.execute(insert(JobEvent), told)
        for job_id, before in self._behind_failed:
            ends.cancel_behind(self.session, self.session.get_one(Job, job_id), before, self.now)

    def _others(self, steps: Sequence[Step]) -> dict[str, Other]:
        """The jobs of other manifests that these join or take from, held as they are until this is committed."""
        wanted = {step.job.id: step.fate for step in steps if step.job and step.own is None}
        if not wanted:
            return {}
        query = select(*_OF_OTHERS).where(Job.id.in_(wanted)).order_by(Job.id).with_for_update(read=True)
        found = {job.id: job for job in self.session.execute(query)}
        for job_id, fate in wanted.items():
            job = found.get(job_id)
            if job is None or not (job.status is Status.SUCCEEDED if fate is Fate.TAKEN else job.status not in FINAL):
                raise StaleMove(f"{job_id} has ended meanwhile")
        return found

    def _job(self, step: Step, others: dict[str, Other]) -> Values | None:
        row = step.row
        before = self._last_in.get(row.session) if row.session else None
        if step.own:
            if row.session:
                self._last_in[row.session] = step.own
            return None
        job_id = new_id("job")
        if row.session:
            self._last_in[row.session] = job_id
        return self._as_asked(step, job_id) | self._beginning(step, job_id, before, others)

    def _as_asked(self, step: Step, job_id: str) -> Values:
        row = step.row
        return {
            "id": job_id,
            "batch_id": self.batch_id,
            "owner": self.order.owner,
            "row": row.number,
            "name": row.id,
            "key": step.key,
            "file": row.file,
            "references": list(row.references),
            "inputs": inputs_of(self.order, row),
            "instruction": row.instruction,
            "language": row.language,
            "skill": row.skill,
            "session": row.session,
            "priority": row.priority,
            "output": row.output,
            "extra": dict(row.extra),
            "route": row.route,
            "due_at": self.now,
            "created_at": self.now,
        }

    def _beginning(self, step: Step, job_id: str, before: str | Known | None, others: dict[str, Other]) -> Values:
        """Where it begins, with the columns that depend on it: always the same ones, or they could not go together."""
        fresh: Values = dict.fromkeys(ends.TAKEN_ALONG, "") | {"account_id": self.account_id, "changes": []}
        fresh |= {"stage": starting_stage(step.row.route), "status": Status.QUEUED, "cause": None}
        fresh |= {
            "same_as": job_id if step.apart else None,
            "after_id": before.id if isinstance(before, Known) else before,
        }
        if step.job is not None:
            return fresh | _with_other(others[step.job.id])
        if isinstance(before, Known):
            return fresh | self._behind(self.session.get_one(Job, before.id), step, job_id)
        return fresh | _waiting(Cause.SESSION) if before else fresh

    def _behind(self, before: Job, step: Step, job_id: str) -> Values:
        """Behind a row that was there already."""
        self._drop_those_behind(before)
        if step.fate is Fate.FAILED:
            self._behind_failed.append((job_id, before))
            return _waiting(Cause.SESSION)
        last = tail(self.session, before)
        self.session.refresh(last, with_for_update=True)  # it may end at any moment, and tells those behind it then
        done = ends.is_done_with_session(last)
        if done or last.status in FINAL:
            # Behind a refinement that has ended badly just now it would not begin.
            return {"after_id": (last if done else before).id, **ends.session_of(before)}
        return {"after_id": last.id, **_waiting(Cause.SESSION)}

    def _drop_those_behind(self, before: Job) -> None:
        """Rows that waited behind it in an older batch: this manifest has others in their place, now and on a retry."""
        words = f"the manifest has other rows behind row {before.row} of its session now"
        for follower in ends.followers(self.session, before.id):
            if follower.batch_id == self.batch_id or follower.key.startswith(REFINES):
                continue
            if follower.cause is Cause.SESSION:
                ends.end(self.session, Position.of(follower), Status.CANCELLED, self.now, words, error=words)
            elif follower.error_code == "predecessor":
                follower.error_code, follower.error = "", words

    def _event(self, values: Values, others: dict[str, Other]) -> Values:
        other = others[values["same_as"]]
        joins = values["cause"] is Cause.TWIN
        tell = ends.waits_for if joins else ends.takes_from
        return {
            "job_id": values["id"],
            "batch_id": self.batch_id,
            "at": self.now,
            "what": "joined" if joins else "taken",
            "run": 1,
            "stage": values["stage"],
            "before": "",
            "after": values["status"],
            "words": tell(other.row, other.batch_id),
        }


def _with_other(other: Other) -> Values:
    if other.status is Status.SUCCEEDED:
        return {**ends.taken_along(other), "stage": Stage.DOWNLOAD, "same_as": other.id}
    return {"same_as": other.id, **_waiting(Cause.TWIN)}


def _waiting(cause: Cause) -> Values:
    return {"status": Status.WAITING, "cause": cause}
