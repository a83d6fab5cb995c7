"""Room for the vectors of a second model beside those of the first, and for who embeds by which."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES: Final = ("profiles", "events", "gists")

# The one rule by which a process finds its own model's vectors; null where the database has none of them.
_VECTOR_COLUMN: Final = """
CREATE FUNCTION memostream_vector_column(model text, dimension int) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE RETURN (
    SELECT CASE
        WHEN model IS NULL OR (embedding_dimension = dimension AND coalesce(embedding_model = model, true))
            THEN 'embedding'
        WHEN next_embedding_dimension = dimension AND next_embedding_model = model THEN 'next_embedding'
    END
    FROM schema_info
)
"""
# Columns change places under a lock on all three tables: whoever holds one of them keeps what it was told.
_HELD_VECTOR_COLUMN: Final = """
CREATE FUNCTION memostream_held_vector_column(model text, dimension int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE profiles IN ACCESS SHARE MODE;
    RETURN memostream_vector_column(model, dimension);
END
$$
"""
_EMBED_AGAIN: Final = """
CREATE OR REPLACE FUNCTION memostream_embed_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.embedding IS NOT DISTINCT FROM OLD.embedding THEN
        NEW.embedding := NULL;
    END IF;
    IF NEW.next_embedding IS NOT DISTINCT FROM OLD.next_embedding THEN
        NEW.next_embedding := NULL;
    END IF;
    NEW.embed_after := '-infinity';
    NEW.next_embed_after := '-infinity';
    RETURN NEW;
END
$$
"""
_EMBED_AGAIN_BEFORE: Final = """
CREATE OR REPLACE FUNCTION memostream_embed_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.embedding IS NOT DISTINCT FROM OLD.embedding THEN
        NEW.embedding := NULL;
    END IF;
    NEW.embed_after := '-infinity';
    RETURN NEW;
END
$$
"""
_OUTCOMES: Final = ("applied", "parked", "duplicate", "erased", "waiting", "stopped", "embedded")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("next_embedding", HALFVEC(), nullable=True))
        op.add_column(table, sa.Column("next_embed_after", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("schema_info", sa.Column("next_embedding_dimension", sa.Integer(), nullable=True))
    op.add_column("schema_info", sa.Column("next_embedding_model", sa.Text(), nullable=True))
    op.add_column("schema_info", sa.Column("next_ready_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("workers", sa.Column("embedding_model", sa.Text(), nullable=True))
    op.add_column("workers", sa.Column("embedding_dimension", sa.Integer(), nullable=True))
    for function in (_VECTOR_COLUMN, _HELD_VECTOR_COLUMN, _EMBED_AGAIN):
        op.get_bind().exec_driver_sql(function)
    _set_outcomes((*_OUTCOMES, "re-embedded"))


def downgrade() -> None:
    op.execute("UPDATE usage SET outcome = 'embedded' WHERE outcome = 're-embedded'")
    _set_outcomes(_OUTCOMES)
    op.get_bind().exec_driver_sql(_EMBED_AGAIN_BEFORE)
    op.execute("DROP FUNCTION memostream_held_vector_column(text, int)")
    op.execute("DROP FUNCTION memostream_vector_column(text, int)")
    op.drop_column("workers", "embedding_dimension")
    op.drop_column("workers", "embedding_model")
    for column in ("next_ready_at", "next_embedding_model", "next_embedding_dimension"):
        op.drop_column("schema_info", column)
    for table in TABLES:
        op.drop_column(table, "next_embed_after")
        op.drop_column(table, "next_embedding")


def _set_outcomes(outcomes: Sequence[str]) -> None:
    op.drop_constraint(op.f("ck_usage_outcome"), "usage")
    op.create_check_constraint(op.f("ck_usage_outcome"), "usage", f"outcome IN {tuple(outcomes)}")
