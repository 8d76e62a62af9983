"""Plans a submission: decides what happens to each row, from the jobs that have its key. It only reads."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from reelq.errors import SessionLost
from reelq.job import FINAL, Cause, Route, Stage, Status, makes_video
from reelq.manifest.columns import INTEGERS, Row
from reelq.store.db.models import Batch, Job, Outcome, Send
from reelq.store.db.statements import chunks
from reelq.store.jobs.dependents import Result
from reelq.store.jobs.retries import retried_from
from reelq.store.submission.request import REFINES, LeftBehind, Plan, RowAction, Submission


class ExistingJob(NamedTuple):
    """The columns of a job that decide what happens to a row with its key. A manifest may have thousands of them."""

    id: str
    batch_id: str
    key: str
    row: int
    name: str
    file: str
    references: list[str]
    output: str
    extra: dict[str, Any]
    stage: Stage
    status: Status
    cause: Cause | None
    error_code: str
    result_path: str
    result_size: int | None
    remote_session_id: str
    same_as: str | None
    integers: tuple[int, ...]
    """The values of the manifest's `INTEGERS`."""

    @property
    def is_open(self) -> bool:
        return self.status not in FINAL


_OTHER_COLUMNS: Final = ExistingJob._fields[:-1]
_COLUMNS: Final = tuple(getattr(Job, name) for name in (*_OTHER_COLUMNS, *INTEGERS))
_SENDS_NOTHING: Final = frozenset(
    {RowAction.DONE, RowAction.FETCHED, RowAction.FAILED, RowAction.TAKEN, RowAction.JOINED}
)


@dataclass(frozen=True, slots=True)
class Step:
    """One row, and what to do with it."""

    row: Row
    key: str
    action: RowAction
    own: ExistingJob | None = None
    """The job that this manifest already has for the row."""
    original: ExistingJob | None = None
    """The job of another manifest whose result the row reuses."""
    exempt_from_key: bool = False
    """Whether the row runs although another open job has its key: it does not share that job's session."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with all rows."""

    steps: tuple[Step, ...]
    batch_id: str | None
    """The existing batch that has exactly these rows; None if a new batch is needed."""
    older: tuple[str, ...]
    """The other batches of this manifest, newest first."""


def decide(session: Session, submission: Submission, keys: Sequence[str]) -> Decision:
    """Decide what happens to each row, and whether an existing batch has exactly these rows."""
    batches = _batches(session, submission)
    planner = _Planner(session, submission, batches, keys)
    steps: dict[int, Step] = {}
    for indexes in _by_session(submission.rows):
        rows = [(submission.rows[index], keys[index]) for index in indexes]
        steps.update(zip(indexes, planner.steps(rows), strict=True))
    decided = tuple(steps[index] for index in range(len(keys)))
    batch_id = batches[0] if batches and _is_the_batch(session, batches[0], decided) else None
    return Decision(decided, batch_id, tuple(each for each in batches if each != batch_id))


def plan_of(decision: Decision, left_behind: Iterable[LeftBehind]) -> Plan:
    """The decision as the plan that is shown to the user."""
    sending = [step.row for step in decision.steps if _will_send(step)]
    generations = sum(not (row.file or row.references or row.session) for row in sending)
    actions = tuple(step.action for step in decision.steps)
    return Plan(actions, len(sending), generations, decision.batch_id, tuple(left_behind))


def left_behind(session: Session, decision: Decision) -> list[LeftBehind]:
    """The number of open rows that would stay behind in each older batch, because the manifest no longer has them."""
    kept = Counter(step.own.batch_id for step in decision.steps if step.own and step.own.is_open)
    return [
        LeftBehind(each.batch_id, each.rows - kept[each.batch_id])
        for each in open_rows(session, decision.older)
        if each.rows > kept[each.batch_id]
    ]


def open_rows(session: Session, batches: Sequence[str]) -> list[LeftBehind]:
    """The number of open rows of each of these batches that has any."""
    query = select(Job.batch_id, func.count()).where(Job.batch_id.in_(batches), Job.status.not_in(FINAL))
    return [LeftBehind(*counted) for counted in session.execute(query.group_by(Job.batch_id).order_by(Job.batch_id))]


