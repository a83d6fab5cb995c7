"""Imports stand in the history of edits."""

from collections.abc import Sequence

from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.drop_constraint(op.f("ck_edit_history_kind"), "edit_history")
    op.create_check_constraint(op.f("ck_edit_history_kind"), "edit_history", "kind IN ('user', 'event', 'import')")


def downgrade() -> None:
    op.execute("DELETE FROM edit_history WHERE kind = 'import'")
    op.drop_constraint(op.f("ck_edit_history_kind"), "edit_history")
    op.create_check_constraint(op.f("ck_edit_history_kind"), "edit_history", "kind IN ('user', 'event')")
