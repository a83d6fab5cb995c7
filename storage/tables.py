"""The tables, as SQLAlchemy Core sees them; the migrations are what creates them."""

from typing import Final

from sqlalchemy import (
    TIMESTAMP,
    UUID,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
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
    LIVE_GENERATION,
    metadata,
    number_column,
    optional_json_column,
    optional_text_column,
    searched_columns,
    text_column,
    texts_column,
    time_column,
    uuids_column,
)
from storage.shadow_tables import SHADOWS_OF_A_USER

users: Final = Table(
    "users",
    metadata,
    text_column("project_id", primary_key=True),
    text_column("user_id", primary_key=True),
    # Grows whenever anything in the user's memory changes.
    number_column("revision", 0, big=True),
    # Of the user's last outbox row.
    number_column("seq", 0, big=True),
    number_column("live_generation", LIVE_GENERATION),
    optional_json_column("additional_fields"),
    # Of the live generation; triggers keep them, so that a list of users need not count.
    number_column("profile_count", 0),
    number_column("event_count", 0),
    time_column("created_at"),
    time_column("updated_at"),
)

profiles: Final = Table(
    "profiles",
    metadata,
    Column("profile_id", UUID, primary_key=True),
    text_column("project_id"),
    text_column("user_id"),
    number_column("generation", LIVE_GENERATION),
    text_column("topic"),
    text_column("sub_topic"),
    text_column("content"),
    number_column("update_hits", 0),
    texts_column("message_ids"),
    uuids_column("window_ids"),
    time_column("occurred_at"),
    time_column("recorded_at"),
    time_column("created_at"),
    time_column("updated_at"),
    *searched_columns("topic || ' ' || sub_topic || ' ' || content"),
    UniqueConstraint("project_id", "user_id", "generation", "topic", "sub_topic"),
)

profile_history: Final = Table(
    "profile_history",
    metadata,
    Column("history_id", BigInteger, Identity(always=True), primary_key=True),
    text_column("project_id"),
    text_column("user_id"),
    number_column("generation", LIVE_GENERATION),
    Column("profile_id", UUID, nullable=False),
    text_column("topic"),
    text_column("sub_topic"),
    text_column("op"),
    optional_text_column("before"),
    optional_text_column("after"),
    text_column("why"),
    number_column("revision", big=True),
    texts_column("message_ids"),
    # A list of objects with `message_id` and `quote`.
    Column("quotes", JSONB, nullable=False, server_default=text("'[]'")),
    # Sub-topics that were deleted for this one, which holds their content.
    texts_column("joined"),
    uuids_column("window_ids"),
    # Null for a hand edit.
    optional_json_column("extractor"),
    time_column("occurred_at"),
    time_column("recorded_at"),
    Index(None, "project_id", "user_id", "generation", "history_id"),
    # What was set right by hand, which extraction asks for.
    Index(None, "project_id", "user_id", "generation", postgresql_where=text("extractor IS NULL")),
    CheckConstraint("op IN ('c', 'u', 'd')", name="op"),
)

events: Final = Table(
    "events",
    metadata,
    Column("event_id", UUID, primary_key=True),
    text_column("project_id"),
    text_column("user_id"),
    number_column("generation", LIVE_GENERATION),
    optional_text_column("summary"),
    # A list of objects with `tag` and `value`.
    Column("tags", JSONB, nullable=False),
    # The facts as extracted, before merging, in Memobase's shape, each with the messages that it was taken from.
    Column("profile_delta", JSONB, nullable=False),
    number_column("revision", big=True),
    texts_column("message_ids"),
    uuids_column("window_ids"),
    optional_json_column("extractor"),
    time_column("occurred_at"),
    time_column("recorded_at"),
    # By hand; null where nobody has.
    Column("updated_at", TIMESTAMP(timezone=True), nullable=True),
    *searched_columns("summary", "summary <> ''"),
    texts_column("session_ids"),
    Index(None, "project_id", "user_id", "generation", "recorded_at"),
)

gists: Final = Table(
    "gists",
    metadata,
    Column("gist_id", UUID, primary_key=True),
    Column("event_id", UUID, ForeignKey("events.event_id", ondelete="CASCADE"), nullable=False),
    # Its place in the event.
    number_column("number"),
    text_column("project_id"),
    text_column("user_id"),
    number_column("generation", LIVE_GENERATION),
    text_column("text"),
    texts_column("message_ids"),
    # As in `profile_history`.
    Column("quotes", JSONB, nullable=False, server_default=text("'[]'")),
    time_column("occurred_at"),
    time_column("recorded_at"),
    *searched_columns("text"),
    texts_column("session_ids"),
    Index(None, "project_id", "user_id", "generation", "recorded_at"),
    Index(None, "event_id"),
)

