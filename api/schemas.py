"""The resources in HTTP responses, and how each is built from what the store returns."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from reelq.job import Cause, Route, Stage, Status
from reelq.store.commands import ActionCounts
from reelq.store.db.models import BatchState, Outcome
from reelq.store.queries.account import AccountState as Account
from reelq.store.queries.batch_status import Snapshot
from reelq.store.queries.events import RowEvent
from reelq.store.queries.lookup import BatchInList
from reelq.store.queries.rows import Group, RowDetail, RowWithHistory


class _Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Counts(BaseModel):
    """The number of rows in each status."""

    queued: int = 0
    running: int = 0
    waiting: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class BatchListed(BaseModel):
    """A batch in a list."""

    id: str
    name: str
    state: BatchState
    created_at: datetime
    finished_at: datetime | None
    total: int
    counts: Counts
    credits: int

    @classmethod
    def of(cls, entry: BatchInList) -> "BatchListed":
        """Build it from an entry of the batch list."""
        batch = entry.batch
        return cls(
            id=batch.id,
            name=batch.name,
            state=batch.state,
            created_at=batch.created_at,
            finished_at=batch.finished_at,
            total=entry.counts.total(),
            counts=_counts_of(entry.counts),
            credits=entry.credits,
        )


class PlaceShown(_Shown):
    """The number of rows with this stage, status and cause."""

    stage: Stage
    status: Status
    cause: Cause | None
    count: int


class MovingShown(BaseModel):
    """A row in progress, with its latest message."""

    job: str
    row: int
    name: str
    file: str
    instruction: str
    stage: Stage
    status: Status
    words: str
    since: datetime


class HoldShown(_Shown):
    """What holds the account up: a 429 until some time, or the cause for which it is parked."""

    cause: Cause | None
    why: str
    until: datetime | None


class GroupShown(_Shown):
    """Rows that failed or wait for the same reason, with the numbers of the first ones."""

    code: str
    count: int
    rows: list[int]
    words: str
    advice: str


class BatchShown(BatchListed):
    """The current state of a batch."""

    at: datetime
    held: int
    """Queued rows after row `released`. They start when the batch is resumed."""
    released: int | None
    limit_credits: int | None
    shared: bool
    """Whether the credits include shares of a cost that several rows have in common."""
    at_rest: bool
    """Whether nothing more happens without an action by the user. Also true if all rows have ended."""
    tended: bool
    """Whether a worker seems to be running for it."""
    twins_move: bool
    """Whether rows wait for identical rows of another batch, and those make progress."""
    places: list[PlaceShown]
    moving: list[MovingShown]
    holds: list[HoldShown]
    failures: list[GroupShown]
    waits: list[GroupShown]

    @classmethod
    def at_this_moment(cls, seen: Snapshot, failures: Iterable[Group], waits: Iterable[Group]) -> "BatchShown":
        """Build it from a snapshot of the batch and the reasons why rows failed or wait."""
        return cls(
            id=seen.batch_id,
            name=seen.name,
            state=seen.state,
            created_at=seen.created_at,
            finished_at=seen.finished_at,
            total=seen.total,
            counts=_counts_of({status: seen.count(status) for status in Status}),
            credits=seen.credits,
            at=seen.at,
            held=seen.held,
            released=seen.released,
            limit_credits=seen.limit_credits,
            shared=seen.shared,
            at_rest=seen.at_rest,
            tended=seen.tended,
            twins_move=seen.twins_move,
            places=[PlaceShown.model_validate(place) for place in seen.places],
            moving=[MovingShown(**_renamed_fields(row, job="job_id")) for row in seen.rows],
            holds=[HoldShown.model_validate(hold) for hold in seen.holds],
            failures=[GroupShown.model_validate(group) for group in failures],
            waits=[GroupShown.model_validate(group) for group in waits],
        )


class ResultShown(BaseModel):
    """A finished video and its URL."""

    size: int | None
    sha256: str
    href: str


class JobShown(BaseModel):
    """A row: its input, its state and its result."""

    id: str
    batch: str
    row: int
    name: str
    file: str
    references: list[str]
    instruction: str
    language: str
    skill: str
    session: str
    priority: int
    output: str
    extra: dict[str, Any]
    route: Route
    stage: Stage
    status: Status
    cause: Cause | None
    error_code: str
    error: str
    advice: str
    credits: int
    timeline: str
    changes: list[str]
    reply: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: ResultShown | None

    @classmethod
    def of(cls, row: RowDetail) -> "JobShown":
        """Build it from a row of the store."""
        return cls(**_job_fields(row))


class SendShown(_Shown):
    """An instruction that was sent or about to be sent, and its outcome."""

    number: int
    text: str
    why: str
    sent_at: datetime
    settled_at: datetime | None
    outcome: Outcome
    reply: str
    cost: int
    shared: bool


class EventShown(BaseModel):
    """An event in the history of a row."""

    id: int
    at: datetime
    job: str
    row: int
    name: str
    file: str
    instruction: str
    what: str
    stage: Stage
    before: str
    after: str
    words: str

    @classmethod
    def of(cls, event: RowEvent) -> "EventShown":
        """Build it from an event of the store."""
        return cls(**_renamed_fields(event, job="job_id"))


class JobWhole(JobShown):
    """A row with its instructions and its history."""

    sends: list[SendShown]
    events: list[EventShown]
    """The history of the row. Of a very long one, only the newest events."""

    @classmethod
    def whole(cls, record: RowWithHistory) -> "JobWhole":
        """Build it from the complete record of a row."""
        sends = [SendShown.model_validate(send) for send in record.sends]
        return cls(**_job_fields(record.job), sends=sends, events=[EventShown.of(event) for event in record.events])


class HandledShown(BaseModel):
    """The number of rows that the action has changed, that it will change soon, and that it does not apply to."""

    done: int
    soon: int
    not_so: int


class BatchHandled(HandledShown):
    """The result of an action on a batch, and the batch's current state."""

    batch: BatchShown

    @classmethod
    def of(cls, done: ActionCounts, batch: BatchShown) -> "BatchHandled":
        """Build it from the counts and the current state."""
        return cls(done=done.done, soon=done.soon, not_so=done.not_so, batch=batch)


