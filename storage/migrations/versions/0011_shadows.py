"""Shadows: memories that a replay makes beside the live ones."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_OF_A_USER = ("shadow_users", "shadow_windows", "shadow_letters")
_KINDS = "'user', 'event', 'import'"


def upgrade() -> None:
    op.create_table(
        "shadows",
        sa.Column("generation", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("topic_prefix", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("begin_offsets", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("end_offsets", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("of_project", sa.Text(), nullable=True),
        sa.Column("of_user_hash", sa.Text(), nullable=True),
        sa.Column("max_cost", sa.Numeric(), nullable=True),
        sa.Column("extractor", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tails_before", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "tails_closed", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('creating', 'running', 'promoting', 'promoted')", name=op.f("ck_shadows_state")),
        sa.CheckConstraint("source IN ('chat-messages', 'extraction-windows')", name=op.f("ck_shadows_source")),
        sa.PrimaryKeyConstraint("generation", name=op.f("pk_shadows")),
        sa.UniqueConstraint("topic_prefix", "name", name=op.f("uq_shadows_topic_prefix_name")),
    )
    op.create_table(
        "shadow_users",
        _generation(),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("promoted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        _of_shadow("shadow_users"),
        sa.PrimaryKeyConstraint("generation", "project_id", "user_id", name=op.f("pk_shadow_users")),
    )
    op.create_table(
        "shadow_windows",
        _generation(),
        sa.Column("window_id", sa.UUID(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("applied_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("parked_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("duplicate_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("erased_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("recorded_at", sa.TIMESTAMP(timezone=True), nullable=False),
        _of_shadow("shadow_windows"),
        sa.PrimaryKeyConstraint("generation", "window_id", name=op.f("pk_shadow_windows")),
    )
    op.create_table(
        "shadow_letters",
        sa.Column("letter_id", sa.UUID(), nullable=False),
        _generation(),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("blob_id", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        _of_shadow("shadow_letters"),
        sa.PrimaryKeyConstraint("letter_id", name=op.f("pk_shadow_letters")),
    )
    for table in _OF_A_USER:
        op.create_index(op.f(f"ix_{table}_project_id_user_id"), table, ["project_id", "user_id"], unique=False)
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY of_project ON {table} USING (CURRENT_USER <> 'memostream_api' "
            "OR project_id = current_setting('memostream.project_id', true))"
        )
    op.add_column("usage", sa.Column("generation", sa.Integer(), nullable=True))
    op.create_index(
        op.f("ix_usage_generation"),
        "usage",
        ["generation"],
        unique=False,
        postgresql_where=sa.text("generation IS NOT NULL"),
    )
    op.drop_constraint(op.f("ck_edit_history_kind"), "edit_history")
    op.create_check_constraint(op.f("ck_edit_history_kind"), "edit_history", f"kind IN ({_KINDS}, 'promotion')")


def downgrade() -> None:
    op.execute("DELETE FROM edit_history WHERE kind = 'promotion'")
    op.drop_constraint(op.f("ck_edit_history_kind"), "edit_history")
    op.create_check_constraint(op.f("ck_edit_history_kind"), "edit_history", f"kind IN ({_KINDS})")
    op.drop_index(op.f("ix_usage_generation"), "usage")
    op.drop_column("usage", "generation")
    for table in (*reversed(_OF_A_USER), "shadows"):
        op.drop_table(table)


def _generation() -> sa.Column[int]:
    return sa.Column("generation", sa.Integer(), nullable=False)


def _of_shadow(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["generation"], ["shadows.generation"], name=op.f(f"fk_{table}_generation"), ondelete="CASCADE"
    )
