"""The tables of shadows: memories that a replay makes beside the live ones, in generations of their own."""

from typing import Any, Final

from sqlalchemy import (
    TIMESTAMP,
    UUID,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.columns import (
    metadata,
    number_column,
    optional_json_column,
    optional_text_column,
    text_column,
    time_column,
)


def _generation(*, is_key: bool = False) -> Column[Any]:
    shadow = ForeignKey("shadows.generation", ondelete="CASCADE")
    return Column("generation", Integer, shadow, primary_key=is_key, nullable=False, autoincrement=False)


shadows: Final = Table(
    "shadows",
    metadata,
    # What its rows in profiles, events, units and their like carry; never given twice.
    Column("generation", Integer, Identity(always=True), primary_key=True),
    text_column("name"),
    text_column("topic_prefix"),
    text_column("source"),
    # {partition: offset}; a partition that is not named is not read.
    Column("begin_offsets", JSONB, nullable=False),
    # Null where it follows live memory on.
    optional_json_column("end_offsets"),
    # Null for all projects and for all users; a hash, so that a forgotten user is not named here.
    optional_text_column("of_project"),
    optional_text_column("of_user_hash"),
    Column("max_cost", Numeric, nullable=True),
    # Of the server's policy; a worker with another one is refused.
    Column("extractor", JSONB, nullable=False),
    text_column("state"),
    # Tails that were recorded up to then are closed, however young they are.
    Column("tails_before", TIMESTAMP(timezone=True), nullable=True),
    # {partition: milliseconds}: the last `tails_before` up to which the partition's tails are closed.
    Column("tails_closed", JSONB, nullable=False, server_default=text("'{}'")),
    time_column("created_at"),
    UniqueConstraint("topic_prefix", "name"),
    CheckConstraint("state IN ('creating', 'running', 'promoting', 'promoted')", name="state"),
    CheckConstraint("source IN ('chat-messages', 'extraction-windows')", name="source"),
)

# In place of the users' rows, whose lock and revision are the live memory's.
shadow_users: Final = Table(
    "shadow_users",
    metadata,
    _generation(is_key=True),
    text_column("project_id", primary_key=True),
    text_column("user_id", primary_key=True),
    number_column("revision", 0, big=True),
    Column("promoted_at", TIMESTAMP(timezone=True), nullable=True),
    Index(None, "project_id", "user_id"),
)

# In place of the ledger, which they come to when the user is promoted.
shadow_windows: Final = Table(
    "shadow_windows",
    metadata,
    _generation(is_key=True),
    Column("window_id", UUID, primary_key=True),
    text_column("project_id"),
    text_column("user_id"),
    # Where the record lies on the shadow's extraction-windows.
    text_column("topic"),
    number_column("partition"),
    number_column("offset", big=True),
    text_column("outcome"),
    number_column("applied_count", 0),
    number_column("parked_count", 0),
    number_column("duplicate_count", 0),
    number_column("erased_count", 0),
    time_column("recorded_at"),
    Index(None, "project_id", "user_id"),
)

# Dead letters of what a shadow has parked; they are published when the user is promoted.
shadow_letters: Final = Table(
    "shadow_letters",
    metadata,
    Column("letter_id", UUID, primary_key=True),
    _generation(),
    text_column("project_id"),
    text_column("user_id"),
    text_column("blob_id"),
    # JSON of the blob; as text, for jsonb takes no NUL.
    text_column("payload"),
    Column("headers", JSONB, nullable=False),
    time_column("created_at"),
    Index(None, "project_id", "user_id"),
)

SHADOWS_OF_A_USER: Final = (shadow_users, shadow_windows, shadow_letters)
