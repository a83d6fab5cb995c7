"""What role-play has found out about a conversation, and which topics it has proposed."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "user_statuses",
        sa.Column("status_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("status_id", name=op.f("pk_user_statuses")),
    )
    op.create_index(
        op.f("ix_user_statuses_project_id_user_id_status_id"),
        "user_statuses",
        ["project_id", "user_id", "status_id"],
        unique=False,
    )
    op.execute("ALTER TABLE user_statuses ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY of_project ON user_statuses USING (CURRENT_USER <> 'memostream_api' "
        "OR project_id = current_setting('memostream.project_id', true))"
    )


def downgrade() -> None:
    op.drop_table("user_statuses")
