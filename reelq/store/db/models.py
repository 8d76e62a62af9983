"""The tables of the queue: accounts, batches, jobs, sends, events, credit readings. They have no behaviour."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    FetchedValue,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from reelq.job import Cause, Route, Stage, Status
from reelq.store.db.types import Id, Json, Utc, enum_type, partial_index


class Base(DeclarativeBase):
    """The base of all tables. Constraints are named by convention, so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: Utc, str: Text, dict[str, Any]: Json, list[str]: Json}


class BatchState(StrEnum):
    """Whether a batch's rows may start stages."""

    ACTIVE = "active"
    PAUSED = "paused"
    CANCELLED = "cancelled"


class AccountKind(StrEnum):
    """Whose token an account uses."""

    OWN = "own"
    ANONYMOUS = "anonymous"


class Outcome(StrEnum):
    """The outcome of one send; `open` until it is known."""

    OPEN = "open"
    APPLIED = "applied"
    NO_EFFECT = "no_effect"
    AGENT_ERROR = "agent_error"
    NOT_SENT = "not_sent"
    REFUSED = "refused"
    UNCONFIRMED = "unconfirmed"


class Account(Base):
    """One credential with one service: its encrypted token, its limits, and its window of jobs in flight."""

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("service_url", "credential"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    service_url: Mapped[str]
    credential: Mapped[str] = mapped_column(String(80))
    """`anonymous`, or the SHA-256 of the user's token: it identifies the account without revealing the token."""
    kind: Mapped[AccountKind] = mapped_column(enum_type(AccountKind, "kind"))
    client_id: Mapped[str | None]
    token: Mapped[bytes | None]
    token_version: Mapped[int] = mapped_column(default=0)
    token_issued_at: Mapped[datetime | None]
    remote_user_id: Mapped[str] = mapped_column(default="")
    refreshing_until: Mapped[datetime | None]
    """Until then, a process has the claim to request a new token; others wait for its result."""
    reading_until: Mapped[datetime | None]
    """Until then, a process has the claim to read the balance: readings that overlap could not be put in order."""
    blocked_until: Mapped[datetime | None]
    """All stages are blocked until then, after a 429."""
    block_seconds: Mapped[float] = mapped_column(Float, default=0)
    """The length of the last block: another 429 right after it blocks for twice as long."""
    quota_met: Mapped[bool] = mapped_column(default=False)
    """Whether the token endpoint has answered 429: the next one parks the account."""
    parked: Mapped[Cause | None] = mapped_column(enum_type(Cause, "parked"))
    parked_why: Mapped[str] = mapped_column(default="")
    parked_until: Mapped[datetime | None]
    probe_job_id: Mapped[str | None] = mapped_column(Id)
    window: Mapped[float] = mapped_column(Float)
    created_at: Mapped[datetime]


class Batch(Base):
    """One manifest as it was submitted."""

    __tablename__ = "batches"
    __table_args__ = (
        Index(None, "owner", "id"),
        partial_index("id", where="finished_at IS NULL", name="ix_batches_unfinished"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    name: Mapped[str]
    source: Mapped[str]
    """The folder to which the rows' paths are relative; empty if the rows name assets."""
    out: Mapped[str]
    columns: Mapped[list[str]]
    options: Mapped[dict[str, Any]]
    state: Mapped[BatchState] = mapped_column(enum_type(BatchState, "state"))
    limit_credits: Mapped[int | None] = mapped_column(BigInteger)
    released: Mapped[int | None]
    """Only rows up to this number may start (`--first`); all rows if it is null."""
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    """When all rows were found to have ended, and webhooks were queued for that; null again once a row is restarted."""


class Job(Base):
    """One row of a batch: its position, what its stages need, and its result."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("batch_id", "row"),
        CheckConstraint("(status = 'waiting') = (cause IS NOT NULL)", name="waiting_has_a_cause"),
        CheckConstraint("(status = 'running') = (lease_until IS NOT NULL)", name="running_has_a_lease"),
        partial_index(
            "owner",
            "key",
            where="status IN ('queued', 'running', 'waiting') AND same_as IS NULL",
            name="uq_jobs_open_key",
            unique=True,
        ),
        # The key comes first: many keys are looked up at once, and PostgreSQL has no statistics on a table just filled.
        Index(None, "key", "owner"),
        Index(None, "batch_id", "status", "stage", "cause"),
        partial_index("publish_at", where="publish_at IS NOT NULL"),
        partial_index("lease_until", where="lease_until IS NOT NULL"),
        Index(None, "account_id", "status", "admitted"),
        Index(None, "batch_id", "status", "admitted", "priority", "row"),
        partial_index("batch_id", "error_code", "status", "row", where="error_code <> ''", name="ix_jobs_failed"),
        partial_index("batch_id", "cause", "row", where="status = 'waiting'", name="ix_jobs_waiting"),
        partial_index("after_id", where="after_id IS NOT NULL"),
        partial_index("same_as", where="same_as IS NOT NULL"),
        partial_index("remote_session_id", where="remote_session_id <> ''"),
        partial_index("result_sha256", where="result_sha256 <> ''"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    batch_id: Mapped[str] = mapped_column(Id, ForeignKey("batches.id", ondelete="CASCADE"))
    account_id: Mapped[str] = mapped_column(Id, ForeignKey("accounts.id"))
    owner: Mapped[str] = mapped_column(String(100))
    row: Mapped[int]
    name: Mapped[str]
    key: Mapped[str] = mapped_column(String(64))

    file: Mapped[str]
    references: Mapped[list[str]]
    inputs: Mapped[list[str]] = mapped_column(server_default="[]")
    """The hashes of the contents of `file` and `references`, in that order, for rows that were submitted over HTTP; an
    empty string stands for a URL. Empty for other rows: they name their files by path."""
    instruction: Mapped[str]
    language: Mapped[str]
    skill: Mapped[str]
    session: Mapped[str]
    priority: Mapped[int]
    output: Mapped[str]
    extra: Mapped[dict[str, Any]]
    route: Mapped[Route] = mapped_column(enum_type(Route, "route"))
    after_id: Mapped[str | None] = mapped_column(Id)
    """The job of the row before this one in its session. This job waits until that one's render is done."""
    same_as: Mapped[str | None] = mapped_column(Id)
    """The job of another batch with the same key, whose result this job waits for or takes. If it is the job's own id,
    the job does its own work although another open job has its key, since it works in another session."""

    stage: Mapped[Stage] = mapped_column(enum_type(Stage, "stage"))
    status: Mapped[Status] = mapped_column(enum_type(Status, "status"))
    cause: Mapped[Cause | None] = mapped_column(enum_type(Cause, "cause"))
    run: Mapped[int] = mapped_column(default=1)
    """The fencing token. It is incremented when the job is requeued because its worker died or was stopped, and when a
    person starts it again. Writes under an older run are refused."""
    admitted: Mapped[bool] = mapped_column(default=False)
    due_at: Mapped[datetime]
    publish_at: Mapped[datetime | None]
    publishes: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    worker: Mapped[str] = mapped_column(default="")
    attempts: Mapped[int] = mapped_column(default=0)
    looks: Mapped[int] = mapped_column(default=0)
    lapses: Mapped[int] = mapped_column(default=0)
    cancel_wished: Mapped[bool] = mapped_column(default=False)
    to_send: Mapped[str] = mapped_column(default="")
    """The follow-up that the next edit sends instead of the instruction."""
    follow_ups: Mapped[int] = mapped_column(default=0)
    resend: Mapped[bool] = mapped_column(default=False)
    """Whether a person asked for a retry: if one more read shows no edit either, the instruction is sent again."""

    upload_baseline: Mapped[str] = mapped_column(String(64), default="")
    """The draft's fingerprint before an upload into a shared session: it tells whether the upload has arrived."""
    remote_session_id: Mapped[str] = mapped_column(default="")
    remote_task_id: Mapped[str] = mapped_column(default="")
    remote_user_id: Mapped[str] = mapped_column(default="")
    remote_render_id: Mapped[str] = mapped_column(default="")
    renders: Mapped[int] = mapped_column(default=0)
    result_url: Mapped[str] = mapped_column(default="")

    timeline: Mapped[str] = mapped_column(default="")
    changes: Mapped[list[str]]
    reply: Mapped[str] = mapped_column(default="")
    error_code: Mapped[str] = mapped_column(String(40), default="")
    error: Mapped[str] = mapped_column(default="")
    advice: Mapped[str] = mapped_column(default="")
    raw: Mapped[str] = mapped_column(default="")
    result_path: Mapped[str] = mapped_column(default="")
    result_size: Mapped[int | None] = mapped_column(BigInteger)
    result_sha256: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Send(Base):
    """The record of one instruction, written before it is sent, so that it is not sent twice."""

    __tablename__ = "sends"
    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        partial_index("job_id", where="outcome = 'open'", name="uq_sends_open_job", unique=True),
        partial_index("account_id", where="bears_costs"),
        Index(None, "batch_id", "shared", "cost"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id", ondelete="CASCADE"))
    batch_id: Mapped[str] = mapped_column(Id, server_default="")
    """The job's batch, and changed along with it. It is copied here because the cost of a batch is queried often."""
    account_id: Mapped[str] = mapped_column(Id, ForeignKey("accounts.id"))
    number: Mapped[int]
    run: Mapped[int]
    text: Mapped[str]
    why: Mapped[str] = mapped_column(String(16))
    baseline: Mapped[dict[str, Any] | None] = mapped_column(Json)
    fingerprint: Mapped[str] = mapped_column(String(64))
    sent_at: Mapped[datetime]
    ended_well: Mapped[bool] = mapped_column(default=False)
    reply: Mapped[str] = mapped_column(default="")
    agent_error: Mapped[str] = mapped_column(default="")
    outcome: Mapped[Outcome] = mapped_column(enum_type(Outcome, "outcome"))
    reads: Mapped[int] = mapped_column(default=0)
    read_fingerprint: Mapped[str] = mapped_column(String(64), default="")
    settled_at: Mapped[datetime | None]
    bears_costs: Mapped[bool] = mapped_column(default=True)
    """Whether drops of the balance are charged to this send too: from its start until a reading after its end."""
    cost: Mapped[int] = mapped_column(BigInteger, default=0)
    shared: Mapped[bool] = mapped_column(default=False)


class JobEvent(Base):
    """What happened to a job, with a message for people; append-only."""

    __tablename__ = "job_events"
    __table_args__ = (Index(None, "job_id", "id"), Index(None, "batch_id", "tx", "id"))

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id", ondelete="CASCADE"))
    batch_id: Mapped[str] = mapped_column(Id)
    at: Mapped[datetime]
    what: Mapped[str] = mapped_column(String(24))
    run: Mapped[int]
    stage: Mapped[Stage] = mapped_column(enum_type(Stage, "stage"))
    before: Mapped[str] = mapped_column(String(16), default="")
    after: Mapped[str] = mapped_column(String(16), default="")
    words: Mapped[str]
    tx: Mapped[int] = mapped_column(BigInteger, server_default=FetchedValue())
    """The id of the PostgreSQL transaction that wrote the event; 0 on SQLite. Events are read in this order, then by
    id: an event with a smaller id may be committed later."""


class CreditReading(Base):
    """An account's balance at one moment. Costs are derived from these readings."""

    __tablename__ = "credit_readings"
    __table_args__ = (Index(None, "account_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    account_id: Mapped[str] = mapped_column(Id, ForeignKey("accounts.id"))
    at: Mapped[datetime]
    moment: Mapped[str] = mapped_column(String(16))
    available: Mapped[int] = mapped_column(BigInteger)
    frozen: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[int | None] = mapped_column(BigInteger)
    top_up: Mapped[int] = mapped_column(BigInteger, default=0)
    unattributed: Mapped[int] = mapped_column(BigInteger, default=0)