def _batches(session: Session, submission: Submission) -> list[str]:
    if not submission.source.is_absolute():
        return []
    same_name = (Batch.owner == submission.owner, Batch.name == submission.name)
    same_folders = (Batch.source == str(submission.source), Batch.out == str(submission.out))
    return list(session.scalars(select(Batch.id).where(*same_name, *same_folders).order_by(Batch.id.desc())))


def _by_session(rows: Sequence[Row]) -> Iterable[list[int]]:
    """Group the rows by session, as indexes; a row without a session is a group of its own."""
    sessions: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        sessions[row.session or f"\0{index}"].append(index)
    return sessions.values()


def _is_the_batch(session: Session, batch_id: str, steps: Sequence[Step]) -> bool:
    if not all(step.own and step.own.batch_id == batch_id and _matches_row(step.row, step.own) for step in steps):
        return False
    count = select(func.count()).select_from(Job).where(Job.batch_id == batch_id)
    return session.execute(count).scalar_one() == len(steps)


def _matches_row(row: Row, job: ExistingJob) -> bool:
    requested = (row.number, row.id, row.output, tuple(getattr(row, column) for column in INTEGERS), dict(row.extra))
    return requested == (job.row, job.name, job.output, job.integers, job.extra)


def _will_send(step: Step) -> bool:
    if step.row.route is not Route.EDIT or step.action in _SENDS_NOTHING:
        return False
    if step.own is None or step.action is RowAction.AGAIN:
        return True
    stage = retried_from(step.own.error_code, step.own.stage)
    in_doubt = step.own.status in FINAL and stage is Stage.VERIFY  # a retry may send its instruction once more
    return in_doubt or stage in {Stage.UPLOAD, Stage.EDIT}