class JobHandled(HandledShown):
    """The result of an action on a row, and the row's current state."""

    job: JobWhole

    @classmethod
    def of(cls, done: ActionCounts, job: JobWhole) -> "JobHandled":
        """Build it from the counts and the current state."""
        return cls(done=done.done, soon=done.soon, not_so=done.not_so, job=job)


class ReadingShown(_Shown):
    """The balance at its last reading."""

    at: datetime
    available: int
    frozen: int


class SpentShown(BaseModel):
    """What your batches have spent in the last 24 hours, in the last 7 days and in total."""

    day: int
    week: int
    all: int


class CreditsShown(BaseModel):
    """The account's balance, which all owners share, and how much of it you have spent."""

    balance: ReadingShown | None
    """None if it has never been read."""
    highest: int
    """The highest cost of an instruction so far."""
    parked: Cause | None
    """What rows wait for, if the account is parked."""
    registration_link: str | None
    spent: SpentShown

    @classmethod
    def of(cls, known: Account | None, spent: SpentShown) -> "CreditsShown":
        """Build it from the account's record, or from None if the account has not been used yet."""
        return cls(
            balance=ReadingShown.model_validate(known.reading) if known and known.reading else None,
            highest=known.highest if known else 0,
            parked=known.parked if known else None,
            registration_link=(known.link or None) if known else None,
            spent=spent,
        )


class SkillShown(_Shown):
    """A skill that a row can use."""

    name: str
    version: str
    description: str
    references: str
    """`photo` if the skill needs a reference photo."""
    clip_seconds: int | None
    """The longest recommended clip, in seconds."""
    prefers: list[str]
    """The recommended file extensions."""


class SkillsShown(BaseModel):
    """All available skills."""

    items: list[SkillShown]


class Alive(BaseModel):
    """The process is running."""

    status: Literal["ok"] = "ok"


def _job_fields(row: RowDetail) -> dict[str, Any]:
    href = f"/v1/jobs/{row.id}/output"
    result = ResultShown(size=row.result_size, sha256=row.result_sha256, href=href) if row.has_result else None
    names = [name for name in JobShown.model_fields if name not in {"batch", "result"}]
    return {name: getattr(row, name) for name in names} | {"batch": row.batch_id, "result": result}


def _renamed_fields(record: Any, **other: str) -> dict[str, Any]:
    """Return the fields of a dataclass, renamed as given: the new name is the keyword."""
    new_names = {old: new for new, old in other.items()}
    return {new_names.get(name, name): getattr(record, name) for name in record.__dataclass_fields__}


def _counts_of(counts: Any) -> Counts:
    return Counts(**{str(status): count for status, count in counts.items()})