# What was edited by hand beside the profile, whose own history has that; and imports and promotions, up to whose
# revision the changes that the history holds were not published one by one. A promotion names the generation before it.
edit_history: Final = Table(
    "edit_history",
    metadata,
    Column("edit_id", BigInteger, Identity(always=True), primary_key=True),
    text_column("project_id"),
    text_column("user_id"),
    number_column("generation", LIVE_GENERATION),
    text_column("kind"),
    # Null for a user's fields, and for an import.
    Column("event_id", UUID, nullable=True),
    text_column("op"),
    optional_json_column("before"),
    optional_json_column("after"),
    number_column("revision", big=True),
    time_column("recorded_at"),
    Index(None, "project_id", "user_id", "generation", "edit_id"),
    CheckConstraint("kind IN ('user', 'event', 'import', 'promotion')", name="kind"),
    CheckConstraint("op IN ('c', 'u', 'd')", name="op"),
)

# Partitioned, so without a unique key (it would need the partition column): the user's row lock does that.
units: Final = Table(
    "units",
    metadata,
    text_column("project_id"),
    text_column("user_id"),
    number_column("generation", LIVE_GENERATION),
    text_column("blob_id"),
    # As a list of blobs asks for; what was recorded before the column was there counts as a chat.
    text_column("blob_type", server_default=text("'chat'")),
    # -1: not split that far.
    number_column("message_index"),
    number_column("part"),
    text_column("state"),
    optional_text_column("reason"),
    optional_text_column("content_hash"),
    Column("window_id", UUID, nullable=True),
    # Null where a blob was erased that had not been seen.
    optional_text_column("topic"),
    Column("partition", Integer, nullable=True),
    Column("offset", BigInteger, nullable=True),
    Column("timestamp_ms", BigInteger, nullable=True),
    optional_text_column("origin_topic"),
    Column("origin_partition", Integer, nullable=True),
    Column("origin_offset", BigInteger, nullable=True),
    Column("origin_timestamp_ms", BigInteger, nullable=True),
    time_column("recorded_at"),
    Index(None, "project_id", "user_id", "blob_id"),
    Index(None, "topic", "partition", "offset"),
    CheckConstraint("state IN ('applied', 'parked', 'erased')", name="state"),
    postgresql_partition_by="RANGE (recorded_at)",
)

ledger: Final = Table(
    "ledger",
    metadata,
    # A window's id, or the UUIDv5 of a command's first position.
    Column("ledger_id", UUID, primary_key=True),
    text_column("kind"),
    optional_text_column("command_id"),
    text_column("project_id"),
    # Null for a forget and for erased windows: they must not name the user.
    optional_text_column("user_id"),
    # Where the record lies on extraction-windows.
    text_column("topic"),
    number_column("partition"),
    number_column("offset", big=True),
    text_column("outcome"),
    number_column("applied_count", 0),
    number_column("parked_count", 0),
    number_column("duplicate_count", 0),
    number_column("erased_count", 0),
    # Of a flush: the windows that it closed.
    uuids_column("window_ids"),
    time_column("recorded_at"),
    Index(None, "topic", "partition", "offset"),
    Index(None, "project_id", "user_id"),
)

# Apart from the ledger: an attempt that came to nothing has no ledger row, but costs money, and rows may be pruned.
usage: Final = Table(
    "usage",
    metadata,
    Column("attempt_id", UUID, primary_key=True),
    text_column("model", primary_key=True),
    text_column("project_id"),
    # Null, as are the windows, once the user is forgotten.
    optional_text_column("user_id"),
    uuids_column("window_ids"),
    text_column("outcome"),
    number_column("completions"),
    number_column("embedding_calls"),
    number_column("prompt_tokens", big=True),
    number_column("completion_tokens", big=True),
    number_column("cached_tokens", big=True),
    number_column("embedding_tokens", big=True),
    number_column("latency_ms", big=True),
    # Null where the model had no price.
    Column("cost", Numeric, nullable=True),
    time_column("recorded_at"),
    # Of the shadow that it was spent for; null for live memory.
    Column("generation", Integer, nullable=True),
    Index(None, "recorded_at"),
    Index(None, "project_id", "recorded_at"),
    Index(None, "project_id", "user_id", "recorded_at"),
    Index(None, "generation", postgresql_where=text("generation IS NOT NULL")),
    CheckConstraint(
        "outcome IN ('applied', 'parked', 'duplicate', 'erased', 'waiting', 'stopped', 'embedded', 're-embedded')",
        name="outcome",
    ),
)

held_windows: Final = Table(
    "held_windows",
    metadata,
    # The id that the record will have in the ledger.
    Column("ledger_id", UUID, primary_key=True),
    # The order of holding, which is the order of a user's records.
    Column("number", BigInteger, Identity(always=True), nullable=False),
    text_column("project_id"),
    text_column("user_id"),
    text_column("topic"),
    number_column("partition"),
    number_column("offset", big=True),
    number_column("timestamp_ms", big=True),
    # JSON of the window or command; as text, for jsonb takes no NUL.
    text_column("payload"),
    text_column("reason"),
    number_column("attempts", 0),
    time_column("held_at"),
    time_column("due_at"),
    optional_text_column("claimed_by"),
    Column("claimed_until", TIMESTAMP(timezone=True), nullable=True),
    Index(None, "project_id", "user_id", "number"),
    Index(None, "due_at"),
)

