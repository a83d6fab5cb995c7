"""What was produced, as the manifest and the log of `chat-messages` tell it, in the checker's terms."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from cli.scanning import topic_scanner
from schemas.records import DEFAULT_PROJECT_ID
from schemas.settings import Settings
from streams.topics import Topics, partition_for
from tests.chaos.checker import Expectation, Facts, ProducedRecord
from tests.chaos.load import Planned

# Of a value that nobody can read.
NO_ID: Final = ""

Places = Mapping[tuple[str, str], int]


async def places_in_log(settings: Settings, partitions: int) -> dict[tuple[str, str], int]:
    """(user, blob id) to the first offset on the user's own partition: that is the order which is promised.

    A record that came elsewhere is there, too, as it was sent on.
    """
    places: dict[tuple[str, str], int] = {}
    topic = Topics(settings.kafka.topic_prefix).chat_messages
    async with topic_scanner(settings.kafka) as scanner:
        first, end = await scanner.bounds(topic)
        async for batch in scanner.scan(topic, first, end):
            for record in batch:
                document = _document(record.value)
                user_id, blob_id = document.get("user_id"), document.get("id")
                if isinstance(user_id, str) and record.partition == partition_for(user_id.encode(), partitions):
                    places.setdefault((user_id, str(blob_id)), record.offset)
    return places


def produced(sent: Iterable[Planned], places: Places, partitions: int) -> list[ProducedRecord]:
    """One for each blob, however often it was sent."""
    by_blob: dict[tuple[str, str], ProducedRecord] = {}
    for record in sent:
        key = record.user_id, NO_ID if record.is_unreadable else record.blob_id
        before = by_blob.get(key)
        expected: Expectation = "applied" if record.expected == "duplicate" else record.expected
        if before is not None and before.expected != expected:
            # Of two records with one id the first is applied and the other parked.
            expected = "either"
        by_blob[key] = ProducedRecord(
            DEFAULT_PROJECT_ID,
            *key,
            number=places.get(key, -1) if before is None else before.number,
            expected=expected,
            # Several of one user's share a place here.
            reason=record.reason if expected == "parked" and not record.is_unreadable else None,
            is_in_order=record.is_at_home(partitions) and (before is None or before.is_in_order),
        )
    return list(by_blob.values())


def newest_facts(sent: Iterable[Planned]) -> Facts:
    """What the slots of each user must hold in the end: the newest statement, whatever came when."""
    newest: dict[tuple[str, str, str], Any] = {}
    for record in sent:
        if record.expected == "applied" and record.fact is not None:
            topic, sub_topic, memo, at = record.fact
            slot = record.user_id, topic, sub_topic
            newest[slot] = max(newest.get(slot, (at, memo)), (at, memo))
    facts: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for (user_id, topic, sub_topic), (_, memo) in newest.items():
        facts.setdefault((DEFAULT_PROJECT_ID, user_id), {})[topic, sub_topic] = memo
    return facts


def _document(value: bytes | None) -> dict[str, Any]:
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
