"""What is measured: a scope for whoever scrapes, and an index of the messages that have not arrived."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _scopes("read", "submit", "admin", "metrics")
    where = sa.text("state <> 'delivered'")
    name = op.f("ix_webhook_deliveries_undelivered")
    op.create_index(name, "webhook_deliveries", ["state", "created_at"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index(op.f("ix_webhook_deliveries_undelivered"), "webhook_deliveries")
    op.execute("DELETE FROM api_keys WHERE scope = 'metrics'")
    _scopes("read", "submit", "admin")


def _scopes(*words: str) -> None:
    """What a key may allow. SQLite builds the table anew, and leaves out the old constraint by itself."""
    name = op.f("ck_api_keys_scope")
    listed = ", ".join(f"'{word}'" for word in words)
    with op.batch_alter_table("api_keys") as table:
        if op.get_bind().dialect.name == "postgresql":
            table.drop_constraint(name, type_="check")
        table.create_check_constraint(name, f"scope IN ({listed})")
