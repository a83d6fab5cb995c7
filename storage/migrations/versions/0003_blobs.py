"""The type of every recorded blob, which lists of blobs ask for, and the windows that a flush closed."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # With a default, for the release before writes none.
    op.add_column("units", sa.Column("blob_type", sa.Text(), server_default=sa.text("'chat'"), nullable=False))
    op.execute(
        "UPDATE units SET blob_type = blobs.blob_type FROM blobs WHERE blobs.blob_type <> 'chat' AND "
        "(blobs.project_id, blobs.user_id, blobs.blob_id) = (units.project_id, units.user_id, units.blob_id)"
    )
    op.add_column(
        "ledger",
        sa.Column("window_ids", sa.ARRAY(sa.UUID()), server_default=sa.text("'{}'"), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("ledger", "window_ids")
    op.drop_column("units", "blob_type")
