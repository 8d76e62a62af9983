"""What the REST service is asked often, of batches of any size: costs by batch, failed and waiting rows in order."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Id = sa.String(40)


def upgrade() -> None:
    op.add_column("sends", sa.Column("batch_id", Id, nullable=False, server_default=""))
    op.execute("UPDATE sends SET batch_id = (SELECT batch_id FROM jobs WHERE jobs.id = sends.job_id)")
    op.create_index(op.f("ix_sends_batch_id_shared_cost"), "sends", ["batch_id", "shared", "cost"])
    _partial(op.f("ix_jobs_failed"), ["batch_id", "error_code", "status", "row"], "error_code <> ''")
    _partial(op.f("ix_jobs_waiting"), ["batch_id", "cause", "row"], "status = 'waiting'")


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_waiting"), "jobs")
    op.drop_index(op.f("ix_jobs_failed"), "jobs")
    op.drop_index(op.f("ix_sends_batch_id_shared_cost"), "sends")
    op.drop_column("sends", "batch_id")


def _partial(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "jobs", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
