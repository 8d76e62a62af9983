"""Rows that have ended leave no lost stream open: it would take its part of all that the account spends, for ever."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        sa.text(
            "UPDATE sends SET outcome = 'unconfirmed', settled_at = sent_at, bears_costs = :no "
            "WHERE outcome = 'open' AND ended_well = :no AND job_id IN "
            "(SELECT id FROM jobs WHERE status IN ('succeeded', 'failed', 'cancelled'))"
        ).bindparams(no=False)
    )


def downgrade() -> None:
    pass