class _Planner:
    """The jobs that have one of the submission's keys, and the steps that follow from them."""

    def __init__(self, session: Session, submission: Submission, batches: Sequence[str], keys: Sequence[str]) -> None:
        self._session = session
        self._submission = submission
        self._own: dict[str, ExistingJob] = {}
        self._others: dict[str, list[ExistingJob]] = defaultdict(list)
        self._results: set[str] = set()
        own_batches = frozenset(batches)
        _force_custom_plans(session)
        for piece in chunks(keys):
            query = select(*_COLUMNS).where(Job.owner == submission.owner, Job.key.in_(piece)).order_by(Job.id)
            for columns in session.execute(query):
                others, integers = columns[: len(_OTHER_COLUMNS)], columns[len(_OTHER_COLUMNS) :]
                self._add(ExistingJob._make((*others, integers)), own_batches)

    def _add(self, job: ExistingJob, own_batches: frozenset[str]) -> None:
        if job.batch_id not in own_batches:
            # Nobody can wait for a job that waits for another one itself.
            if job.status is Status.SUCCEEDED or (job.is_open and job.cause is not Cause.TWIN):
                self._others[job.key].append(job)
        elif job.key not in self._own or _rank(job) >= _rank(self._own[job.key]):
            self._own[job.key] = job

    def steps(self, rows: Sequence[tuple[Row, str]]) -> list[Step]:
        """The steps for a row without a session, or for all rows of one session."""
        own = [self._own.get(key) for _, key in rows]
        kept = [job for job in takewhile(lambda job: job is not None, own) if job]
        if len(kept) == len(rows):
            return self._kept(rows, kept)
        if not any(own):
            return self._new_or_shared(rows)
        if len(kept) == sum(job is not None for job in own) and self._session_is_unchanged(kept):
            head = self._kept(rows, kept)
            action = RowAction.FAILED if head[-1].action is RowAction.FAILED else RowAction.NEW
            return head + [self._new(row, key, action) for row, key in rows[len(kept) :]]
        return [
            _rerun(row, key, job) if job else self._new(row, key, RowAction.NEW)
            for (row, key), job in zip(rows, own, strict=True)
        ]

    def _kept(self, rows: Sequence[tuple[Row, str]], jobs: Sequence[ExistingJob]) -> list[Step]:
        kept = [(row, key, job) for (row, key), job in zip(rows, jobs, strict=False)]
        # A row that has lost its session can only run again together with the rows that it builds on.
        lost = any(job.status is Status.FAILED and job.error_code == SessionLost.code for job in jobs[1:])
        if lost and self._submission.retry_failed:
            return [_rerun(row, key, job) for row, key, job in kept]
        steps: list[Step] = []
        for row, key, job in kept:
            behind_failed = bool(steps) and steps[-1].action is RowAction.FAILED
            steps.append(Step(row, key, self._action(row, job, behind_failed=behind_failed), job))
        return steps

    def _action(self, row: Row, job: ExistingJob, *, behind_failed: bool) -> RowAction:
        if job.status is Status.SUCCEEDED:
            return RowAction.DONE if self._has_result(row, job) else RowAction.FETCHED
        if job.status in FINAL and behind_failed:
            return RowAction.FAILED
        if job.status is Status.FAILED:
            return RowAction.RETRIED if self._submission.retry_failed else RowAction.FAILED
        return RowAction.JOINED if job.cause is Cause.TWIN else RowAction.GOES_ON

    def _has_result(self, row: Row, job: ExistingJob) -> bool:
        """Whether the job's result exists, if it has any, and is at the row's output or can be renamed to it."""
        if not makes_video(row.route):
            return True
        if not job.result_path or job.result_size is None:
            return False
        result = Result(Path(self._submission.out, job.result_path), job.result_size, "")
        if not result.is_there or job.result_path == row.output:
            return result.is_there
        # No file has the name, or another result has it that will be renamed as well.
        self._results = self._results or {job.result_path for job in self._own.values()}
        return row.output in self._results or not Path(self._submission.out, row.output).exists()

    def _new_or_shared(self, rows: Sequence[tuple[Row, str]]) -> list[Step]:
        """Reuse another manifest's session as a whole or not at all: its rows build on each other."""
        shared = [self._shared(row, key) for row, key in rows]
        if all(shared) or len(rows) == 1:
            return [step or self._new(row, key, RowAction.NEW) for (row, key), step in zip(rows, shared, strict=True)]
        return [self._new(row, key, RowAction.NEW) for row, key in rows]

    def _shared(self, row: Row, key: str) -> Step | None:
        same_key = self._others.get(key, ())
        succeeded = [job for job in same_key if not job.is_open]
        if succeeded and makes_video(row.route):
            return Step(row, key, RowAction.TAKEN, original=succeeded[0])
        # First of all one that does the work without reusing the result of another.
        in_progress = sorted((job for job in same_key if job.is_open), key=lambda job: job.same_as is not None)
        return Step(row, key, RowAction.JOINED, original=in_progress[0]) if in_progress else None

    def _new(self, row: Row, key: str, action: RowAction) -> Step:
        exempt = any(job.is_open and job.same_as is None for job in self._others.get(key, ()))
        return Step(row, key, action, exempt_from_key=exempt)

    def _session_is_unchanged(self, jobs: Sequence[ExistingJob]) -> bool:
        """Whether a new row can continue in the remote session of these jobs: no other job has worked in it since."""
        if any(job.same_as not in {None, job.id} for job in jobs):
            return False  # the session belongs to another manifest
        remote_session = next((job.remote_session_id for job in reversed(jobs) if job.remote_session_id), "")
        sent = select(Send.id).where(Send.job_id == Job.id, Send.outcome.not_in((Outcome.NOT_SENT, Outcome.REFUSED)))
        has_worked = or_(Job.status.not_in(FINAL), Job.upload_baseline != "", sent.exists())
        not_a_twin = or_(Job.same_as.is_(None), Job.same_as == Job.id)
        query = select(Job.id).where(Job.remote_session_id == remote_session, Job.remote_session_id != "")
        query = query.where(Job.id.not_in([job.id for job in jobs]), Job.key.not_like(f"{REFINES}%"))
        return self._session.execute(query.where(has_worked, not_a_twin).limit(1)).first() is None


def _force_custom_plans(session: Session) -> None:
    """Make PostgreSQL plan each statement of this transaction for its actual parameters.

    It would otherwise keep using a plan from when the table was empty.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.set_config("plan_cache_mode", "force_custom_plan", True)))


def _rerun(row: Row, key: str, job: ExistingJob) -> Step:
    not_started = job.is_open and not job.remote_session_id and job.cause is not Cause.TWIN
    return Step(row, key, RowAction.GOES_ON if not_started else RowAction.AGAIN, job)


def _rank(job: ExistingJob) -> int:
    return 2 if job.is_open else 1 if job.status is Status.SUCCEEDED else 0
