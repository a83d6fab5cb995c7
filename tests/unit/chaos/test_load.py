"""The records of an attack, and what must become of each, by the buffer's own decisions."""

import random
from collections import Counter
from datetime import UTC, datetime

import orjson
import pytest

from schemas.errors import InvalidRecord
from schemas.records import parse_record
from tests.chaos.load import HOT_USER, MIB, Load, Planned
from tests.chaos.truth import newest_facts, produced

PARTITIONS = 6
START = datetime(2026, 11, 29, tzinfo=UTC)


def chunk(*twists: str, size: int = 600, seed: int = 1) -> list[Planned]:
    groups = Load(random.Random(seed), 60, PARTITIONS, START).chunk(size, twists)
    return [record for group in groups for record in group]


@pytest.mark.parametrize(
    "twist",
    [
        "duplicates",
        "aborted-transactions",
        "clock-jumps",
        "hot-user",
        "poison-records",
        "poison-content",
        "large-records",
    ],
)
def test_a_chunk_has_the_size_that_was_asked_for_with_any_twist(twist: str) -> None:
    assert len(chunk(twist)) == 600
    assert len({record.tag for record in chunk(twist)}) == 600


def test_plain_records_are_valid_at_home_and_all_to_be_applied() -> None:
    for record in chunk():
        assert parse_record(orjson.loads(record.value)).user_id == record.user_id
        assert record.is_at_home(PARTITIONS)
    assert {record.expected for record in chunk()} == {"applied", "duplicate"}


def test_a_duplicate_is_its_original_again_and_comes_later() -> None:
    seen: dict[str, bytes] = {}
    copies = 0
    for record in chunk("duplicates"):
        if record.expected == "duplicate":
            assert seen[record.blob_id] == record.value
            copies += 1
        else:
            seen[record.blob_id] = record.value
    assert copies > 60


def test_a_hot_user_has_half_the_traffic() -> None:
    users = Counter(record.user_id for record in chunk("hot-user", size=2000))
    assert 900 < users[HOT_USER] < 1100


def test_aborted_records_come_in_groups_of_their_own() -> None:
    groups = Load(random.Random(1), 60, PARTITIONS, START).chunk(600, ["aborted-transactions"])
    kinds = [{record.expected == "aborted" for record in group} for group in groups]
    assert all(len(kind) == 1 for kind in kinds)
    assert [kind for kind in kinds if kind == {True}]


def test_a_record_that_is_to_be_refused_is_refused_for_that_reason() -> None:
    poison = [record for record in chunk("poison-records", size=4000) if record.expected == "parked"]
    reasons = Counter(record.reason for record in poison)
    assert set(reasons) == {
        "invalid-json",
        "invalid-utf8",
        "newer-version",
        "unknown-blob-type",
        "invalid-record",
        "id-conflict",
    }
    for record in poison:
        if record.reason not in ("invalid-json", "invalid-utf8", "id-conflict"):
            with pytest.raises(InvalidRecord) as caught:
                parse_record(orjson.loads(record.value))
            assert caught.value.reason == record.reason


def test_large_records_are_just_below_the_limit_or_above_it() -> None:
    large = sorted((len(record.value), record.reason) for record in chunk("large-records") if len(record.value) > 9000)
    assert [reason for _, reason in large] == [None, None, "too-large"]
    assert MIB - 8192 < large[0][0] < MIB < large[2][0] < 2 * MIB


def test_what_was_produced_is_one_record_a_blob_with_its_place() -> None:
    sent = chunk("duplicates", "poison-records", size=3000)
    places = {(record.user_id, record.blob_id): number for number, record in reversed(list(enumerate(sent)))}
    found = {record.key: record for record in produced(sent, places, PARTITIONS)}
    assert len(found) == len({(one.user_id, "" if one.is_unreadable else one.blob_id) for one in sent})
    conflicts = [one for one in sent if one.reason == "id-conflict"]
    assert conflicts
    for one in sent:
        record = found["default", one.user_id, "" if one.is_unreadable else one.blob_id]
        if one.reason == "id-conflict":
            assert record.expected == "either"
        if one.expected == "duplicate":
            assert record.expected in ("applied", "either")
        if one.reason == "newer-version":
            assert (record.expected, record.reason) == ("parked", "newer-version")
        assert record.is_in_order <= one.is_at_home(PARTITIONS)


def test_the_newest_statement_counts_whatever_comes_behind_it() -> None:
    sent = chunk(size=2000)
    facts = newest_facts(random.Random(1).sample(sent, k=len(sent)))
    assert facts == newest_facts(sent)
    last = [record for record in sent if record.fact is not None and record.expected == "applied"][-1]
    assert last.fact is not None
    topic, sub_topic, memo, _ = last.fact
    assert facts["default", last.user_id][topic, sub_topic] == memo
