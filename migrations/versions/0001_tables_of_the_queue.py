"""The tables of the queue: accounts, batches, jobs, their sends and events, and the readings of credits."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Id = sa.String(40)
Word = sa.String(16)
Moment = sa.DateTime(timezone=True)
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up by itself only an INTEGER key

CAUSES = ("credits", "plan", "token", "paused", "session", "twin")
STAGES = ("upload", "edit", "verify", "render", "poll", "download")


def upgrade() -> None:
    _accounts()
    _batches()
    _jobs()
    _sends()
    _job_events()
    _credit_readings()


def downgrade() -> None:
    for table in ("credit_readings", "job_events", "sends", "jobs", "batches", "accounts"):
        op.drop_table(table)


def _one_of(table: str, column: str, words: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}"))


def _index(table: str, *columns: str, where: str = "", only_one: str = "") -> None:
    """`only_one` is the name of an index under which there may be only one such row."""
    name = op.f(only_one or f"ix_{table}_{'_'.join(columns)}")
    rows = sa.text(where) if where else None
    op.create_index(name, table, list(columns), unique=bool(only_one), sqlite_where=rows, postgresql_where=rows)


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", Id, nullable=False),
        sa.Column("service_url", sa.Text, nullable=False),
        sa.Column("credential", sa.String(80), nullable=False),
        sa.Column("kind", Word, nullable=False),
        sa.Column("client_id", sa.Text, nullable=True),
        sa.Column("token", sa.LargeBinary, nullable=True),
        sa.Column("token_version", sa.Integer, nullable=False),
        sa.Column("token_issued_at", Moment, nullable=True),
        sa.Column("remote_user_id", sa.Text, nullable=False),
        sa.Column("refreshing_until", Moment, nullable=True),
        sa.Column("reading_until", Moment, nullable=True),
        sa.Column("blocked_until", Moment, nullable=True),
        sa.Column("block_seconds", sa.Float, nullable=False),
        sa.Column("quota_met", sa.Boolean, nullable=False),
        sa.Column("parked", Word, nullable=True),
        sa.Column("parked_why", sa.Text, nullable=False),
        sa.Column("parked_until", Moment, nullable=True),
        sa.Column("probe_job_id", Id, nullable=True),
        sa.Column("window", sa.Float, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("service_url", "credential", name=op.f("uq_accounts_service_url_credential")),
        _one_of("accounts", "kind", ("own", "anonymous")),
        _one_of("accounts", "parked", CAUSES),
    )


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", Id, nullable=False),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("out", sa.Text, nullable=False),
        sa.Column("columns", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("state", Word, nullable=False),
        sa.Column("limit_credits", sa.BigInteger, nullable=True),
        sa.Column("released", sa.Integer, nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        _one_of("batches", "state", ("active", "paused", "cancelled")),
    )
    _index("batches", "owner", "id")


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", Id, nullable=False),
        sa.Column("batch_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("references", sa.Text, nullable=False),
        sa.Column("instruction", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("skill", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("output", sa.Text, nullable=False),
        sa.Column("extra", sa.Text, nullable=False),
        sa.Column("route", Word, nullable=False),
        sa.Column("after_id", Id, nullable=True),
        sa.Column("same_as", Id, nullable=True),
        sa.Column("stage", Word, nullable=False),
        sa.Column("status", Word, nullable=False),
        sa.Column("cause", Word, nullable=True),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("admitted", sa.Boolean, nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("publish_at", Moment, nullable=True),
        sa.Column("publishes", sa.Integer, nullable=False),
        sa.Column("lease_until", Moment, nullable=True),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("lapses", sa.Integer, nullable=False),
        sa.Column("cancel_wished", sa.Boolean, nullable=False),
        sa.Column("to_send", sa.Text, nullable=False),
        sa.Column("follow_ups", sa.Integer, nullable=False),
        sa.Column("resend", sa.Boolean, nullable=False),
        sa.Column("upload_baseline", sa.String(64), nullable=False),
        sa.Column("remote_session_id", sa.Text, nullable=False),
        sa.Column("remote_task_id", sa.Text, nullable=False),
        sa.Column("remote_user_id", sa.Text, nullable=False),
        sa.Column("remote_render_id", sa.Text, nullable=False),
        sa.Column("renders", sa.Integer, nullable=False),
        sa.Column("result_url", sa.Text, nullable=False),
        sa.Column("timeline", sa.Text, nullable=False),
        sa.Column("changes", sa.Text, nullable=False),
        sa.Column("reply", sa.Text, nullable=False),
        sa.Column("error_code", sa.String(40), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("advice", sa.Text, nullable=False),
        sa.Column("raw", sa.Text, nullable=False),
        sa.Column("result_path", sa.Text, nullable=False),
        sa.Column("result_size", sa.BigInteger, nullable=True),
        sa.Column("result_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("started_at", Moment, nullable=True),
        sa.Column("finished_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_jobs_account_id_accounts")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_jobs_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("batch_id", "row", name=op.f("uq_jobs_batch_id_row")),
        _one_of("jobs", "route", ("edit", "export", "upload", "status", "credits")),
        _one_of("jobs", "stage", STAGES),
        _one_of("jobs", "status", ("queued", "running", "waiting", "succeeded", "failed", "cancelled")),
        _one_of("jobs", "cause", CAUSES),
        sa.CheckConstraint(
            "(status = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_jobs_running_has_a_lease")
        ),
        sa.CheckConstraint("(status = 'waiting') = (cause IS NOT NULL)", name=op.f("ck_jobs_waiting_has_a_cause")),
    )
    _index("jobs", "account_id", "status", "admitted")
    _index("jobs", "after_id", where="after_id IS NOT NULL")
    _index("jobs", "batch_id", "status", "stage", "cause")
    _index("jobs", "batch_id", "status", "admitted", "priority", "row")
    _index("jobs", "lease_until", where="lease_until IS NOT NULL")
    _index("jobs", "key", "owner")
    _index("jobs", "publish_at", where="publish_at IS NOT NULL")
    _index("jobs", "remote_session_id", where="remote_session_id <> ''")
    _index("jobs", "same_as", where="same_as IS NOT NULL")
    its_own = "status IN ('queued', 'running', 'waiting') AND same_as IS NULL"
    _index("jobs", "owner", "key", where=its_own, only_one="uq_jobs_open_key")


def _sends() -> None:
    op.create_table(
        "sends",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("job_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("why", Word, nullable=False),
        sa.Column("baseline", sa.Text, nullable=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("sent_at", Moment, nullable=False),
        sa.Column("ended_well", sa.Boolean, nullable=False),
        sa.Column("reply", sa.Text, nullable=False),
        sa.Column("agent_error", sa.Text, nullable=False),
        sa.Column("outcome", Word, nullable=False),
        sa.Column("reads", sa.Integer, nullable=False),
        sa.Column("read_fingerprint", sa.String(64), nullable=False),
        sa.Column("settled_at", Moment, nullable=True),
        sa.Column("bears_costs", sa.Boolean, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("shared", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sends")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_sends_account_id_accounts")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_sends_job_id_jobs"), ondelete="CASCADE"),
        sa.UniqueConstraint("job_id", "number", name=op.f("uq_sends_job_id_number")),
        _one_of(
            "sends", "outcome", ("open", "applied", "no_effect", "agent_error", "not_sent", "refused", "unconfirmed")
        ),
    )
    _index("sends", "account_id", where="bears_costs")
    _index("sends", "job_id", where="outcome = 'open'", only_one="uq_sends_open_job")


def _job_events() -> None:
    op.create_table(
        "job_events",
        sa.Column("id", Serial, nullable=False),
        sa.Column("job_id", Id, nullable=False),
        sa.Column("batch_id", Id, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("what", sa.String(24), nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("stage", Word, nullable=False),
        sa.Column("before", Word, nullable=False),
        sa.Column("after", Word, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_events")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_events_job_id_jobs"), ondelete="CASCADE"),
        _one_of("job_events", "stage", STAGES),
    )
    _index("job_events", "batch_id", "id")
    _index("job_events", "job_id", "id")


def _credit_readings() -> None:
    op.create_table(
        "credit_readings",
        sa.Column("id", Serial, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("moment", Word, nullable=False),
        sa.Column("available", sa.BigInteger, nullable=False),
        sa.Column("frozen", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=True),
        sa.Column("top_up", sa.BigInteger, nullable=False),
        sa.Column("unattributed", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_readings")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_credit_readings_account_id_accounts")),
    )
    _index("credit_readings", "account_id", "id")
