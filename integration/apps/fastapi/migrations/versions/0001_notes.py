"""The first schema: notes, and the records of migrations and starts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False, server_default=sa.func.now()),
    )
    for record in ("migration_runs", "app_starts"):
        op.create_table(
            record,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("at", sa.DateTime, nullable=False),
            sa.Column("pid", sa.Integer, nullable=False),
            sa.Column("revision", sa.String, nullable=False),
        )


def downgrade() -> None:
    for table in ("app_starts", "migration_runs", "notes"):
        op.drop_table(table)
