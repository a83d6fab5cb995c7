"""A history of what is edited by hand beside the profile, and when an event was."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("events", sa.Column("updated_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.create_table(
        "edit_history",
        sa.Column("edit_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("event_id", sa.UUID(), nullable=True),
        sa.Column("op", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('user', 'event')", name=op.f("ck_edit_history_kind")),
        sa.CheckConstraint("op IN ('c', 'u', 'd')", name=op.f("ck_edit_history_op")),
        sa.PrimaryKeyConstraint("edit_id", name=op.f("pk_edit_history")),
    )
    op.create_index(
        op.f("ix_edit_history_project_id_user_id_generation_edit_id"),
        "edit_history",
        ["project_id", "user_id", "generation", "edit_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_profile_history_project_id_user_id_generation"),
        "profile_history",
        ["project_id", "user_id", "generation"],
        unique=False,
        postgresql_where=sa.text("extractor IS NULL"),
    )
    op.execute("ALTER TABLE edit_history ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY of_project ON edit_history USING (CURRENT_USER <> 'memostream_api' "
        "OR project_id = current_setting('memostream.project_id', true))"
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_profile_history_project_id_user_id_generation"), table_name="profile_history")
    op.drop_table("edit_history")
    op.drop_column("events", "updated_at")
