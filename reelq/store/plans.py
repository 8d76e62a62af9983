"""What a manifest's rows are to become, by what is known under their keys. It reads, and writes nothing."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from reelq.errors import SessionLost
from reelq.job import FINAL, ROUTES, Cause, Route, Stage, Status
from reelq.manifest import Row
from reelq.store.actions import retried_from
from reelq.store.models import Batch, Job, Outcome, Send
from reelq.store.orders import REFINES, Fate, LeftBehind, Order, Plan

AT_ONCE: Final = 500

T = TypeVar("T")


class Known(NamedTuple):
    """A job that has a row's key."""

    id: str
    batch_id: str
    key: str
    row: int
    name: str
    file: str
    references: list[str]
    priority: int
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

    @property
    def is_open(self) -> bool:
        return self.status not in FINAL

    @property
    def works(self) -> bool:
        """Whether it is there to be joined: open, and not waiting itself for another of its key."""
        return self.is_open and self.cause is not Cause.TWIN


_COLUMNS: Final = tuple(getattr(Job, name) for name in Known._fields)


@dataclass(frozen=True, slots=True)
class Step:
    """One row, and what is to be done about it."""

    row: Row
    key: str
    fate: Fate
    job: Known | None = None
    """Its own job, where there is one; of a row taken or joined, the other manifest's."""
    apart: bool = False
    """Another open job has its key, and yet it does its own work, as its session is not that one's."""

    @property
    def own(self) -> Known | None:
        """The row's job, where this manifest has one already."""
        return None if self.fate in {Fate.TAKEN, Fate.JOINED} and not self._is_own_twin else self.job

    @property
    def _is_own_twin(self) -> bool:
        return self.job is not None and self.job.cause is Cause.TWIN


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about all of them."""

    steps: tuple[Step, ...]
    batch_id: str | None
    """The batch that has exactly these rows; None where a new one is needed."""
    older: tuple[str, ...]
    """The other batches of this manifest, newest first."""


def pieces(items: Sequence[T], size: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """So many at a time: a statement takes no more."""
    for at in range(0, len(items), size):
        yield items[at : at + size]


def decide(session: Session, order: Order, keys: Sequence[str]) -> Decision:
    """Each row's fate, and the batch that they make up."""
    batches = _batches(session, order)
    known = _Known(session, order, batches, keys)
    steps: list[Step | None] = [None] * len(keys)
    for places in _together(order.rows):
        rows = [(order.rows[place], keys[place]) for place in places]
        for place, step in zip(places, known.steps(rows), strict=True):
            steps[place] = step
    made = tuple(step for step in steps if step)
    batch_id = batches[0] if batches and _is_the_batch(session, batches[0], made) else None
    return Decision(made, batch_id, tuple(each for each in batches if each != batch_id))


def as_plan(decision: Decision, left_behind: Iterable[LeftBehind]) -> Plan:
    """What there is to tell of it."""
    sending = [step.row for step in decision.steps if _will_send(step)]
    generations = sum(not (row.file or row.references or row.session) for row in sending)
    fates = tuple(step.fate for step in decision.steps)
    return Plan(fates, len(sending), generations, decision.batch_id, tuple(left_behind))


def would_be_left(session: Session, decision: Decision) -> list[LeftBehind]:
    """The open rows of older batches that this manifest does not take along."""
    taken = Counter(step.own.batch_id for step in decision.steps if step.own and step.own.is_open)
    return [
        LeftBehind(each.batch_id, each.rows - taken[each.batch_id])
        for each in open_rows(session, decision.older)
        if each.rows > taken[each.batch_id]
    ]


def open_rows(session: Session, batches: Sequence[str]) -> list[LeftBehind]:
    """How many rows each of these batches has open, where it has any."""
    query = select(Job.batch_id, func.count()).where(Job.batch_id.in_(batches), Job.status.not_in(FINAL))
    return [LeftBehind(*found) for found in session.execute(query.group_by(Job.batch_id).order_by(Job.batch_id))]


