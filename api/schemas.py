"""The resources as they go out over HTTP: what each is made of, and from what it is made."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from reelq.job import Cause, Route, Stage, Status
from reelq.store.batchlist import Standing
from reelq.store.handling import Handled
from reelq.store.models import BatchState, Outcome
from reelq.store.outcomes import Group
from reelq.store.overview import Snapshot
from reelq.store.rows import JobRead, Whole
from reelq.store.standing import Standing as Account
from reelq.store.story import Told


class _Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Counts(BaseModel):
    """How many rows there are of each status."""

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
    def of(cls, one: Standing) -> "BatchListed":
        """As it stands in a list."""
        batch = one.batch
        return cls(
            id=batch.id,
            name=batch.name,
            state=batch.state,
            created_at=batch.created_at,
            finished_at=batch.finished_at,
            total=one.counts.total(),
            counts=_counts(one.counts),
            credits=one.credits,
        )


class PlaceShown(_Shown):
    """How many rows are at one place."""

    stage: Stage
    status: Status
    cause: Cause | None
    count: int


class MovingShown(BaseModel):
    """A row under way, and what was said of it last."""

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
    """What keeps the account from going on: a 429 until a moment, or a cause for which it is parked."""

    cause: Cause | None
    why: str
    until: datetime | None


class GroupShown(_Shown):
    """Rows that ended, or wait, for the same cause; the first of them by their numbers."""

    code: str
    count: int
    rows: list[int]
    words: str
    advice: str


class BatchShown(BatchListed):
    """A batch as it stands."""

    at: datetime
    held: int
    """Queued rows behind `released`: they begin when the batch is resumed."""
    released: int | None
    limit_credits: int | None
    shared: bool
    """Whether some of the credits are a row's part of what several cost together."""
    at_rest: bool
    """Whether nothing goes on unless somebody does something; so too where all has ended."""
    tended: bool
    """Whether somebody seems to work on it."""
    twins_move: bool
    """Whether rows wait for the same rows of another batch, and those move."""
    places: list[PlaceShown]
    moving: list[MovingShown]
    holds: list[HoldShown]
    failures: list[GroupShown]
    waits: list[GroupShown]

    @classmethod
    def at_this_moment(cls, seen: Snapshot, failures: Iterable[Group], waits: Iterable[Group]) -> "BatchShown":
        """From a look at the batch, and why rows of it failed or wait."""
        return cls(
            id=seen.batch_id,
            name=seen.name,
            state=seen.state,
            created_at=seen.created_at,
            finished_at=seen.finished_at,
            total=seen.total,
            counts=_counts({status: seen.count(status) for status in Status}),
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
            moving=[MovingShown(**_named(row, job="job_id")) for row in seen.rows],
            holds=[HoldShown.model_validate(hold) for hold in seen.holds],
            failures=[GroupShown.model_validate(group) for group in failures],
            waits=[GroupShown.model_validate(group) for group in waits],
        )


class ResultShown(BaseModel):
    """A finished video, and where it is to be had."""

    size: int | None
    sha256: str
    href: str


class JobShown(BaseModel):
    """A row: what was asked, where it is, and what came of it."""

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
    def of(cls, one: JobRead) -> "JobShown":
        """From what was read of it."""
        return cls(**_told(one))


class SendShown(_Shown):
    """One instruction that went out, or was to, and what became of it."""

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
    """One thing that happened to a row."""

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
    def of(cls, told: Told) -> "EventShown":
        """As it was told."""
        return cls(**_named(told, job="job_id"))


class JobWhole(JobShown):
    """A row's whole story."""

    sends: list[SendShown]
    events: list[EventShown]
    """What happened; of very many the newest."""

    @classmethod
    def whole(cls, one: Whole) -> "JobWhole":
        """From all that is known of it."""
        sends = [SendShown.model_validate(send) for send in one.sends]
        return cls(**_told(one.job), sends=sends, events=[EventShown.of(told) for told in one.events])


class HandledShown(BaseModel):
    """How many rows did what was asked, how many will soon, and to how many it did not apply."""

    done: int
    soon: int
    not_so: int


class BatchHandled(HandledShown):
    """What came of an action on a batch, and how it stands now."""

    batch: BatchShown

    @classmethod
    def of(cls, done: Handled, batch: BatchShown) -> "BatchHandled":
        """Both together."""
        return cls(done=done.done, soon=done.soon, not_so=done.not_so, batch=batch)


class JobHandled(HandledShown):
    """What came of an action on a row, and how it stands now."""

    job: JobWhole

    @classmethod
    def of(cls, done: Handled, job: JobWhole) -> "JobHandled":
        """Both together."""
        return cls(done=done.done, soon=done.soon, not_so=done.not_so, job=job)


class ReadingShown(_Shown):
    """The balance when it was read last."""

    at: datetime
    available: int
    frozen: int


class SpentShown(BaseModel):
    """What your batches have spent: in the last 24 hours, in the last 7 days, ever."""

    day: int
    week: int
    all: int


class CreditsShown(BaseModel):
    """The account's balance, which all owners share, and what you have spent of it."""

    balance: ReadingShown | None
    """None where it was never read."""
    highest: int
    """The most that one instruction has cost yet."""
    parked: Cause | None
    """What rows wait for, where the account can't go on."""
    registration_link: str | None
    spent: SpentShown

    @classmethod
    def of(cls, known: Account | None, spent: SpentShown) -> "CreditsShown":
        """From what is known of the account; nothing where it was not used yet."""
        return cls(
            balance=ReadingShown.model_validate(known.reading) if known and known.reading else None,
            highest=known.highest if known else 0,
            parked=known.parked if known else None,
            registration_link=(known.link or None) if known else None,
            spent=spent,
        )


class SkillShown(_Shown):
    """A profile that a row can ask for."""

    name: str
    version: str
    description: str
    references: str
    """`photo` where it can't work without a reference photo."""
    clip_seconds: int | None
    """The length below which a clip goes well."""
    prefers: list[str]
    """The endings of files that go smoothest."""


class SkillsShown(BaseModel):
    """All of them."""

    items: list[SkillShown]


class Alive(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"


def _told(one: JobRead) -> dict[str, Any]:
    href = f"/v1/jobs/{one.id}/output"
    result = ResultShown(size=one.result_size, sha256=one.result_sha256, href=href) if one.has_result else None
    names = [name for name in JobShown.model_fields if name not in {"batch", "result"}]
    return {name: getattr(one, name) for name in names} | {"batch": one.batch_id, "result": result}


def _named(one: Any, **other: str) -> dict[str, Any]:
    """A dataclass' fields under the names that they go out by."""
    called = {theirs: ours for ours, theirs in other.items()}
    return {called.get(name, name): getattr(one, name) for name in one.__dataclass_fields__}


def _counts(counts: Any) -> Counts:
    return Counts(**{str(status): count for status, count in counts.items()})
