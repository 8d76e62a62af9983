"""Somebody who hands in manifests, and what workers make of the rows, as the database has it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select, update

from reelq import skills
from reelq.job import Stage, Status
from reelq.manifest import checks
from reelq.settings import Settings
from reelq.store.db.engine import Store
from reelq.store.db.models import Account, Batch, Job, JobEvent, Outcome
from reelq.store.db.vault import Vault
from reelq.store.jobs import claims, dependents, transitions
from reelq.store.jobs.claims import Claimed, Lease, NotClaimed
from reelq.store.jobs.transitions import Position, move
from reelq.store.submission import submitter
from reelq.store.submission.request import Plan, RowAction, Submission
from reelq.store.submission.submitter import Submitted
from tests.databases import add_job, add_send, change, done, found, moment, selected
from worker.outcomes import Recorder
from worker.retry_policy import PARKED

SERVICE: Final = "https://service.example"
TWO: Final = ("beach.mp4,Add a title,", "forest.mp4,Add music,")
REEL: Final = ("beach.mp4,Add a title,reel", ",Add music,reel", ",Trim it,reel")
"""Three rows of one session."""
HEADER: Final = "file,instruction,session"
SKILLS: Final = skills.load()
RESULT: Final = b"a finished video"
NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEASE: Final = Lease("worker-1", 30.0)


@dataclass
class Desk:
    """Somebody with a folder of clips, a manifest, and a database."""

    store: Store
    folder: Path
    account: str

    def order(self, *rows: str, header: str = HEADER, name: str = "jobs", out: str = "out", **told: Any) -> Submission:
        """What a manifest of these lines asks for."""
        path = self.folder / f"{name}.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        checked = checks.check_file(path, skills=SKILLS)
        rows_ = checked.rows_or_raise()
        return Submission("me", name, self.folder, self.folder / out, rows_, checked.columns, **told)

    def submit(self, *rows: str, **told: Any) -> Submitted:
        """Hand it in."""
        return submitter.submit(self.store, self.order(*rows, **told), service=SERVICE, account_id=self.account)

    def many(self, count: int, **of_its_account: Any) -> list[str]:
        """Hand in so many rows; their ids."""
        if of_its_account:
            change(self.store, Account, self.account, **of_its_account)
        rows = (f"beach.mp4,Trim it to {number} s," for number in range(1, count + 1))
        return [job.id for job in self.jobs(self.submit(*rows).batch_id)]

    def plan(self, *rows: str, **told: Any) -> Plan:
        """What handing it in would do."""
        return submitter.plan(self.store, self.order(*rows, **told), service=SERVICE)

    def now(self) -> datetime:
        return done(self.store, self.store.now)

    def jobs(self, batch_id: str) -> list[Job]:
        return selected(self.store, select(Job).where(Job.batch_id == batch_id).order_by(Job.row))

    def job(self, job_id: str) -> Job:
        return found(self.store, Job, job_id)

    def statuses(self, batch_id: str) -> list[str]:
        return [str(job.cause or job.status) for job in self.jobs(batch_id)]

    def act(self, act: Callable[..., Any], job: Job) -> Any:
        """What a person asks of a job."""
        with self.store.write() as session:
            return act(session, session.get_one(Job, job.id), self.store.now(session))

    def begin(self, job: Job, stage: Stage = Stage.UPLOAD) -> Position:
        """A worker takes the job, in this stage and in a remote session of its own, unless it has one."""
        with moment(self.store) as (session, now):
            session.execute(update(Job).where(Job.id == job.id).values(stage=stage))
            at = Position.of(session.get_one(Job, job.id, populate_existing=True))
            more: dict[str, Any] = {"lease_until": transitions.later(now, 60), "worker": "w", "started_at": now}
            if stage is not Stage.UPLOAD:
                more["remote_session_id"] = job.remote_session_id or f"ses_{job.id}"
            return move(session, at, Status.RUNNING, now, f"{stage} begins", **more)

    def sent(self, job: Job, outcome: Outcome = Outcome.APPLIED) -> None:
        """Its instruction went out."""
        with self.store.write() as session:
            add_send(session, self.store.now(session), job.id, self.account, outcome=outcome, cost=7)

    def end(self, at: Position, to: Status, **values: Any) -> None:
        with self.store.write() as session:
            dependents.end(session, at, to, self.store.now(session), str(to), **values)

    def succeed(self, job: Job, content: bytes = RESULT) -> Path:
        """All of its stages are done, and its result lies where it belongs."""
        at = self.begin(job, Stage.DOWNLOAD)
        self.sent(job)
        out = self.out_of(job)
        values: dict[str, Any] = {"remote_render_id": f"render_{job.id}", "result_url": "https://cdn.example/1.mp4"}
        values |= {"timeline": "one clip", "reply": "Done.", "changes": ["a title"], "renders": 1}
        if job.output:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(content)
            values |= {"result_path": job.output, "result_size": len(content)}
            values |= {"result_sha256": sha256(content).hexdigest()}
        self.end(at, Status.SUCCEEDED, **values)
        return out

    def fail(self, job: Job, stage: Stage = Stage.VERIFY, code: str = "no_effect") -> None:
        self.end(self.begin(job, stage), Status.FAILED, error_code=code, error="It changed nothing")

    def out_of(self, job: Job) -> Path:
        return Path(found(self.store, Batch, job.batch_id).out, job.output)

    def words(self, job: Job) -> list[str]:
        return selected(self.store, select(JobEvent.words).where(JobEvent.job_id == job.id).order_by(JobEvent.id))

    def count(self, table: Any) -> int:
        with self.store.read() as session:
            return session.execute(select(func.count()).select_from(table)).scalar_one()


def fates(done: Submitted | Plan) -> list[RowAction]:
    return list(done.plan.actions if isinstance(done, Submitted) else done.actions)


def columns(job: Job) -> dict[str, Any]:
    return {column.key: getattr(job, column.key) for column in Job.__table__.c}


def claim(store: Store, job_id: str, stage: Stage, run: int = 1, now: datetime | None = None) -> Claimed | NotClaimed:
    """A message for this stage of the job has come to a worker."""
    with store.write() as session:
        return claims.claim(session, now or store.now(session), job_id, run, stage, LEASE, PARKED)


def claim_one(store: Store, stage: Stage, *, run: int = 1, **values: Any) -> Claimed:
    """A new job in this stage, as the worker that took it has it."""
    got = claim(store, done(store, add_job, NOW, stage=stage, run=run, **values), stage, run, NOW)
    assert isinstance(got, Claimed)
    return got


def record(store: Store, claimed: Claimed, what: Any, folder: Path) -> None:
    """Record the outcome of a stage, as the worker does."""
    settings, vault = Settings(reelq_data_dir=folder), Vault("a key for tests, long enough")
    Recorder(store, vault, settings, folder).record(claimed, what)


def together(count: int, act: Callable[[], Any], *refusals: type[Exception]) -> list[Any]:
    """What each of so many threads got, or was refused with, when all began at once."""
    gate = threading.Barrier(count)

    def one() -> Any:
        gate.wait(60)
        try:
            return act()
        except refusals as refusal:
            return refusal

    with ThreadPoolExecutor(count) as pool:
        return [each.result() for each in [pool.submit(one) for _ in range(count)]]
