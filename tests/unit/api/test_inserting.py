"""What a call that inserts becomes, before anything is sent."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from api.errors import ApiError
from api.inserting import conflict_of, insertion_of
from api.models.blobs import BlobBody
from api.recent_writes import RecentWrites
from schemas.errors import InvalidRecord
from schemas.windows import Position
from storage.units import RecordedUnit, UnitState, book_of

FRESH = UUID(int=0xF)
MESSAGES = {"messages": [{"role": "user", "content": "I moved to Oslo"}]}


def body(**more: Any) -> BlobBody:
    return BlobBody.model_validate({"blob_type": "chat", "blob_data": MESSAGES, **more})


def insertion(
    given: BlobBody | None = None, key: str | None = None, *, user: str = "ann", project: str = "shop"
) -> Any:
    return insertion_of(given or body(), project, user, key, FRESH)


def row(state: UnitState, content_hash: str | None, *, reason: str | None = None) -> RecordedUnit:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    return RecordedUnit(
        "shop", "ann", "mine", -1, -1, state, reason, content_hash, None, position=None, origin=None, recorded_at=now
    )


def test_a_blob_has_its_own_id_or_that_of_its_key_or_a_fresh_one() -> None:
    assert insertion().blob_id == str(FRESH)
    assert not insertion().is_named
    by_key = insertion(key="retry-1")
    assert by_key.is_named
    assert UUID(by_key.blob_id).version == 5
    assert insertion(key="retry-1").blob_id == by_key.blob_id
    others = {
        insertion(key="retry-2").blob_id,
        insertion(key="retry-1", user="bob").blob_id,
        insertion(key="retry-1", project="blog").blob_id,
    }
    assert by_key.blob_id not in others
    assert len(others) == 3
    named = insertion(body(id="mine"), key="retry-1")
    assert (named.blob_id, named.blob.id, named.is_named) == ("mine", "mine", True)


@pytest.mark.parametrize("key", ["", "\x00", "ü" * 128])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ApiError) as refused:
        insertion(key=key)
    assert refused.value.errno == 400


def test_the_record_carries_all_that_was_sent_and_no_time_that_was_not() -> None:
    sent = insertion(body(fields={"a": 1}, created_at="2026-11-20T10:00:00+01:00", session_id="s1")).blob
    assert (sent.project_id, sent.user_id, sent.fields, sent.session_id) == ("shop", "ann", {"a": 1}, "s1")
    assert sent.created_at == datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    assert insertion().blob.created_at is None


@pytest.mark.parametrize(("blob_type", "name"), [("chat", "messages"), ("transcript", "transcripts")])
def test_an_empty_list_is_nothing_to_send_and_the_rest_of_the_blob_is_checked(blob_type: str, name: str) -> None:
    empty = BlobBody.model_validate({"blob_type": blob_type, "blob_data": {name: []}})
    assert insertion(empty).is_empty
    deep: dict[str, Any] = {}
    for _ in range(70):
        deep = {"deeper": deep}
    with pytest.raises(InvalidRecord, match="fields"):
        insertion(empty.model_copy(update={"fields": deep}))


def test_an_id_that_was_deleted_or_is_another_blobs_cannot_be_used_again() -> None:
    mine = insertion(body(id="mine"))
    digest = mine.blob.content_hash()
    assert conflict_of(mine, book_of([]), None) is None
    assert conflict_of(mine, book_of([row("applied", digest)]), digest) is None
    assert conflict_of(mine, book_of([row("parked", "another", reason="id-conflict")]), None) is None
    taken = [([row("erased", None)], None), ([row("applied", "another")], None), ([], "another")]
    for rows, buffered in taken:
        conflict = conflict_of(mine, book_of(rows), buffered)
        assert conflict is not None
        assert conflict.errno == 409


def test_the_newest_position_of_a_user_is_remembered_of_so_many_users() -> None:
    def at(offset: int, timestamp_ms: int = 0) -> Position:
        return Position(topic="chat-messages", partition=0, offset=offset, timestamp_ms=timestamp_ms)

    recent = RecentWrites(max_users=2)
    recent.note("shop", "ann", at(5))
    recent.note("shop", "ann", at(4))
    assert recent.last("shop", "ann") == at(5)
    assert recent.last("blog", "ann") is None
    recent.note("shop", "ann", at(0, timestamp_ms=9))
    assert recent.last("shop", "ann") == at(0, timestamp_ms=9)
    for user in ("bob", "eve"):
        recent.note("shop", user, at(6))
    assert recent.last("shop", "ann") is None
    assert recent.last("shop", "eve") == at(6)
