"""The REST service: keys, assets, webhooks, idempotency; and what jobs, batches and events need for it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Id = sa.String(40)
Word = sa.String(16)
Owner = sa.String(100)
Sha256 = sa.String(64)
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    _jobs_batches_and_events()
    _api_keys()
    _assets()
    _webhooks()
    _webhook_deliveries()
    _idempotency_keys()


def downgrade() -> None:
    for table in ("idempotency_keys", "webhook_deliveries", "webhooks", "assets", "api_keys"):
        op.drop_table(table)
    op.drop_index(op.f("ix_job_events_batch_id_tx_id"), "job_events")
    op.drop_column("job_events", "tx")
    op.create_index(op.f("ix_job_events_batch_id_id"), "job_events", ["batch_id", "id"])
    op.drop_index(op.f("ix_batches_unfinished"), "batches")
    op.drop_column("batches", "finished_at")
    op.drop_index(op.f("ix_jobs_result_sha256"), "jobs")
    op.drop_column("jobs", "inputs")


def _jobs_batches_and_events() -> None:
    op.add_column("jobs", sa.Column("inputs", sa.Text, nullable=False, server_default="[]"))
    _partial("jobs", op.f("ix_jobs_result_sha256"), "result_sha256", "result_sha256 <> ''")
    op.add_column("batches", sa.Column("finished_at", Moment, nullable=True))
    _partial("batches", op.f("ix_batches_unfinished"), "id", "finished_at IS NULL")
    # The transaction that wrote an event: numbers alone do not tell in which order events come to light. SQLite has
    # one writer, and there they do.
    postgres = op.get_bind().dialect.name == "postgresql"
    this_one = sa.text("(pg_current_xact_id()::text::bigint)" if postgres else "0")
    op.add_column("job_events", sa.Column("tx", sa.BigInteger, nullable=False, server_default=this_one))
    op.drop_index(op.f("ix_job_events_batch_id_id"), "job_events")
    op.create_index(op.f("ix_job_events_batch_id_tx_id"), "job_events", ["batch_id", "tx", "id"])


def _partial(table: str, name: str, column: str, where: str, *more: str) -> None:
    op.create_index(name, table, [column, *more], sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _one_of(table: str, column: str, words: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}"))


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", Id, nullable=False),
        sa.Column("owner", Owner, nullable=False),
        sa.Column("scope", Word, nullable=False),
        sa.Column("hash", Sha256, nullable=False),
        sa.Column("hint", Word, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("used_at", Moment, nullable=True),
        sa.Column("revoked_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
        _one_of("api_keys", "scope", ("read", "submit", "admin")),
    )
    op.create_index(op.f("ix_api_keys_owner_id"), "api_keys", ["owner", "id"])


def _assets() -> None:
    op.create_table(
        "assets",
        sa.Column("owner", Owner, nullable=False),
        sa.Column("sha256", Sha256, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("used_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("owner", "sha256", name=op.f("pk_assets")),
    )
    op.create_index(op.f("ix_assets_sha256"), "assets", ["sha256"])


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", Id, nullable=False),
        sa.Column("owner", Owner, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("disabled_at", Moment, nullable=True),
        sa.Column("why", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index(op.f("ix_webhooks_owner_id"), "webhooks", ["owner", "id"])


def _webhook_deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", Id, nullable=False),
        sa.Column("webhook_id", Id, nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("batch_id", Id, nullable=False),
        sa.Column("job_id", Id, nullable=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", Word, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("status_code", sa.Integer, nullable=True),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("delivered_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_webhook_deliveries_webhook_id_webhooks"), ondelete="CASCADE"
        ),
        _one_of("webhook_deliveries", "state", ("pending", "delivered", "failed")),
    )
    op.create_index(op.f("ix_webhook_deliveries_webhook_id_id"), "webhook_deliveries", ["webhook_id", "id"])
    _partial("webhook_deliveries", op.f("ix_webhook_deliveries_due_at"), "due_at", "state = 'pending'")
    of_endpoint = op.f("ix_webhook_deliveries_webhook_id_due_at")
    _partial("webhook_deliveries", of_endpoint, "webhook_id", "state = 'pending'", "due_at")


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", Owner, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", Sha256, nullable=False),
        sa.Column("made_id", Id, nullable=False),
        sa.Column("held_until", Moment, nullable=False),
        sa.Column("status", sa.Integer, nullable=True),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"])
