"""Ids that we make ourselves: UUIDv5, so that the same input has the same id in every run."""

import hashlib
import uuid
from collections.abc import Iterable
from typing import Any

import orjson

# Fixed for ever: another value would give every stored unit and window a new id.
NAMESPACE = uuid.UUID("5b0c4f4e-6a0b-5d0e-9a55-0d6d7b0a3c11")


def derived_uuid(*parts: object) -> uuid.UUID:
    """UUIDv5 of the parts; a separator that no part can hold unescaped keeps ("a", "b") apart from ("a/b",)."""
    return uuid.uuid5(NAMESPACE, orjson.dumps([str(part) for part in parts]).decode())


def position_blob_id(topic: str, partition: int, offset: int, timestamp_ms: int) -> str:
    """Id of a blob whose producer gave none; the timestamp keeps a recreated topic from colliding with the old one."""
    return str(derived_uuid("position", topic, partition, offset, timestamp_ms))


def cloudevent_blob_id(source: str, identifier: str) -> str:
    """Id of a blob that came as a CloudEvent, whose own id is unique within its source only."""
    return str(derived_uuid("cloudevent", source, identifier))


def item_blob_id(topic: str, partition: int, offset: int, timestamp_ms: int, item: int) -> str:
    """Id of one of several blobs that a record of another shape holds, by its place in the record."""
    return str(derived_uuid("position", topic, partition, offset, timestamp_ms, item))


def content_blob_id(project_id: str, user_id: str, created_at: str, content: bytes, ordinal: int) -> str:
    """Id that `memostream send` gives to a record without one; `ordinal` tells equal records of one input apart."""
    return str(derived_uuid("content", project_id, user_id, created_at, hashlib.sha256(content).hexdigest(), ordinal))


def window_id(project_id: str, user_id: str, unit_keys: Iterable[tuple[str, int, int]]) -> uuid.UUID:
    """Id of a window: the same units always make the same window, whoever closes it."""
    return derived_uuid("window", project_id, user_id, *(key for key in unit_keys))


def content_hash(content: Any) -> str:
    """SHA-256 (hex) of the canonical JSON (sorted keys, no blanks) of a normalised blob without its id."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
