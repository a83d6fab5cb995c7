"""Ids that we make: the same for the same input in every run, and different for any other."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import content_blob_id, content_hash, derived_uuid, position_blob_id, window_id

PARTS = st.lists(st.text(max_size=6), min_size=1, max_size=4)


def test_ids_are_the_same_in_every_run_and_release() -> None:
    assert position_blob_id("chat-messages", 3, 17, 1_795_000_000_000) == "baa3adcc-4b9c-5510-8cc6-ceba6ea182de"
    assert window_id("default", "u1", [("b1", -1, -1), ("b2", 0, 1)]) == UUID("50596065-7460-5e55-a9df-e25c20db62da")
    assert content_blob_id("default", "u1", "2026-11-20T12:00:00Z", b"text", 0) == (
        "b2a45569-e3a5-5b30-8317-8c735630f980"
    )


def test_the_content_hash_is_sha_256_of_canonical_json() -> None:
    assert content_hash({"b": 1, "a": "日"}) == content_hash({"a": "日", "b": 1})
    # sha256 of {"a":"日","b":1}
    assert content_hash({"b": 1, "a": "日"}) == ("087958177c23093f0ba662bce86d3eadddcfee1339c9f9013b084f4de06a1fdb")


@given(PARTS, PARTS)
def test_different_parts_give_different_ids(one: list[str], other: list[str]) -> None:
    assert (derived_uuid(*one) == derived_uuid(*other)) == (one == other)


def test_a_recreated_topic_does_not_give_an_old_records_id() -> None:
    assert position_blob_id("t", 0, 5, 1000) != position_blob_id("t", 0, 5, 2000)


def test_equal_records_of_one_input_get_ids_of_their_own() -> None:
    same = ("default", "u1", "2026-11-20T12:00:00Z", b"text")
    assert content_blob_id(*same, 0) != content_blob_id(*same, 1)


def test_a_windows_id_depends_on_user_project_and_the_order_of_its_units() -> None:
    keys = [("b1", -1, -1), ("b2", -1, -1)]
    ids = {
        window_id("default", "u1", keys),
        window_id("default", "u2", keys),
        window_id("other", "u1", keys),
        window_id("default", "u1", keys[::-1]),
        window_id("default", "u1", keys[:1]),
        window_id("default", "u1", [("b1", 0, -1), ("b2", -1, -1)]),
    }
    assert len(ids) == 6