def _batches(session: Session, order: Order) -> list[str]:
    if not order.source.is_absolute():
        return []
    same = (Batch.owner == order.owner, Batch.name == order.name)
    places = (Batch.source == str(order.source), Batch.out == str(order.out))
    return list(session.scalars(select(Batch.id).where(*same, *places).order_by(Batch.id.desc())))


def _together(rows: Sequence[Row]) -> Iterable[list[int]]:
    """The places of rows that stand together: those of a session, and each other row alone."""
    sessions: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        sessions[row.session or f"\0{place}"].append(place)
    return sessions.values()


def _is_the_batch(session: Session, batch_id: str, steps: Sequence[Step]) -> bool:
    if not all(step.own and step.own.batch_id == batch_id and _is_as_asked(step.row, step.own) for step in steps):
        return False
    count = select(func.count()).select_from(Job).where(Job.batch_id == batch_id)
    return session.execute(count).scalar_one() == len(steps)


def _is_as_asked(row: Row, job: Known) -> bool:
    asked = (row.number, row.id, row.output, row.priority, dict(row.extra))
    return asked == (job.row, job.name, job.output, job.priority, job.extra)


def _will_send(step: Step) -> bool:
    if step.row.route is not Route.EDIT or step.fate in {Fate.DONE, Fate.FETCHED, Fate.FAILED, Fate.TAKEN, Fate.JOINED}:
        return False
    if step.job is None or step.fate is Fate.AGAIN:
        return True
    stage = retried_from(step.job.error_code, step.job.stage)
    in_doubt = step.job.status in FINAL and stage is Stage.VERIFY  # a retry may send it anew
    return in_doubt or stage in {Stage.UPLOAD, Stage.EDIT}


