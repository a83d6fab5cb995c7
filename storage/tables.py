"""The tables, as SQLAlchemy Core sees them; the migrations are what creates them."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import orjson
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ARRAY,
    TIMESTAMP,
    UUID,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

LIVE_GENERATION: Final = 0

_SEARCHED_ONLY: Final = ("embedding", "embed_after", "next_embedding", "next_embed_after", "keywords")

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Vector(HALFVEC):
    """A vector is sent as text, which orjson writes twenty times faster than pgvector."""

    cache_ok = True

    def bind_processor(self, dialect: Any) -> Callable[[Any], str | None]:
        other = super().bind_processor(dialect)

        def process(value: Any) -> str | None:
            if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.float32:
                return orjson.dumps(np.ascontiguousarray(value), option=orjson.OPT_SERIALIZE_NUMPY).decode()
            text: str | None = other(value)
            return text

        return process


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, **options)


def _optional_text(name: str) -> Column[str | None]:
    return Column(name, Text, nullable=True)


def _optional_json(name: str) -> Column[Any]:
    # None is NULL, not the JSON value null, which `IS NULL` would not find.
    return Column(name, JSONB(none_as_null=True), nullable=True)


def _time(name: str, **options: Any) -> Column[Any]:
    return Column(name, TIMESTAMP(timezone=True), nullable=False, **options)


def _number(name: str, default: int | None = None, *, big: bool = False) -> Column[int]:
    server_default = None if default is None else text(str(default))
    return Column(name, BigInteger if big else Integer, nullable=False, server_default=server_default)


def _texts(name: str) -> Column[Any]:
    return Column(name, ARRAY(Text), nullable=False, server_default=text("'{}'"))


def _uuids(name: str) -> Column[Any]:
    return Column(name, ARRAY(UUID), nullable=False, server_default=text("'{}'"))


def _searched(keywords_of: str, has_text: str = "") -> tuple[Column[Any] | Index, ...]:
    """What search reads of a row. Search is an exact scan of one user's rows: neither vectors nor keywords are indexed.

    `embed_after` is when a missing embedding may be made, null for never. A trigger takes the embeddings away from a
    row whose text changes, and sets `embed_after` back.
    """
    condition = "embedding IS NULL AND embed_after IS NOT NULL" + (f" AND {has_text}" if has_text else "")
    return (
        # The migration gives it its dimension.
        Column("embedding", Vector(), nullable=True),
        Column("embed_after", TIMESTAMP(timezone=True), nullable=True, server_default=text("'-infinity'")),
        # Those of the model that is to follow, while `memostream reembed` makes them, which gives it its dimension.
        Column("next_embedding", Vector(), nullable=True),
        Column("next_embed_after", TIMESTAMP(timezone=True), nullable=True),
        Column("keywords", TSVECTOR, Computed(f"memostream_keywords({keywords_of})", persisted=True)),
        Index(None, "embed_after", postgresql_where=text(condition)),
    )


def without_search(table: Table) -> tuple[Column[Any], ...]:
    """The columns of a table for reading its rows: a vector is larger than all else, and nobody reads it."""
    return tuple(column for column in table.c if column.name not in _SEARCHED_ONLY)


users: Final = Table(
    "users",
    metadata,
    _text("project_id", primary_key=True),
    _text("user_id", primary_key=True),
    # Grows whenever anything in the user's memory changes.
    _number("revision", 0, big=True),
    # Of the user's last outbox row.
    _number("seq", 0, big=True),
    _number("live_generation", LIVE_GENERATION),
    _optional_json("additional_fields"),
    # Of the live generation; triggers keep them, so that a list of users need not count.
    _number("profile_count", 0),
    _number("event_count", 0),
    _time("created_at"),
    _time("updated_at"),
)

profiles: Final = Table(
    "profiles",
    metadata,
    Column("profile_id", UUID, primary_key=True),
    _text("project_id"),
    _text("user_id"),
    _number("generation", LIVE_GENERATION),
    _text("topic"),
    _text("sub_topic"),
    _text("content"),
    _number("update_hits", 0),
    _texts("message_ids"),
    _uuids("window_ids"),
    _time("occurred_at"),
    _time("recorded_at"),
    _time("created_at"),
    _time("updated_at"),
    *_searched("topic || ' ' || sub_topic || ' ' || content"),
    UniqueConstraint("project_id", "user_id", "generation", "topic", "sub_topic"),
)

profile_history: Final = Table(
    "profile_history",
    metadata,
    Column("history_id", BigInteger, Identity(always=True), primary_key=True),
    _text("project_id"),
    _text("user_id"),
    _number("generation", LIVE_GENERATION),
    Column("profile_id", UUID, nullable=False),
    _text("topic"),
    _text("sub_topic"),
    _text("op"),
    _optional_text("before"),
    _optional_text("after"),
    _text("why"),
    _number("revision", big=True),
    _texts("message_ids"),
    # A list of objects with `message_id` and `quote`.
    Column("quotes", JSONB, nullable=False, server_default=text("'[]'")),
    # Sub-topics that were deleted for this one, which holds their content.
    _texts("joined"),
    _uuids("window_ids"),
    # Null for a hand edit.
    _optional_json("extractor"),
    _time("occurred_at"),
    _time("recorded_at"),
    Index(None, "project_id", "user_id", "generation", "history_id"),
    # What was set right by hand, which extraction asks for.
    Index(None, "project_id", "user_id", "generation", postgresql_where=text("extractor IS NULL")),
    CheckConstraint("op IN ('c', 'u', 'd')", name="op"),
)

events: Final = Table(
    "events",
    metadata,
    Column("event_id", UUID, primary_key=True),
    _text("project_id"),
    _text("user_id"),
    _number("generation", LIVE_GENERATION),
    _optional_text("summary"),
    # A list of objects with `tag` and `value`.
    Column("tags", JSONB, nullable=False),
    # The facts as extracted, before merging, in Memobase's shape, each with the messages that it was taken from.
    Column("profile_delta", JSONB, nullable=False),
    _number("revision", big=True),
    _texts("message_ids"),
    _uuids("window_ids"),
    _optional_json("extractor"),
    _time("occurred_at"),
    _time("recorded_at"),
    # By hand; null where nobody has.
    Column("updated_at", TIMESTAMP(timezone=True), nullable=True),
    *_searched("summary", "summary <> ''"),
    _texts("session_ids"),
    Index(None, "project_id", "user_id", "generation", "recorded_at"),
)

gists: Final = Table(
    "gists",
    metadata,
    Column("gist_id", UUID, primary_key=True),
    Column("event_id", UUID, ForeignKey("events.event_id", ondelete="CASCADE"), nullable=False),
    # Its place in the event.
    _number("number"),
    _text("project_id"),
    _text("user_id"),
    _number("generation", LIVE_GENERATION),
    _text("text"),
    _texts("message_ids"),
    # As in `profile_history`.
    Column("quotes", JSONB, nullable=False, server_default=text("'[]'")),
    _time("occurred_at"),
    _time("recorded_at"),
    *_searched("text"),
    _texts("session_ids"),
    Index(None, "project_id", "user_id", "generation", "recorded_at"),
    Index(None, "event_id"),
)

# What was edited by hand beside the profile, whose own history has that; and imports, up to whose revision nothing of
# the user was published by this installation.
edit_history: Final = Table(
    "edit_history",
    metadata,
    Column("edit_id", BigInteger, Identity(always=True), primary_key=True),
    _text("project_id"),
    _text("user_id"),
    _number("generation", LIVE_GENERATION),
    _text("kind"),
    # Null for a user's fields, and for an import.
    Column("event_id", UUID, nullable=True),
    _text("op"),
    _optional_json("before"),
    _optional_json("after"),
    _number("revision", big=True),
    _time("recorded_at"),
    Index(None, "project_id", "user_id", "generation", "edit_id"),
    CheckConstraint("kind IN ('user', 'event', 'import')", name="kind"),
    CheckConstraint("op IN ('c', 'u', 'd')", name="op"),
)

# Partitioned, so without a unique key (it would need the partition column): the user's row lock does that.
units: Final = Table(
    "units",
    metadata,
    _text("project_id"),
    _text("user_id"),
    _number("generation", LIVE_GENERATION),
    _text("blob_id"),
    # As a list of blobs asks for; what was recorded before the column was there counts as a chat.
    _text("blob_type", server_default=text("'chat'")),
    # -1: not split that far.
    _number("message_index"),
    _number("part"),
    _text("state"),
    _optional_text("reason"),
    _optional_text("content_hash"),
    Column("window_id", UUID, nullable=True),
    # Null where a blob was erased that had not been seen.
    _optional_text("topic"),
    Column("partition", Integer, nullable=True),
    Column("offset", BigInteger, nullable=True),
    Column("timestamp_ms", BigInteger, nullable=True),
    _optional_text("origin_topic"),
    Column("origin_partition", Integer, nullable=True),
    Column("origin_offset", BigInteger, nullable=True),
    Column("origin_timestamp_ms", BigInteger, nullable=True),
    _time("recorded_at"),
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
    _text("kind"),
    _optional_text("command_id"),
    _text("project_id"),
    # Null for a forget and for erased windows: they must not name the user.
    _optional_text("user_id"),
    # Where the record lies on extraction-windows.
    _text("topic"),
    _number("partition"),
    _number("offset", big=True),
    _text("outcome"),
    _number("applied_count", 0),
    _number("parked_count", 0),
    _number("duplicate_count", 0),
    _number("erased_count", 0),
    # Of a flush: the windows that it closed.
    _uuids("window_ids"),
    _time("recorded_at"),
    Index(None, "topic", "partition", "offset"),
    Index(None, "project_id", "user_id"),
)

# Apart from the ledger: an attempt that came to nothing has no ledger row, but costs money, and rows may be pruned.
usage: Final = Table(
    "usage",
    metadata,
    Column("attempt_id", UUID, primary_key=True),
    _text("model", primary_key=True),
    _text("project_id"),
    # Null, as are the windows, once the user is forgotten.
    _optional_text("user_id"),
    _uuids("window_ids"),
    _text("outcome"),
    _number("completions"),
    _number("embedding_calls"),
    _number("prompt_tokens", big=True),
    _number("completion_tokens", big=True),
    _number("cached_tokens", big=True),
    _number("embedding_tokens", big=True),
    _number("latency_ms", big=True),
    # Null where the model had no price.
    Column("cost", Numeric, nullable=True),
    _time("recorded_at"),
    Index(None, "recorded_at"),
    Index(None, "project_id", "recorded_at"),
    Index(None, "project_id", "user_id", "recorded_at"),
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
    _text("project_id"),
    _text("user_id"),
    _text("topic"),
    _number("partition"),
    _number("offset", big=True),
    _number("timestamp_ms", big=True),
    # JSON of the window or command; as text, for jsonb takes no NUL.
    _text("payload"),
    _text("reason"),
    _number("attempts", 0),
    _time("held_at"),
    _time("due_at"),
    _optional_text("claimed_by"),
    Column("claimed_until", TIMESTAMP(timezone=True), nullable=True),
    Index(None, "project_id", "user_id", "number"),
    Index(None, "due_at"),
)

outbox: Final = Table(
    "outbox",
    metadata,
    # The first five are Debezium's.
    Column("id", UUID, primary_key=True),
    _text("aggregatetype"),
    _text("aggregateid"),
    _text("type"),
    _optional_text("payload"),
    _number("seq", big=True),
    _number("slot"),
    # Drawn under the user's row lock too, so it orders as `seq` does within a user, and fairly between users.
    Column("number", BigInteger, Identity(always=True), nullable=False, unique=True),
    _text("project_id"),
    _text("user_id"),
    Column("headers", JSONB, nullable=False),
    _time("created_at"),
    Index(None, "project_id", "user_id"),
)

relay_leases: Final = Table(
    "relay_leases",
    metadata,
    # How many shards the owner divides users into: shards of different divisions overlap.
    Column("shards", Integer, primary_key=True, autoincrement=False),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    _text("owner"),
    _time("expires_at"),
)

# Also relays without a shard are counted when shards are shared out.
relays: Final = Table(
    "relays",
    metadata,
    _text("owner", primary_key=True),
    _time("expires_at"),
)

forgotten_users: Final = Table(
    "forgotten_users",
    metadata,
    _text("user_hash", primary_key=True),
    _time("forgotten_at"),
    # {topic: {partition: end offset}}
    Column("offsets", JSONB, nullable=False),
    _number("last_revision", big=True),
    _number("last_seq", big=True),
)

blobs: Final = Table(
    "blobs",
    metadata,
    _text("project_id", primary_key=True),
    _text("user_id", primary_key=True),
    _text("blob_id", primary_key=True),
    Column("message_index", Integer, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    _text("blob_type"),
    # JSON of the unit's content; as text, for jsonb takes no NUL.
    _text("content"),
    _time("occurred_at"),
    _time("recorded_at"),
)

# A project needs no row: one without was neither created nor sets anything in place of the server's settings.
projects: Final = Table(
    "projects",
    metadata,
    _text("project_id", primary_key=True),
    # YAML, as it was written.
    _optional_text("profile_config"),
    _time("updated_at"),
    Column("suspended_at", TIMESTAMP(timezone=True), nullable=True),
)

project_tokens: Final = Table(
    "project_tokens",
    metadata,
    # The first digits of the hash, so that who holds a token can tell which one it is.
    _text("token_id", primary_key=True),
    _text("project_id"),
    # SHA-256, hex: a token is long and random, so that nobody can try them all.
    _text("token_hash"),
    _optional_text("label"),
    _time("created_at"),
    Column("revoked_at", TIMESTAMP(timezone=True), nullable=True),
    Index(None, "project_id"),
)

# Calls of the gateway, by day of UTC.
insert_counts: Final = Table(
    "insert_counts",
    metadata,
    _text("project_id", primary_key=True),
    Column("day", Date, primary_key=True),
    _number("inserts", big=True),
    # Those that were answered with an id.
    _number("stored", big=True),
)

# Of every deployment that uses this database. One that has stopped beating is gone when its time is up.
workers: Final = Table(
    "workers",
    metadata,
    Column("worker_id", UUID, primary_key=True),
    # Host and process, for people.
    _text("name"),
    # Whose topics it works on.
    _text("topic_prefix"),
    _texts("roles"),
    # Where it answers questions about its buffers, and the token that it asks for.
    _optional_text("url"),
    _optional_text("token"),
    # Null where it makes no embeddings.
    _optional_text("embedding_model"),
    Column("embedding_dimension", Integer, nullable=True),
    _time("started_at"),
    _time("expires_at"),
)

# How a conversation of role-play stood, and the topic that was proposed then.
user_statuses: Final = Table(
    "user_statuses",
    metadata,
    Column("status_id", BigInteger, Identity(always=True), primary_key=True),
    _text("project_id"),
    _text("user_id"),
    _text("kind"),
    Column("attributes", JSONB, nullable=False),
    _time("recorded_at"),
    Index(None, "project_id", "user_id", "status_id"),
)

schema_info: Final = Table(
    "schema_info",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    _number("embedding_dimension"),
    _optional_text("embedding_model"),
    # Null unless `memostream reembed` is under way. From `next_ready_at` on processes may start with that model.
    Column("next_embedding_dimension", Integer, nullable=True),
    _optional_text("next_embedding_model"),
    Column("next_ready_at", TIMESTAMP(timezone=True), nullable=True),
    CheckConstraint("singleton", name="singleton"),
)

OF_A_USER: Final = (profiles, profile_history, edit_history, gists, events, units, blobs, outbox, user_statuses)
"""Tables whose every row of a user goes with them; ledger, usage and held_windows need more care."""
