"""The resources in HTTP responses, read from the attributes of what the store returns."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from reelq.job import Cause, Route, Stage, Status
from reelq.store.db.models import BatchState, Outcome
from reelq.store.queries.account import LastReading
from reelq.store.queries.batch_status import Group, Hold, Place, RowInMotion
from reelq.store.queries.events import RowEvent
from reelq.store.queries.rows import Result


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


class BatchListed(_Shown):
    """A batch in a list."""

    id: str
    name: str
    state: BatchState
    created_at: datetime
    finished_at: datetime | None
    total: int
    counts: Counts
    credits: int


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
    places: list[Place]
    moving: list[RowInMotion]
    holds: list[Hold]
    failures: list[Group]
    waits: list[Group]


class JobShown(_Shown):
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
    result: Result | None


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


class JobWhole(JobShown):
    """A row with its instructions and its history."""

    sends: list[SendShown]
    events: list[RowEvent]
    """The history of the row. Of a very long one, only the newest events."""


class HandledShown(BaseModel):
    """The number of rows that the action has changed, that it will change soon, and that it does not apply to."""

    done: int
    soon: int
    not_so: int


class BatchHandled(HandledShown):
    """The result of an action on a batch, and the batch's current state."""

    batch: BatchShown


class JobHandled(HandledShown):
    """The result of an action on a row, and the row's current state."""

    job: JobWhole


class SpentShown(BaseModel):
    """What your batches have spent in the last 24 hours, in the last 7 days and in total."""

    day: int
    week: int
    all: int


class CreditsShown(BaseModel):
    """The account's balance, which all owners share, and how much of it you have spent."""

    balance: LastReading | None
    """None if it has never been read."""
    highest: int
    """The highest cost of an instruction so far."""
    parked: Cause | None
    """What rows wait for, if the account is parked."""
    registration_link: str | None
    spent: SpentShown


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


class SkillsShown(_Shown):
    """All available skills."""

    items: list[SkillShown]


class Alive(BaseModel):
    """The process is running."""

    status: Literal["ok"] = "ok"
