"""An outcome for what is spent on embeddings in the background, which is no extraction."""

from collections.abc import Sequence

from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.drop_constraint(op.f("ck_usage_outcome"), "usage")
    op.create_check_constraint(
        op.f("ck_usage_outcome"),
        "usage",
        "outcome IN ('applied', 'parked', 'duplicate', 'erased', 'waiting', 'stopped', 'embedded')",
    )


def downgrade() -> None:
    op.execute("UPDATE usage SET outcome = 'applied' WHERE outcome = 'embedded'")
    op.drop_constraint(op.f("ck_usage_outcome"), "usage")
    op.create_check_constraint(
        op.f("ck_usage_outcome"),
        "usage",
        "outcome IN ('applied', 'parked', 'duplicate', 'erased', 'waiting', 'stopped')",
    )