outbox: Final = Table(
    "outbox",
    metadata,
    # The first five are Debezium's.
    Column("id", UUID, primary_key=True),
    text_column("aggregatetype"),
    text_column("aggregateid"),
    text_column("type"),
    optional_text_column("payload"),
    number_column("seq", big=True),
    number_column("slot"),
    # Drawn under the user's row lock too, so it orders as `seq` does within a user, and fairly between users.
    Column("number", BigInteger, Identity(always=True), nullable=False, unique=True),
    text_column("project_id"),
    text_column("user_id"),
    Column("headers", JSONB, nullable=False),
    time_column("created_at"),
    Index(None, "project_id", "user_id"),
)

relay_leases: Final = Table(
    "relay_leases",
    metadata,
    # How many shards the owner divides users into: shards of different divisions overlap.
    Column("shards", Integer, primary_key=True, autoincrement=False),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    text_column("owner"),
    time_column("expires_at"),
)

# Also relays without a shard are counted when shards are shared out.
relays: Final = Table(
    "relays",
    metadata,
    text_column("owner", primary_key=True),
    time_column("expires_at"),
)

forgotten_users: Final = Table(
    "forgotten_users",
    metadata,
    text_column("user_hash", primary_key=True),
    time_column("forgotten_at"),
    # {topic: {partition: end offset}}
    Column("offsets", JSONB, nullable=False),
    number_column("last_revision", big=True),
    number_column("last_seq", big=True),
)

blobs: Final = Table(
    "blobs",
    metadata,
    text_column("project_id", primary_key=True),
    text_column("user_id", primary_key=True),
    text_column("blob_id", primary_key=True),
    Column("message_index", Integer, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    text_column("blob_type"),
    # JSON of the unit's content; as text, for jsonb takes no NUL.
    text_column("content"),
    time_column("occurred_at"),
    time_column("recorded_at"),
)

# A project needs no row: one without was neither created nor sets anything in place of the server's settings.
projects: Final = Table(
    "projects",
    metadata,
    text_column("project_id", primary_key=True),
    # YAML, as it was written.
    optional_text_column("profile_config"),
    time_column("updated_at"),
    Column("suspended_at", TIMESTAMP(timezone=True), nullable=True),
)

project_tokens: Final = Table(
    "project_tokens",
    metadata,
    # The first digits of the hash, so that who holds a token can tell which one it is.
    text_column("token_id", primary_key=True),
    text_column("project_id"),
    # SHA-256, hex: a token is long and random, so that nobody can try them all.
    text_column("token_hash"),
    optional_text_column("label"),
    time_column("created_at"),
    Column("revoked_at", TIMESTAMP(timezone=True), nullable=True),
    Index(None, "project_id"),
)

# Calls of the gateway, by day of UTC.
insert_counts: Final = Table(
    "insert_counts",
    metadata,
    text_column("project_id", primary_key=True),
    Column("day", Date, primary_key=True),
    number_column("inserts", big=True),
    # Those that were answered with an id.
    number_column("stored", big=True),
)

# Of every deployment that uses this database. One that has stopped beating is gone when its time is up.
workers: Final = Table(
    "workers",
    metadata,
    Column("worker_id", UUID, primary_key=True),
    # Host and process, for people.
    text_column("name"),
    # Whose topics it works on.
    text_column("topic_prefix"),
    texts_column("roles"),
    # Where it answers questions about its buffers, and the token that it asks for.
    optional_text_column("url"),
    optional_text_column("token"),
    # Null where it makes no embeddings.
    optional_text_column("embedding_model"),
    Column("embedding_dimension", Integer, nullable=True),
    # Null where it extracts nothing.
    optional_json_column("extractor"),
    time_column("started_at"),
    time_column("expires_at"),
)

# How a conversation of role-play stood, and the topic that was proposed then.
user_statuses: Final = Table(
    "user_statuses",
    metadata,
    Column("status_id", BigInteger, Identity(always=True), primary_key=True),
    text_column("project_id"),
    text_column("user_id"),
    text_column("kind"),
    Column("attributes", JSONB, nullable=False),
    time_column("recorded_at"),
    Index(None, "project_id", "user_id", "status_id"),
)

schema_info: Final = Table(
    "schema_info",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    number_column("embedding_dimension"),
    optional_text_column("embedding_model"),
    # Null unless `memostream reembed` is under way. From `next_ready_at` on processes may start with that model.
    Column("next_embedding_dimension", Integer, nullable=True),
    optional_text_column("next_embedding_model"),
    Column("next_ready_at", TIMESTAMP(timezone=True), nullable=True),
    CheckConstraint("singleton", name="singleton"),
)

OF_A_USER: Final = (
    *(profiles, profile_history, edit_history, gists, events, units, blobs, outbox, user_statuses),
    *SHADOWS_OF_A_USER,
)
"""Tables whose every row of a user goes with them; ledger, usage and held_windows need more care."""