class _Known:
    """All jobs that have one of the order's keys, and what follows from them for a row or a session."""

    def __init__(self, session: Session, order: Order, batches: Sequence[str], keys: Sequence[str]) -> None:
        self._session = session
        self._order = order
        self._own: dict[str, Known] = {}
        self._others: dict[str, list[Known]] = defaultdict(list)
        self._results: set[str] = set()
        mine = frozenset(batches)
        _plan_by_what_is_there(session)
        for some in pieces(keys):
            query = select(*_COLUMNS).where(Job.owner == order.owner, Job.key.in_(some)).order_by(Job.id)
            for found in session.execute(query):
                self._add(Known._make(found), mine)

    def _add(self, job: Known, mine: frozenset[str]) -> None:
        if job.batch_id not in mine:
            if job.works or job.status is Status.SUCCEEDED:
                self._others[job.key].append(job)
        elif job.key not in self._own or _rank(job) >= _rank(self._own[job.key]):
            self._own[job.key] = job

    def steps(self, rows: Sequence[tuple[Row, str]]) -> list[Step]:
        """What becomes of a row, or of the rows of a session."""
        own = [self._own.get(key) for _, key in rows]
        kept = [job for job in takewhile(lambda job: job is not None, own) if job]
        if len(kept) == len(rows):
            return self._kept(rows, kept)
        if not any(own):
            return self._without_own(rows)
        if len(kept) == sum(job is not None for job in own) and self._may_go_on(kept):
            head = self._kept(rows, kept)
            behind_failed = head[-1].fate is Fate.FAILED
            return head + [self._new(*each, Fate.FAILED if behind_failed else Fate.NEW) for each in rows[len(kept) :]]
        return [
            _rebuilt(*each, job) if job else self._new(*each, Fate.NEW) for each, job in zip(rows, own, strict=True)
        ]

    def _kept(self, rows: Sequence[tuple[Row, str]], jobs: Sequence[Known]) -> list[Step]:
        if self._order.retry_failed and any(_lost_its_session(job) for job in jobs[1:]):
            return [_rebuilt(*each, job) for each, job in zip(rows, jobs, strict=False)]
        steps: list[Step] = []
        for (row, key), job in zip(rows, jobs, strict=False):
            behind_failed = bool(steps) and steps[-1].fate is Fate.FAILED
            steps.append(Step(row, key, self._fate(row, job, behind_failed=behind_failed), job))
        return steps

    def _fate(self, row: Row, job: Known, *, behind_failed: bool) -> Fate:
        if job.status is Status.SUCCEEDED:
            return Fate.DONE if self._is_there(row, job) else Fate.FETCHED
        if job.status in FINAL and behind_failed:
            return Fate.FAILED
        if job.status is Status.FAILED:
            return Fate.RETRIED if self._order.retry_failed else Fate.FAILED
        return Fate.JOINED if job.cause is Cause.TWIN else Fate.GOES_ON

    def _is_there(self, row: Row, job: Known) -> bool:
        if ROUTES[row.route][-1] is not Stage.DOWNLOAD:
            return True
        return _has_result(self._order.out, job) and (job.result_path == row.output or self._is_free(row.output))

    def _is_free(self, name: str) -> bool:
        """Whether a result can be renamed to this: nothing is there, or what is will be renamed as well."""
        self._results = self._results or {job.result_path for job in self._own.values()}
        return name in self._results or not Path(self._order.out, name).exists()

    def _without_own(self, rows: Sequence[tuple[Row, str]]) -> list[Step]:
        """A session is shared with another manifest whole or not at all: its rows build on each other."""
        shared = [self._shared(*each) for each in rows]
        if all(shared) or len(rows) == 1:
            return [step or self._new(*each, Fate.NEW) for each, step in zip(rows, shared, strict=True)]
        return [self._new(*each, Fate.NEW) for each in rows]

    def _shared(self, row: Row, key: str) -> Step | None:
        others = self._others.get(key, ())
        if ROUTES[row.route][-1] is Stage.DOWNLOAD and (done := _first(others, lambda job: not job.is_open)):
            return Step(row, key, Fate.TAKEN, done)
        at_work = _first(others, lambda job: job.is_open and job.same_as is None) or _first(others, _is_open)
        return Step(row, key, Fate.JOINED, at_work) if at_work else None

    def _new(self, row: Row, key: str, fate: Fate) -> Step:
        apart = any(job.is_open and job.same_as is None for job in self._others.get(key, ()))
        return Step(row, key, fate, apart=apart)

    def _may_go_on(self, jobs: Sequence[Known]) -> bool:
        """Whether another row can go on where these left their remote session: nobody else has worked in it since."""
        if any(job.same_as not in {None, job.id} for job in jobs):
            return False  # it is another manifest's session
        remote = next((job.remote_session_id for job in reversed(jobs) if job.remote_session_id), "")
        out = select(Send.id).where(Send.job_id == Job.id, Send.outcome.not_in((Outcome.NOT_SENT, Outcome.REFUSED)))
        worked = or_(Job.status.not_in(FINAL), Job.upload_baseline != "", out.exists())
        works_itself = or_(Job.same_as.is_(None), Job.same_as == Job.id)
        query = select(Job.id).where(Job.remote_session_id == remote, Job.remote_session_id != "")
        query = query.where(Job.id.not_in([job.id for job in jobs]), Job.key.not_like(f"{REFINES}%"))
        return self._session.execute(query.where(worked, works_itself).limit(1)).first() is None


def _plan_by_what_is_there(session: Session) -> None:
    """Until this transaction ends: PostgreSQL would look up keys in a full table by a plan made while it was empty."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.set_config("plan_cache_mode", "force_custom_plan", True)))


def _lost_its_session(job: Known) -> bool:
    """Whether it can only be done again with the rows that it builds on."""
    return job.status is Status.FAILED and job.error_code == SessionLost.code


def _rebuilt(row: Row, key: str, job: Known) -> Step:
    not_begun = job.is_open and not job.remote_session_id and job.cause is not Cause.TWIN
    return Step(row, key, Fate.GOES_ON if not_begun else Fate.AGAIN, job)


def _rank(job: Known) -> int:
    return 2 if job.is_open else 1 if job.status is Status.SUCCEEDED else 0


def _first(jobs: Iterable[Known], wanted: Callable[[Known], bool]) -> Known | None:
    return next((job for job in jobs if wanted(job)), None)


def _is_open(job: Known) -> bool:
    return job.is_open


def _has_result(out: Path, job: Known) -> bool:
    """Whether the job's result lies where it was put, of the size that it had."""
    try:
        return bool(job.result_path) and Path(out, job.result_path).stat().st_size == job.result_size
    except OSError:
        return False
