"""Projects' tokens, counts that lists of users need, and the rule that keeps projects apart for the gateway's role."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

OF_PROJECTS: Final = (
    "blobs",
    "events",
    "gists",
    "held_windows",
    "insert_counts",
    "ledger",
    "outbox",
    "profile_history",
    "profiles",
    "project_tokens",
    "projects",
    "units",
    "usage",
    "users",
)
# The column of `users` that counts the rows of a table.
COUNTED: Final = {"profiles": "profile_count", "events": "event_count"}


def upgrade() -> None:
    op.create_table(
        "project_tokens",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_project_tokens")),
    )
    op.create_index(op.f("ix_project_tokens_project_id"), "project_tokens", ["project_id"], unique=False)
    op.create_table(
        "insert_counts",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("inserts", sa.BigInteger(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "day", name=op.f("pk_insert_counts")),
    )
    op.alter_column("projects", "profile_config", existing_type=sa.Text(), nullable=True)
    op.add_column("projects", sa.Column("suspended_at", sa.TIMESTAMP(timezone=True), nullable=True))
    for table, column in COUNTED.items():
        _count(table, column)
    # Table owners and superusers are above it; what has another role's name sees all, as before.
    for table in OF_PROJECTS:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY of_project ON {table} USING (CURRENT_USER <> 'memostream_api' "
            f"OR project_id = current_setting('memostream.project_id', true))"
        )


def downgrade() -> None:
    for table in OF_PROJECTS:
        op.execute(f"DROP POLICY of_project ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    for table, column in COUNTED.items():
        for operation in ("insert", "delete"):
            op.execute(f"DROP TRIGGER count_{operation} ON {table}")
        op.execute(f"DROP FUNCTION memostream_count_{table}()")
        op.drop_column("users", column)
    op.drop_column("projects", "suspended_at")
    op.execute("DELETE FROM projects WHERE profile_config IS NULL")
    op.alter_column("projects", "profile_config", existing_type=sa.Text(), nullable=False)
    op.drop_table("insert_counts")
    op.drop_table("project_tokens")


def _count(table: str, column: str) -> None:
    """Let the user's row know how many live rows of the table there are, whoever writes them."""
    op.add_column("users", sa.Column(column, sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.execute(
        f"""
        UPDATE users SET {column} = counted.number
        FROM (SELECT project_id, user_id, generation, count(*) AS number FROM {table} GROUP BY 1, 2, 3) AS counted
        WHERE (users.project_id, users.user_id, users.live_generation)
            = (counted.project_id, counted.user_id, counted.generation)
        """
    )
    # Whoever writes these rows has locked the user's already.
    op.execute(
        f"""
        CREATE FUNCTION memostream_count_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE users SET {column} = {column} + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END * counted.number
            FROM (SELECT project_id, user_id, generation, count(*) AS number FROM changed GROUP BY 1, 2, 3) AS counted
            WHERE (users.project_id, users.user_id, users.live_generation)
                = (counted.project_id, counted.user_id, counted.generation);
            RETURN NULL;
        END $$
        """
    )
    for operation, rows in (("insert", "NEW"), ("delete", "OLD")):
        op.execute(
            f"CREATE TRIGGER count_{operation} AFTER {operation} ON {table} REFERENCING {rows} TABLE AS changed "
            f"FOR EACH STATEMENT EXECUTE FUNCTION memostream_count_{table}()"
        )
